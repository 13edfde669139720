"""Reads examples that were never in a recording, for ``simulate --new-train`` and ``--new-test``."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from gptfl.core import Classes, Dynamics, Example, MetricInfo, user_path
from gptfl.errors import DataError, PluginError
from gptfl.plugins.registry import Registry, suggest
from gptfl.tasks.base import DataTask, unique
from gptfl.tasks.instructions import GENERIC, instructed
from gptfl.tasks.jsonl import JsonLines
from gptfl.tasks.local_files import read_rows
from gptfl.tasks.mixture import task_names
from gptfl.tasks.own_data import row_reader
from gptfl.tasks.rows import TaskRow, shown
from gptfl.tasks.shapes import EXPECTED

FIRST = "first"
"""The field with a test example's first score."""
PLAIN = "prompt and target (texts)"


@dataclass(frozen=True, slots=True)
class NewExamples:
    """Training and test examples that a recording lacks; ``first`` is NaN where the file gives no first score."""

    pool: tuple[Example, ...]
    test: tuple[Example, ...]
    first: Float[np.ndarray, " test"]


def read_new_examples(
    train: str | Path | None,
    test: str | Path | None,
    dynamics: Dynamics,
    metric: MetricInfo,
    registry: Registry,
    flag: str = "--new-train",
) -> NewExamples:
    """The examples in the files of ``--new-train`` and ``--new-test``.

    A line is a JSON object with prompt and target, or with the fields of the recording's task, as in its own
    files; in a mixture, ``task`` says which.

    Args:
        train: file of training examples, None for none.
        test: file of test examples, which may say their score before training (``first``); None for none.
        dynamics: the recording that they lie beside.
        metric: that first scores are of.
        registry: where the recording's tasks are found by name.
        flag: what gave ``train``.

    Raises ``DataError``, naming file and line, for what is neither, for an id that the recording has on that side, and
    for a first score that the metric can't have.
    """
    reader = _Reader(dynamics, registry)
    pool, _ = _read(reader, train, flag, dynamics.pool, metric)
    tests, first = _read(reader, test, "--new-test", dynamics.test, metric)
    return NewExamples(pool, tests, np.array(first, dtype=np.float64))


def _read(
    reader: "_Reader", given: str | Path | None, flag: str, recorded: Sequence[Example], metric: MetricInfo
) -> tuple[tuple[Example, ...], list[float]]:
    if given is None:
        return (), []
    path = user_path(given)
    if path.is_dir() or not path.exists():
        raise DataError(f"{flag} {path} is no file", "give a file of JSON lines, one example a line")
    known = {example.id for example in recorded}
    first: list[float] = []

    def rows() -> Iterator[TaskRow]:
        """Each row as it is read, so that what is wrong stops the reading."""
        for number, plain in enumerate(read_rows(path, reader.expected)):
            row = _with_id(plain, number, reader.id_field)
            if row.values["id"] in known:
                raise DataError(f"{row.place}: the recording has an example {row.values['id']!r}", "give it another id")
            first.append(_first(row, metric))
            yield _bare(row)

    examples = tuple(unique(rows(), reader.example))
    if not examples:
        raise DataError(f"{flag} {path} holds no example", "write one JSON object a line")
    return examples, first


def _with_id(row: TaskRow, number: int, field: str) -> TaskRow:
    if field != "id" and field in row.values:
        row = replace(row, values={**row.values, "id": row.values[field]})
    return row.having(id=f"new-{number}" if row.values.get("id") in (None, "") else row.id(number))


def _bare(row: TaskRow) -> TaskRow:
    return replace(row, values={name: value for name, value in row.values.items() if name != FIRST})


def _first(row: TaskRow, metric: MetricInfo) -> float:
    """The first score that a row gives, NaN for none."""
    value = row.values.get(FIRST)
    where = f"field {FIRST!r}"
    if isinstance(value, Mapping):
        if metric.name not in value:
            raise row.wrong(f"{where} has no {metric.name!r}, which is what is simulated")
        value, where = value[metric.name], f"field {FIRST!r}, {metric.name!r}"
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300:
        raise row.wrong(f"{where} is {shown(value)}, not a number")
    if not metric.low <= value <= metric.high:
        raise row.wrong(f"{where} is {value:g}, outside the range of {metric.name}")
    return float(value)


class _Reader:
    """Makes examples as the recording's own were made."""

    def __init__(self, dynamics: Dynamics, registry: Registry) -> None:
        settings = dynamics.settings
        self.seed = settings.seed
        self.instructions = bool(settings.instructions)
        names = task_names(settings.task) if settings.task else []
        self.mixed = len(names) > 1
        self.names = names
        self.tasks = {name: task for name in names if (task := _open(name, registry)) is not None}
        forms = [PLAIN, *(task.expected for task in self.tasks.values() if not isinstance(task, JsonLines))]
        self.expected = ", or ".join(forms) + (f", and task (one of {', '.join(names)})" if self.mixed else "")
        self.classes = Classes((*dynamics.pool, *dynamics.test))
        self.own = row_reader(settings)
        self.id_field = "id" if self.own is None else self.own.fields.get("id", "id")
        if self.own is not None:
            self.own.fields = {name: column for name, column in self.own.fields.items() if name != "id"}
            self.expected = EXPECTED

    def example(self, row: TaskRow, id: str) -> Example:
        """The example that a row holds. Raises ``DataError`` naming the row's place."""
        if self.own is not None:
            return replace(self._classed(self.own.read(row), ""), id=id)
        name = self._task_of(row)
        if "prompt" in row.values and "target" in row.values:
            return self._marked(self._classed(JsonLines().example(row, id), name), name)
        task = self.tasks.get(name)
        if task is None or isinstance(task, JsonLines):
            return JsonLines().example(row, id)  # tells what is missing
        made = task.example(row, id)
        if self.instructions:
            templates = task.templates or GENERIC
            parts = task.parts(row) if task.templates else {"prompt": made.prompt}
            made = instructed(made, templates, parts, self.seed)
        return self._marked(made, name)

    def _task_of(self, row: TaskRow) -> str:
        if not self.mixed:
            return self.names[0] if self.names else ""
        name = row.get("task")
        if name not in self.names:
            raise DataError(f"{row.place}: task {shown(name)} is not of the recording", suggest(str(name), self.names))
        return str(name)

    def _marked(self, example: Example, name: str) -> Example:
        return replace(example, fields={**example.fields, "task": name}) if self.mixed else example

    def _classed(self, example: Example, name: str) -> Example:
        """With the choices that all the task's labelled examples share, where its target is one of them."""
        choices = self.classes.choices(name if self.mixed else "")
        if example.choices or example.target not in choices:
            return example
        return replace(example, choices=choices, label=choices.index(example.target))


def _open(name: str, registry: Registry) -> DataTask | None:
    """The task of that name, if it is one whose rows can be read one by one."""
    try:
        made: Any = registry.make("task", name, data=None)
    except PluginError:
        return None  # its plugin is no longer there; prompt and target can be read all the same
    return made if isinstance(made, DataTask) else None
