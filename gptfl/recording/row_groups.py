"""The groups that the rows of a pool fall into by a field."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from gptfl.core import Classes, Example
from gptfl.core.examples import classes_of
from gptfl.core.texts import json_text
from gptfl.errors import DataError
from gptfl.plugins.registry import suggest

CLASS, TASK = "class", "task"
NONE = "(none)"
"""What rows without the field are called."""
MOST = 1000
"""More groups than that are no groups."""


@dataclass(frozen=True, slots=True)
class Grouping:
    """The groups of a pool by a field: their names, and ``of`` each row the number of its group."""

    by: str
    names: tuple[str, ...]
    of: Int[np.ndarray, " pool"]

    @property
    def sizes(self) -> Int[np.ndarray, " group"]:
        """How many rows each group has."""
        return np.bincount(self.of, minlength=len(self.names))


def group_rows(pool: Sequence[Example], by: str, noun: str = "row of the pool") -> Grouping:
    """The groups of a pool, or of what ``noun`` names: by ``class``, ``task``, or any field of the rows.

    Raises ``DataError`` where no row has the field, or there are too many groups.
    """
    values = _class_names(pool) if by == CLASS else [_value(example, by) for example in pool]
    if not any(value is not None for value in values):
        known = sorted({name for example in pool for name in example.fields})
        there = ", ".join([*([CLASS] if _class_names(pool)[0] is not None else []), *known][:10])
        close = suggest(by, known) if known else ""
        remedy = close if close.startswith("did") else f"there is {there}" if there else "the rows have no fields"
        raise DataError(f"--by {by}: no {noun} has it", remedy)
    texts = [NONE if value is None else value for value in values]
    names = tuple(dict.fromkeys(texts))
    if len(names) > MOST:
        raise DataError(f"--by {by}: {len(names):,} values, which make more than {MOST:,} groups", "use another field")
    number = {name: place for place, name in enumerate(names)}
    return Grouping(by, names, np.array([number[text] for text in texts], dtype=np.int64))


def _class_names(pool: Sequence[Example]) -> list[str | None]:
    classes = classes_of(pool)
    names = Classes(pool)
    return [None] * len(pool) if classes is None else [names.name(one) for one in classes]


def _value(example: Example, by: str) -> str | None:
    value: Any = example.task if by == TASK else example.fields.get(by)
    return value if value is None or isinstance(value, str) else json_text(value)
