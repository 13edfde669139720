"""Whether the intervals that estimators give hold: as a table, and for the other formats."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from gptfl.report.cells import NOTHING, number
from gptfl.scores.comparison import Comparison, ScoreRow
from gptfl.scores.coverage import Coverage

MEANING = (
    "Share of recorded points after the first that lie inside the intervals of each level, and the mean width of these. "
    "Brackets: 95 % interval of that share over runs, whose points miss together."
)


def percent(share: float) -> str:
    """0.9 as 90 %."""
    return f"{100 * share:.3g} %"


def calibration_table(comparison: Comparison) -> Table | None:
    """Share inside and mean width by level, for the terminal; None where no estimator gives intervals."""
    levels = _levels(comparison)
    if not levels:
        return None
    table = Table(
        title=Text("Predictive intervals"),
        caption=Text(MEANING),
        caption_justify="left",
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("estimator")
    for level in levels:
        table.add_column(f"inside {percent(level)}", justify="right")
        table.add_column("width", justify="right")
    for row in comparison.rows:
        if not row.coverage:
            continue
        table.add_row(Text(row.estimator), *_cells(row.coverage, levels, "\n"))
        for task, own in row.coverage_by_task.items():
            table.add_row(Text(f" {task}", style="dim"), *(Text(cell, style="dim") for cell in _cells(own, levels)))
    return table


def calibration_lines(comparison: Comparison) -> list[str]:
    """The same as sentences, for notes under a table; nothing where no estimator gives intervals."""
    lines = []
    for row in comparison.rows:
        parts = [
            f"{_share(one)} inside {percent(level)} (mean width {_width(one)})" for level, one in row.coverage.items()
        ]
        if parts:
            lines.append(f"{row.estimator} {', '.join(parts)}")
    return [f"Predictive intervals, share of recorded points: {'; '.join(lines)}."] if lines else []


def coverage_dict(coverage: Mapping[float, Coverage]) -> dict[str, Any]:
    """JSON-able, by level as text."""
    return {
        f"{level:g}": {
            "share": one.share,
            "interval": one.interval and list(one.interval),
            "width": one.width,
            "points": one.points,
        }
        for level, one in coverage.items()
    }


def coverage_columns(levels: Sequence[float]) -> list[str]:
    """The names of the columns that ``coverage_cells`` fills."""
    return [f"{what}_{100 * level:g}" for level in levels for what in ("inside", "width")]


def coverage_cells(row: ScoreRow, levels: Sequence[float]) -> list[Any]:
    """Share and width at each level; None where there are none."""
    known = [row.coverage.get(level) for level in levels]
    return [part for one in known for part in ((None, None) if one is None else (one.share, one.width))]


def _levels(comparison: Comparison) -> list[float]:
    return sorted({level for row in comparison.rows for level in row.coverage})


def _cells(coverage: Mapping[float, Coverage], levels: Sequence[float], gap: str = " ") -> list[str]:
    known = [coverage.get(level) for level in levels]
    return [cell for one in known for cell in ((NOTHING, NOTHING) if one is None else (_share(one, gap), _width(one)))]


def _share(one: Coverage, gap: str = " ") -> str:
    if math.isnan(one.share):
        return NOTHING
    if one.interval is None or not all(map(math.isfinite, one.interval)):
        return percent(one.share)
    low, high = (f"{100 * bound:.0f}" for bound in one.interval)
    return percent(one.share) if one.interval[0] == one.interval[1] else f"{percent(one.share)}{gap}[{low}, {high}]"


def _width(one: Coverage) -> str:
    return NOTHING if math.isnan(one.width) else number("mse", one.width)
