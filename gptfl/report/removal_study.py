"""Removal curves: what leaving rows out came to, recorded and predicted, as numbers, tables and a picture."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from gptfl.core.texts import json_text
from gptfl.evaluation.verification import LEVEL
from gptfl.report.cells import NOTHING
from gptfl.report.pictures import drawn_text, new_figure, save_figure
from gptfl.report.plain import with_plain
from gptfl.report.ranking import COLOURS
from gptfl.report.ranking import RANDOM as GREY
from gptfl.store.outputs import written_whole
from gptfl.studies.results import HARMFUL, HELPFUL, RANDOM, DroppedSets, RankingGap, RemovalStudy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINES = {HARMFUL: (COLOURS[1], "v"), HELPFUL: (COLOURS[0], "^"), RANDOM: (GREY, "o")}
"""The colour and the marker of each kind."""
SAID = {"one pair": "one order"}
DASHED = (0, (4, 2))
"""How predicted changes are drawn."""
BEYOND = 0.6
"""Bars are drawn so far beyond the least and the greatest change, as a share of what lies between these."""
APART = 0.012
"""How far the kinds' points lie beside each other, as a share of the axis, so that no error bar hides another."""


def to_json(study: RemovalStudy) -> str:
    """Everything, every training apart; numbers that aren't known are null."""
    document: dict[str, Any] = {
        "recording": study.recording,
        "metric": study.metric.name,
        "higher_is_better": study.metric.higher_is_better,
        "on": study.on,
        "scored": study.subject,
        "tests": study.tests,
        "pool": study.pool,
        "steps": study.steps,
        "orders": len(study.whole),
        "seed": study.seed,
        "level": LEVEL,
        "rankings": list(study.rankings),
        "sizes": list(study.sizes),
        "whole_pool": study.whole.tolist(),
        "dropped": [_drop(one) for one in study.drops],
        "gaps": [_gap(study.gap(ranking, size)) for ranking in study.rankings for size in study.sizes],
        "figure": None if study.figure is None else str(study.figure),
        "notes": list(study.notes),
    }
    return json_text(with_plain(study, document), indent=2) + "\n"


def _drop(one: DroppedSets) -> dict[str, Any]:
    return {
        "rows": one.size,
        "kind": one.kind,
        "ranking": one.ranking,
        "sets": [list(ids) for ids in one.sets],
        "values": one.values.tolist(),
        "changes": one.changes.tolist(),
        "change": one.change,
        "standard_error": one.standard_error,
        "interval": _pair(one.interval),
        "verdict": one.verdict,
        "predicted": {
            label: {"change": known.change, "interval": _pair(known.interval)} for label, known in one.predicted.items()
        },
    }


def _gap(gap: RankingGap) -> dict[str, Any]:
    return {
        "ranking": gap.ranking,
        "rows": gap.size,
        "gap": gap.gap,
        "interval": _pair(gap.interval),
        "verdict": gap.verdict,
        "predicted": gap.predicted,
        "two_random_sets": gap.chance,
    }


def _pair(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)


def write_removal_study(study: RemovalStudy, path: Path) -> None:
    """Write the numbers to ``path``. Raises ``ResourceError`` if it can't be written."""
    with written_whole(path) as part:
        part.write_text(to_json(study), encoding="utf-8")


def headline(study: RemovalStudy) -> str:
    """What was trained and scored, in a line."""
    whole = study.whole.mean()
    ends = f"{whole:.4g}" if np.isfinite(whole) else "no finite score"
    return (
        f"{study.metric.name} at step {study.steps} on {study.subject}, for which rows were ranked, too: {ends} with all "
        f"{study.pool} rows of {study.recording}, {_orders(study)}"
    )


def _orders(study: RemovalStudy) -> str:
    count = len(study.whole)
    return "in 1 order" if count == 1 else f"mean of {count} orders"


def removal_study_tables(study: RemovalStudy, ranking: str) -> list[Table]:
    """Of one ranking: what each size and kind changed, and how far the most harmful and most helpful rows lie apart."""
    return [_change_table(study, ranking), _gap_table(study, ranking)]


def _change_table(study: RemovalStudy, ranking: str) -> Table:
    better = "higher" if study.metric.higher_is_better else "lower"
    table = _empty_table(
        f"By {ranking}: what leaving rows out changed ({better} is better), with {LEVEL:.0%} intervals"
    )
    table.add_column("rows", justify="right", no_wrap=True)
    table.add_column("left out", no_wrap=True)
    for heading in ("recorded change", "predicted change"):
        table.add_column(heading, no_wrap=True)
    table.add_column("recorded is", no_wrap=True)
    for place, size in enumerate(study.sizes):
        if place:
            table.add_row()
        for kind in LINES:
            (one,) = (drop for drop in study.curve(kind, _owner(kind, ranking)) if drop.size == size)
            known = one.predicted.get(ranking)
            count = f" ({len(one.sets)} sets)" if len(one.sets) > 1 else ""
            table.add_row(
                str(size),
                Text(f"{kind}{count}"),
                _cell(one.change, one.interval),
                NOTHING if known is None else _cell(known.change, known.interval),
                SAID.get(one.verdict, one.verdict),
            )
    return table


