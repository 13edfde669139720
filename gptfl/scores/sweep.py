"""What comes of comparing one estimator with itself over a grid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptfl.scores.comparison import Comparison, Row


@dataclass(frozen=True, slots=True)
class Point:
    """One combination of values, the estimator's row there, and the comparison that it is from."""

    values: Mapping[str, Any]
    row: Row
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class Sweep:
    """The combinations in order, the last axis varying fastest."""

    estimator: str
    axes: Mapping[str, Sequence[Any]]
    points: tuple[Point, ...]
    figure: Path | None = None
    output: Path | None = None
