"""Examples and metrics as JSON, and back."""

import math
from collections.abc import Sequence
from typing import Any

import h5py

from gptfl.errors import DataError
from gptfl.records import Example, MetricInfo
from gptfl.store import fields

MAX_CLASSES = 10_000
"""How many classes examples may have that don't list their choices."""


def put_examples(group: h5py.Group, name: str, examples: Sequence[Example]) -> None:
    """Keep examples as JSON lines. Raises ``DataError`` as ``check_labels`` does."""
    check_labels(examples, f"{fields.path_of(group)}: {group.name}/{name}")
    fields.put_lines(group, name, [_to_json(example) for example in examples])


def get_examples(group: h5py.Group, name: str) -> tuple[Example, ...]:
    """Read examples. Raises ``DataError`` if they are malformed, an id occurs twice or a label is out of range."""
    where = f"{fields.path_of(group)}: {group.name}/{name}"
    examples = tuple(_from_json(row, f"{where} line {i + 1}") for i, row in enumerate(fields.get_lines(group, name)))
    check_labels(examples, where)
    seen: set[str] = set()
    for example in examples:
        if example.id in seen:
            raise DataError(f"{where} has the id {example.id!r} twice", "record again with unique ids")
        seen.add(example.id)
    return examples


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


def _to_json(example: Example) -> dict[str, Any]:
    return {
        "id": example.id,
        "prompt": example.prompt,
        "target": example.target,
        "choices": list(example.choices),
        "label": example.label,
        "fields": dict(example.fields),
        "digest": example.digest,
    }


def _from_json(row: Any, where: str) -> Example:
    texts = ("id", "prompt", "target", "digest")
    if (
        not isinstance(row, dict)
        or not all(isinstance(row.get(name), str) for name in texts)
        or not isinstance(row.get("fields"), dict)
        or not isinstance(row.get("choices"), list)
        or not all(isinstance(choice, str) for choice in row["choices"])
        or not (row.get("label") is None or type(row["label"]) is int)
    ):
        raise DataError(f"{where} is no example", "make the file again")
    return Example(
        row["id"], row["prompt"], row["target"], tuple(row["choices"]), row["label"], row["fields"], row["digest"]
    )


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
    numbers = (int, float, type(None))
    if (
        not isinstance(row, dict)
        or not isinstance(row.get("name"), str)
        or not isinstance(row.get("higher_is_better"), bool)
        or not isinstance(row.get("low"), numbers)
        or not isinstance(row.get("high"), numbers)
    ):
        raise DataError(f"{where} describes no metric", "make the file again")
    low = -math.inf if row.get("low") is None else float(row["low"])
    high = math.inf if row.get("high") is None else float(row["high"])
    return MetricInfo(row["name"], row["higher_is_better"], low, high)
