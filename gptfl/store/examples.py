"""Examples and metrics as JSON, and back."""

import math
import sys
from collections.abc import Sequence
from typing import Any

import h5py

from gptfl.core import Example, MetricInfo, TaskData
from gptfl.core.many_examples import as_tuple
from gptfl.core.recording_settings import LARGEST
from gptfl.core.texts import ID_RULE, id_problem
from gptfl.core.turns import Turn, turns_from_json
from gptfl.errors import DataError
from gptfl.store import hdf5
from gptfl.store.deferred import defer
from gptfl.store.jsonlines import shown
from gptfl.store.many_examples import read_many

MAX_EXAMPLES = 10_000_000
MANY = 50_000
"""So many examples of one side are made one by one, when they are asked for."""
MAX_CLASSES = 10_000
"""How many classes examples may have that don't list their choices."""


def put_examples(group: h5py.Group, name: str, examples: Sequence[Example]) -> None:
    """Keep examples as JSON lines. Raises ``DataError`` as ``check_labels`` and ``check_digest`` do."""
    where = f"{hdf5.path_of(group)}: {group.name}/{name}"
    check_labels(examples, where)
    for example in examples:
        check_digest(example, where)
    hdf5.put_lines(group, name, [example_to_json(example) for example in examples])


def get_examples(group: h5py.Group, name: str, count: int = 0) -> tuple[Example, ...]:
    """Read examples; ``MANY`` and more are made when they are asked for (``many``).

    Args:
        group: where they are.
        name: what they are called there.
        count: how many there should be.

    Raises ``DataError`` if they are malformed, an id occurs twice or a label is out of range; a text that isn't that of
    its digest is told last.
    """
    where = f"{hdf5.path_of(group)}: {group.name}/{name}"
    if count >= MANY:
        return as_tuple(read_many(group, name, where, _made))
    examples: list[Example] = []
    seen: set[str] = set()
    # One by one, so that a file made to do harm is refused at its first line.
    for row in hdf5.get_lines(group, name):
        example = example_from_json(row, f"{where} line {len(examples) + 1}")
        check_labels([example], where)
        try:
            check_digest(example, where)
        except DataError as error:
            defer(group, error)
        if example.id in seen:
            raise DataError(f"{where} has the id {example.id!r} twice", "record again with unique ids")
        seen.add(example.id)
        examples.append(example)
        if len(examples) > MAX_EXAMPLES:
            raise DataError(f"{where} has more than {MAX_EXAMPLES:,} examples", "record fewer")
    return tuple(examples)


def _made(row: Any, where: str) -> Example:
    """One example that was asked for. Raises ``DataError``."""
    example = example_from_json(row, where)
    check_labels([example], where)
    check_digest(example, where)
    return example


def check_examples(data: TaskData, where: str) -> None:
    """Raise ``DataError``, naming ``where``, for what is no id (see ``id_problem``), an id that is there twice on a
    side, and as ``check_labels`` does."""
    check_labels((*data.pool, *data.test), where)
    for examples in (data.pool, data.test):
        seen: set[str] = set()
        for example in examples:
            problem = id_problem(example.id)
            if problem:
                raise DataError(f"{where}: the id {shown(example.id)} {problem}", ID_RULE)
            if example.id in seen:
                raise DataError(f"{where}: the id {shown(example.id)} is there twice", "make ids unique")
            seen.add(example.id)


def check_labels(examples: Sequence[Example], where: str) -> None:
    """Raise ``DataError``, naming ``where`` and the example, for a label that is no place in its choices.

    What lists no choices may have up to ``MAX_CLASSES`` classes.
    """
    for example in examples:
        classes = len(example.choices) or MAX_CLASSES
        if example.label is not None and not 0 <= example.label < classes:
            raise DataError(
                f"{where}: example {example.id!r} has the label {example.label} of {classes} classes",
                "number classes from 0, in the order of the choices",
            )


def check_digest(example: Example, where: str) -> None:
    """Raise ``DataError``, naming ``where`` and the example, for a text that isn't that of its digest.

    An example whose texts are gone keeps the digest that it has.
    """
    if (example.prompt or example.target or example.choices) and example.digest != example.text_digest:
        raise DataError(f"{where}: the text of {example.id!r} is not that of its digest", "record it again")


def example_to_json(example: Example) -> dict[str, Any]:
    """An example as JSON has it."""
    more: dict[str, Any] = {"turns": [turn.to_json() for turn in example.turns]} if example.turns else {}
    if example.length is not None:
        more["length"] = example.length
    if example.weight is not None:
        more["weight"] = example.weight
    return {
        "id": example.id,
        "prompt": example.prompt,
        "target": example.target,
        "choices": list(example.choices),
        "label": example.label,
        "fields": dict(example.fields),
        "digest": example.digest,
        **more,
    }


def example_from_json(row: Any, where: str) -> Example:
    """The example again; ``DataError`` naming ``where`` if malformed."""
    texts = ("id", "prompt", "target", "digest")
    if (
        not isinstance(row, dict)
        or not all(isinstance(row.get(name), str) for name in texts)
        or not isinstance(row.get("fields"), dict)
        or not isinstance(row.get("choices"), list)
        or not all(isinstance(choice, str) for choice in row["choices"])
        or not (row.get("label") is None or type(row["label"]) is int)
        or not all(type(row.get(name, 1)) is int and 1 <= row.get(name, 1) <= LARGEST for name in ("length", "weight"))
    ):
        raise DataError(f"{where} is no example", "make the file again")
    turns = _turns(row.get("turns", []), where)
    choices = tuple(row["choices"])
    given = row["id"], row["prompt"], row["target"], choices, row["label"], row["fields"], row["digest"], turns
    return Example(*given, length=row.get("length"), weight=row.get("weight"))


def _turns(value: Any, where: str) -> tuple[Turn, ...]:
    turns = turns_from_json(value)
    if turns is None:
        raise DataError(f"{where} has turns that are none", "make the file again")
    return turns


def metric_to_json(metric: MetricInfo) -> dict[str, Any]:
    """A metric with null for a bound that there is not, since JSON has no infinity."""
    bounds = {"low": metric.low, "high": metric.high}
    return {
        "name": metric.name,
        "higher_is_better": metric.higher_is_better,
        **{name: bound if math.isfinite(bound) else None for name, bound in bounds.items()},
    }


def metric_from_json(row: Any, where: str) -> MetricInfo:
    """The metric again; ``DataError`` naming ``where`` if malformed."""
    if (
        not isinstance(row, dict)
        or not isinstance(row.get("name"), str)
        or not isinstance(row.get("higher_is_better"), bool)
    ):
        raise DataError(f"{where} describes no metric", "make the file again")
    low, high = (_bound(row, name, where, none) for name, none in (("low", -math.inf), ("high", math.inf)))
    if not low <= high:
        raise DataError(f"{where} has a metric from {low:g} to {high:g}", "make the file again")
    return MetricInfo(row["name"], row["higher_is_better"], low, high)


def _bound(row: dict[str, Any], name: str, where: str, none: float) -> float:
    value = row.get(name)
    if value is None:
        return none
    # Compared, not converted: a whole number may be too large to be a float.
    if type(value) not in (int, float) or not -sys.float_info.max <= value <= sys.float_info.max:
        raise DataError(f"{where} has a metric whose {name} is {shown(value)}, no number", "make the file again")
    return float(value)
