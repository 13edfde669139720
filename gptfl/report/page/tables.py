"""The comparison and its calibration as a page shows them."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from gptfl.report.calibration import MEANING, percent
from gptfl.report.cells import NOTHING, TITLES, number, seconds, spread
from gptfl.report.footnotes import footnotes, setting
from gptfl.scores.comparison import SCORES, Comparison, ScoreRow
from gptfl.scores.coverage import Coverage

LEFT, RIGHT, TOP, BOTTOM = 40.0, 240.0, 10.0, 200.0
"""The corners of the picture of calibration, in its own unit."""


def tables_of(comparison: Comparison, chosen: str) -> list[dict[str, Any]]:
    """The table of scores, and that of intervals where some row gives some; ``chosen`` is the estimator shown."""
    columns = ["estimator", *(TITLES[name] for name in SCORES), "fit s"]
    rows = [
        {"cells": [row.estimator, *(_cell(row, name) for name in SCORES), seconds(row)], "chosen": row.name == chosen}
        for row in comparison.rows
    ]
    found = [_table(setting(comparison), columns, rows, footnotes(comparison))]
    levels = sorted({level for row in comparison.rows for level in row.coverage})
    if levels:
        heads = ["estimator", *(head for level in levels for head in (f"inside {percent(level)}", "width"))]
        inside = [
            {"cells": [row.estimator, *_inside(row, levels)], "chosen": row.name == chosen}
            for row in comparison.rows
            if row.coverage
        ]
        found.append(_table("Predictive intervals", heads, inside, [MEANING]))
    return found


def _table(
    title: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]], lines: Sequence[str] = (), wide: Any = ()
) -> dict[str, Any]:
    """A table as the template reads it; ``wide`` are the places of columns of words."""
    whole = [{"chosen": False, "example": None, "name": "", **row} for row in rows]
    has_texts = any(row["example"] is not None for row in whole)
    return {
        "title": title,
        "columns": list(columns),
        "rows": whole,
        "lines": list(lines),
        "wide": list(wide),
        "has_texts": has_texts,
    }


def plain_table(table: Table, title: str, examples: Mapping[str, int] | None = None) -> dict[str, Any]:
    """A table of the terminal as the template reads it.

    Args:
        table: with texts in its cells.
        title: over it.
        examples: by id, the place in the page's data of the example whose text a row with that id opens.
    """
    columns = [_plain(column.header) for column in table.columns]
    cells = list(zip(*(map(_plain, column.cells) for column in table.columns), strict=True))
    wide = [place for place, column in enumerate(table.columns) if column.justify != "right" and not column.no_wrap]
    lines = [] if table.caption is None else [_plain(table.caption)]
    known = examples or {}
    rows = []
    for row in cells:
        named = next((cell for cell in row if cell in known), None)
        rows.append({"cells": row, "example": None if named is None else known[named], "name": named or ""})
    return _table(title, columns, rows, lines, wide)


def _plain(cell: RenderableType) -> str:
    return (cell if isinstance(cell, Text) else Text.from_markup(str(cell))).plain


def _cell(row: ScoreRow, name: str) -> str:
    if row.error:
        return NOTHING
    value = row.scores.get(name)
    return NOTHING if value is None else " ".join(filter(None, (number(name, value.value), spread(name, value))))


def _inside(row: ScoreRow, levels: Sequence[float]) -> list[str]:
    cells = []
    for level in levels:
        one = row.coverage.get(level)
        cells += [NOTHING, NOTHING] if one is None else [_share(one), f"{one.width:.3g}"]
    return cells


def _share(one: Coverage) -> str:
    between = "" if one.interval is None else f" [{100 * one.interval[0]:.0f}, {100 * one.interval[1]:.0f}]"
    return f"{percent(one.share)}{between}"


def calibration_of(comparison: Comparison, chosen: str) -> dict[str, Any] | None:
    """The points of the calibration picture of one estimator; None where it gives no intervals."""
    row = next((row for row in comparison.rows if row.name == chosen and row.coverage), None)
    if row is None:
        return None
    points = []
    for level, one in sorted(row.coverage.items()):
        point = {"x": _x(level), "y": _y(one.share)}
        if one.interval is not None:
            point |= {"low": _y(one.interval[0]), "high": _y(one.interval[1])}
        points.append(point)
    shares = ", ".join(f"{percent(one.share)} inside {percent(level)}" for level, one in sorted(row.coverage.items()))
    ticks = [{"x": _x(one), "y": _y(one), "label": f"{100 * one:.0f} %"} for one in (0.0, 0.5, 0.9)]
    return {"points": points, "ticks": ticks, "words": shares}


def _x(share: float) -> float:
    return round(LEFT + share * (RIGHT - LEFT), 1)


def _y(share: float) -> float:
    return round(BOTTOM - share * (BOTTOM - TOP), 1)
