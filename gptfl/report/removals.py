"""How far estimators are right about what leaving a group of examples out changes: as a table, and for other formats."""

import math
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from gptfl.report.cells import NOTHING, number
from gptfl.scores.comparison import Comparison
from gptfl.scores.removals import ChangesInside, RemovalScores

MEANING = (
    "Change: the final {metric} without the group less that with it, in the mean over test examples and orders. slope: of "
    "recorded on predicted changes (1: the right size). error: root mean squared, in standard errors of the recorded change "
    "(1: nothing but noise is left); each: of single test examples. signs: predicted with the recorded sign, of changes "
    "beyond two standard errors. LDS: over training sets, final scores averaged over orders."
)
INSIDE = (
    " inside 90 %: of the recorded changes, in the 90 % interval of the predicted one, of the mean and of single test examples; "
    "the recorded ones' noise counts."
)
LEVEL = 0.9


def removal_table(comparison: Comparison) -> Table | None:
    """A row an estimator; None where no held-out runs show removals."""
    removals = comparison.held_out.removals
    known = [(row, row.removals) for row in comparison.rows if row.removals is not None]
    if removals is None or not known:
        return None
    sizes = sorted({len(group) for group in removals.groups})
    size = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    told = any(scores.inside is not None for _, scores in known)
    table = Table(
        title=Text(
            f"Training sets less a group: {len(removals)} groups of {size}, {len(removals.pairs)} pairs of runs"
        ),
        caption=Text(MEANING.format(metric=comparison.metric.name) + (INSIDE if told else "")),
        caption_justify="left",
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    for head in ("estimator", "slope", "error", "each", "signs", "LDS", *(["inside 90 %"] if told else [])):
        table.add_column(head, justify="left" if head == "estimator" else "right")
    for row, scores in known:
        table.add_row(row.estimator, *_cells(scores), *([_inside(scores)] if told else []))
    return table


def removals_dict(scores: RemovalScores) -> dict[str, Any]:
    """The same for JSON."""
    interval = [bound if math.isfinite(bound) else None for bound in scores.slope_interval]
    numbers = {name: getattr(scores, name) for name in ("slope", "error", "error_each", "lds")}
    return {
        **{name: value if math.isfinite(value) else None for name, value in numbers.items()},
        "slope_interval": interval,
        "signs": scores.signs,
        "clear": scores.clear,
        **({} if scores.inside is None else {"inside": _inside_dict(scores.inside)}),
    }


def _inside_dict(inside: ChangesInside) -> dict[str, Any]:
    levels = {str(level): {"mean": share, "each": inside.each[level]} for level, share in inside.mean.items()}
    return {"levels": levels, "spread": inside.spread if math.isfinite(inside.spread) else None}


def _cells(scores: RemovalScores) -> list[Text]:
    low, high = scores.slope_interval
    interval = f"\n[{number('skill', low)}, {number('skill', high)}]" if math.isfinite(low + high) else ""
    return [
        Text(_number(scores.slope) + interval),
        Text(_number(scores.error)),
        Text(_number(scores.error_each)),
        Text(f"{scores.signs} of {scores.clear}"),
        Text(_number(scores.lds)),
    ]


def _inside(scores: RemovalScores) -> Text:
    if scores.inside is None or LEVEL not in scores.inside.mean:
        return Text(NOTHING)
    return Text(f"{scores.inside.mean[LEVEL]:.0%}, {scores.inside.each[LEVEL]:.0%}")


def _number(value: float) -> str:
    return number("skill", value) if math.isfinite(value) else NOTHING