def _gap_table(study: RemovalStudy, ranking: str) -> Table:
    table = _empty_table(
        f"By {ranking}: how much better the {study.metric.name} ends without the most harmful rows than without the most "
        "helpful"
    )
    table.add_column("rows", justify="right", no_wrap=True)
    for heading in ("recorded gap", "predicted", "two random sets differ by", "the ranking is"):
        table.add_column(heading, no_wrap=True)
    for size in study.sizes:
        gap = study.gap(ranking, size)
        table.add_row(
            str(size),
            _cell(gap.gap, gap.interval),
            NOTHING if gap.predicted is None else f"{gap.predicted:+.3g}",
            NOTHING if gap.chance is None else f"{gap.chance:.2g}",
            SAID.get(gap.verdict, gap.verdict),
        )
    return table


def _empty_table(title: str) -> Table:
    return Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)


def _owner(kind: str, ranking: str) -> str | None:
    return None if kind == RANDOM else ranking


def _cell(change: float, interval: tuple[float, float] | None) -> str:
    if not math.isfinite(change):
        return NOTHING
    return f"{change:+.3g}" if interval is None else f"{change:+.3g} [{interval[0]:+.2g}, {interval[1]:+.2g}]"


def removal_study_figure(study: RemovalStudy) -> "Figure":
    """The figure: a panel a ranking, the change of the mean score against the number of rows left out.

    Recorded changes are solid lines with 90 % intervals, predicted ones dashed.
    """
    figure = new_figure(max(6.4, 4.9 * len(study.rankings)), 4.4)
    panels = figure.subplots(1, len(study.rankings), squeeze=False, sharey=True)[0]
    for axes, ranking in zip(panels, study.rankings, strict=True):
        axes.axhline(0.0, color="#000000", lw=0.8)
        for shift, kind in zip((-1, 1, 0), LINES, strict=True):
            _draw_curve(axes, study, kind, ranking, shift * APART * study.sizes[-1])
        axes.set_title(drawn_text(f"ranked by {ranking}"), fontsize=9)
        axes.set_xticks([0, *study.sizes])
        axes.set_xlabel(f"rows left out, of {study.pool}")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.25, lw=0.6)
    better = "higher" if study.metric.higher_is_better else "lower"
    panels[0].set_ylabel(f"change of {study.metric.name} at step {study.steps} ({better} is better)")
    _limit(panels[0], study)
    panels[0].legend(handles=_legend(study), fontsize=8, frameon=False, loc="best")
    lines = (study.recording, f"{study.subject}, {_orders(study)}")
    figure.suptitle("\n".join(map(drawn_text, lines)), fontsize=9)
    return figure


def _draw_curve(axes: "Axes", study: RemovalStudy, kind: str, ranking: str, shift: float) -> None:
    """One kind's line, recorded and predicted, from nothing left out on."""
    colour, marker = LINES[kind]
    drops = study.curve(kind, _owner(kind, ranking))
    places = np.array([0.0, *(one.size for one in drops)])
    beside = places + shift * (places > 0)
    changes = [0.0, *(one.change for one in drops)]
    reach = [0.0, *(math.nan if one.interval is None else one.interval[1] - one.change for one in drops)]
    axes.errorbar(beside, changes, yerr=reach, color=colour, lw=1.8, marker=marker, ms=4.5, capsize=2.5, elinewidth=1.0)
    known = [one.predicted.get(ranking) for one in drops]
    if any(one is not None for one in known):
        told = [0.0, *(math.nan if one is None else one.change for one in known)]
        axes.plot(beside, told, color=colour, lw=1.3, ls=DASHED)


def _limit(axes: "Axes", study: RemovalStudy) -> None:
    """Leave room for all changes; of bars that are much longer, as those of two orders may be, what lies beyond is cut."""
    told = [known.change for one in study.drops for known in one.predicted.values()]
    changes = np.array([0.0, *told, *(one.change for one in study.drops)])
    changes = changes[np.isfinite(changes)]
    low, high = axes.get_ylim()
    least, most = float(changes.min()), float(changes.max())
    room = BEYOND * (most - least)
    if room > 0:
        axes.set_ylim(max(low, least - room), min(high, most + room))


def _legend(study: RemovalStudy) -> list[Any]:
    """The kinds by their colours, and what is dashed."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour, marker=marker, ms=4.5, lw=1.8, label=kind if kind == RANDOM else f"{kind} first")
        for kind, (colour, marker) in LINES.items()
    ]
    is_sure = any(one.interval is not None for one in study.drops)
    recorded = f"recorded, with {LEVEL:.0%} interval" if is_sure else "recorded"
    handles.append(Line2D([], [], color="#000000", lw=1.8, label=recorded))
    if any(one.predicted for one in study.drops):
        handles.append(Line2D([], [], color="#000000", lw=1.3, ls=DASHED, label="predicted"))
    return handles


def draw_removal_study(study: RemovalStudy, path: Path) -> None:
    """Write ``removal_study_figure``. Raises ``UsageError`` for a suffix that names no picture, ``ResourceError`` if it can't be written."""
    save_figure(removal_study_figure(study), path)
