"""Subsets between two sides: as a table, as a picture, and for programs."""

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from gptfl.core.texts import json_text, written_id
from gptfl.influence.frontier import Frontier, FrontierPoint
from gptfl.influence.targets import LEVEL
from gptfl.influence.two_sides import BETTER, WORSE, Gain
from gptfl.report.number_scale import NumberScale
from gptfl.report.pictures import drawn_text, new_figure, save_figure
from gptfl.report.plain import with_plain
from gptfl.report.ranking import COLOURS, RANDOM
from gptfl.report.selection import HEAD

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def frontier_ids_text(frontier: Frontier) -> str:
    """The ids of the chosen point, one a line, after a comment that says what they are."""
    head = (
        f"{HEAD}: {len(frontier.ids)} of {frontier.pool} examples of {frontier.recording}, by {frontier.estimator}, "
        f"point {frontier.chosen + 1} of {len(frontier.points)}"
    )
    return "\n".join((head, *map(written_id, frontier.ids))) + "\n"


def frontier_table(frontier: Frontier) -> Table:
    """A row for each point, the least gain on the target first; the chosen one is marked."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)
    has_bounds = any(one.gain.low is not None for one in frontier.points)
    bounds = (f"{LEVEL:.0%} interval",) if has_bounds else ()
    for name in ("point", "gain", *bounds, "retained", *bounds, *(("both",) if has_bounds else ())):
        table.add_column(name, justify="right", no_wrap=True)
    if has_bounds:
        table.add_column("verdict", overflow="fold")
    values = [value for one in frontier.points for value in (one.gain.value, one.retained.value)]
    scale = NumberScale.of(np.array(values))
    for place, one in enumerate(frontier.points):
        mark = " *" if place == frontier.chosen else "  "
        cells = [f"{place + 1}{mark}"]
        for side in (one.gain, one.retained):
            cells.append(scale.number(side.value, "+.3g"))
            if side.low is not None and side.high is not None:
                cells.append(scale.span(side.low, side.high, "+.3g"))
        if one.both is not None:
            cells += [f"{one.both:.0%}", verdict_words(one)]
        table.add_row(*(Text(cell) for cell in cells))
    return table


def verdict_words(point: FrontierPoint) -> str:
    """What the intervals of both sides say."""
    gained = {"better": "target better", "worse": "target worse"}.get(point.gain.verdict, "target: can't tell")
    kept = {"better": "retained better", "worse": "retained worse"}.get(point.retained.verdict, "retained: can't tell")
    return f"{gained}, {kept}"


def frontier_words(frontier: Frontier) -> str:
    """How many points are clearly better for the target, and how many clearly worse for the retained test examples."""
    count = len(frontier.points)
    if frontier.point.both is None:
        return "no interval says whether any of this is more than chance"
    gained = sum(one.gain.verdict == BETTER for one in frontier.points)
    hurt = sum(one.retained.verdict == WORSE for one in frontier.points)
    apart = "" if gained else "; where an interval holds 0, which way isn't told"
    return f"clearly better for the target: {gained} of {count} points; clearly worse for the retained: {hurt}{apart}"


def frontier_csv(frontier: Frontier) -> str:
    """A row for each point and training example, with the point's numbers."""
    text = io.StringIO()
    rows = [
        {"estimator": frontier.estimator, **_numbers(frontier, place), "id": written_id(id)}
        for place, one in enumerate(frontier.points)
        for id in one.ids
    ]
    writer = csv.DictWriter(text, list(rows[0]), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def records(frontier: Frontier) -> list[dict[str, Any]]:
    """A row for each point."""
    return [_numbers(frontier, place) for place in range(len(frontier.points))]


def _numbers(frontier: Frontier, place: int) -> dict[str, Any]:
    one = frontier.points[place]
    return {
        "point": place + 1,
        "weight": one.weight,
        "on": one.on,
        "keep": one.keep,
        **_gain("gain", one.gain),
        **_gain("retained", one.retained),
        "both": one.both,
        "novelty": one.novelty,
    }


def _gain(name: str, gain: Gain) -> dict[str, Any]:
    bounds = {} if gain.low is None else {f"{name}_low": gain.low, f"{name}_high": gain.high}
    return {name: gain.value, **bounds, f"{name}_verdict": gain.verdict}


def frontier_json(frontier: Frontier) -> str:
    """Everything."""
    document = {
        "recording": frontier.recording,
        "estimator": frontier.estimator,
        "metric": frontier.metric.name,
        "higher_is_better": frontier.metric.higher_is_better,
        "on": frontier.on,
        "keep": frontier.keep,
        "how": frontier.how,
        "pool": frontier.pool,
        "size": frontier.size,
        "step": frontier.step,
        "level": LEVEL,
        "reference": {"on": frontier.reference[0], "keep": frontier.reference[1]},
        "orders": frontier.orders,
        "found": frontier.found,
        "chosen": frontier.chosen + 1,
        "points": [{**_numbers(frontier, place), "ids": list(one.ids)} for place, one in enumerate(frontier.points)],
        "simulator": str(frontier.simulator),
        "output": None if frontier.output is None else str(frontier.output),
        "figure": None if frontier.figure is None else str(frontier.figure),
        "notes": list(frontier.notes),
    }
    return json_text(with_plain(frontier, document), indent=2) + "\n"


def frontier_figure(frontier: Frontier) -> "Figure":
    """The figure: gain on the target against that on the retained test examples; beside it with the intervals of both."""
    has_bounds = frontier.point.both is not None
    figure = new_figure(9.6 if has_bounds else 5.2, 4.4)
    panels = figure.subplots(1, 2 if has_bounds else 1, squeeze=False)[0]
    for axes, is_wide in zip(panels, (False, True), strict=False):
        _draw_points(axes, frontier, is_wide)
        axes.set_xlabel(drawn_text(f"retained, {frontier.kept}"), fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, lw=0.6)
    name = frontier.metric.name
    panels[0].set_ylabel(drawn_text(f"gain, {frontier.subject}"), fontsize=9)
    panels[0].set_title("predicted", fontsize=9)
    if has_bounds:
        panels[1].set_title(f"with {LEVEL:.0%} intervals", fontsize=9)
    lines = (
        f"{frontier.recording}: {name} of subsets of {frontier.size} against the average run, positive is better",
        f"orange: point {frontier.chosen + 1}, whose ids are written",
    )
    figure.suptitle("\n".join(map(drawn_text, lines)), fontsize=9)
    return figure


def _draw_points(axes: Any, frontier: Frontier, is_wide: bool) -> None:
    """The points by both gains, with their numbers; ``is_wide`` with their intervals and the lines of no change."""
    kept = [one.retained.value for one in frontier.points]
    gained = [one.gain.value for one in frontier.points]
    axes.plot(kept, gained, color=COLOURS[0], lw=1.0, alpha=0.6)
    if is_wide:
        axes.axhline(0.0, color=RANDOM, lw=0.8)
        axes.axvline(0.0, color=RANDOM, lw=0.8)
    for place, one in enumerate(frontier.points):
        is_chosen = place == frontier.chosen
        colour = COLOURS[1] if is_chosen else COLOURS[0]
        axes.plot(kept[place], gained[place], "o", ms=5, color=colour, zorder=3)
        if is_wide:
            bars = {"xerr": _bars(one.retained), "yerr": _bars(one.gain)}
            alpha = 1.0 if is_chosen else 0.3
            axes.errorbar(kept[place], gained[place], **bars, fmt="none", ecolor=colour, elinewidth=0.9, alpha=alpha)
        else:
            at = (kept[place], gained[place])
            axes.annotate(str(place + 1), at, xytext=(4, 4), textcoords="offset points", fontsize=8)


def _bars(gain: Gain) -> list[list[float]]:
    low, high = (gain.value if end is None else end for end in (gain.low, gain.high))
    return [[gain.value - low], [high - gain.value]]


def draw_frontier(frontier: Frontier, path: Path) -> None:
    """Write ``frontier_figure``. Raises ``ResourceError`` if it can't be written."""
    save_figure(frontier_figure(frontier), path)
