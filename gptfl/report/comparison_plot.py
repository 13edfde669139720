"""Draws recorded and simulated trajectories of held-out runs, and how well their differences agree."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from gptfl.options.defaults import PAPER
from gptfl.report.cells import number
from gptfl.report.pictures import drawn_text, new_figure, save_figure
from gptfl.scores.comparison import Comparison, ScoreRow
from gptfl.scores.lds import final_deviations
from gptfl.scores.pointwise import at_rows, final_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase


PANELS = 3
"""How many trajectories, and at most how many estimators, a figure shows."""
MAX_POINTS = 4000
"""A scatter panel shows at most about this many points."""
MAX_ROOM = 2.5
"""How far, in units of the largest recorded deviation, a simulated one is drawn; further ones lie at the edge."""
RECORDED = "#000000"
MEAN_RUN = "#8C8C8C"
# Okabe and Ito's palette, told apart by dash and marker as well.
COLOURS = ("#0072B2", "#D55E00", "#009E73")
DASHES = ((0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
MARKERS = ("o", "s", "^")


def main_estimators(comparison: Comparison) -> list[str]:
    """Whose trajectories are shown: the paper's estimator and the ones with the highest skill, in order of skill.

    An oracle comes after all that predict. Persistence and mean-run are not among them: the one is a flat line, the other always drawn.
    """
    rows = [row for row in comparison.rows if not row.error and row.estimator not in ("persistence", "mean-run")]
    ranked = sorted(rows, key=lambda row: (row.oracle, -_skill(row)))
    shown = ranked[:PANELS]
    own = [row for row in ranked if row.name == PAPER]
    if own and not any(row in own for row in shown):
        shown[-1] = own[0]
    return [row.estimator for row in shown]


def _skill(row: ScoreRow) -> float:
    return row.scores["skill"].value if "skill" in row.scores else -np.inf


def telling_trajectories(comparison: Comparison) -> list[tuple[int, int, str]]:
    """(run, test example, why) of those whose recorded final deviation from mean-run is largest and typical."""
    held = comparison.held_out
    size = np.abs(final_deviations(held.recorded, held.recorded, held.mean_run))
    order = [int(place) for place in np.argsort(size, axis=None, kind="stable") if np.isfinite(size.ravel()[place])]
    quantiles = (("largest deviation", 1.0), ("90th percentile", 0.9), ("median deviation", 0.5))
    chosen: dict[int, str] = {}
    for why, share in quantiles[: len(order)]:
        chosen.setdefault(order[round(share * (len(order) - 1))], why)
    return [(place // size.shape[1], place % size.shape[1], why) for place, why in chosen.items()]


def comparison_figure(comparison: Comparison) -> "Figure":
    """The figure: above, trajectories of three held-out (run, test example) pairs; below, for each
    main estimator, predicted against recorded final deviation from mean-run.
    """
    shown = main_estimators(comparison)
    figure = new_figure(10.5, 6.8 if shown else 3.8)
    if shown:
        above, below = cast("np.ndarray", figure.subfigures(2, 1))
        _draw_trajectories(comparison, shown, above)
        _draw_agreement(comparison, shown, below)
    else:
        _draw_trajectories(comparison, shown, figure)
    return figure


def draw_comparison(comparison: Comparison, path: Path) -> None:
    """Write ``comparison_figure``. Raises ``UsageError`` for a suffix that names no picture, ``ResourceError`` if it can't be written."""
    save_figure(comparison_figure(comparison), path)


def _draw_trajectories(comparison: Comparison, shown: list[str], figure: "FigureBase") -> None:
    held, metric = comparison.held_out, comparison.metric.name
    chosen = telling_trajectories(comparison)
    panels = figure.subplots(1, max(1, len(chosen)), squeeze=False)[0]
    for axes, (run, test, why) in zip(panels, chosen, strict=False):
        known = np.isfinite(held.recorded[run, :, test])
        steps = held.steps[run, known]
        axes.plot(steps, held.mean_run[run, known, test], color=MEAN_RUN, lw=1.6, label="mean-run")
        axes.plot(steps, held.recorded[run, known, test], color=RECORDED, lw=2.0, label="recorded")
        if held.given is not None:
            observed = np.isfinite(held.given[run, :, test])
            points = held.given[run, observed, test]
            axes.plot(held.steps[run, observed], points, color=RECORDED, ls="", marker="o", ms=3.5, label="observed")
        for name, colour, dash in zip(shown, COLOURS, DASHES, strict=False):
            values = comparison.predicted[name][run, known, test]
            how = "oracle" if _row(comparison, name).oracle else "simulated"
            axes.plot(steps, values, color=colour, ls=dash, lw=1.8, label=f"{name}, {how}")
        axes.set_title(f"{_short(held.tests[test])} in {held.names[run]}\n({why})", fontsize=9)
        axes.set_xlabel("training step")
        axes.xaxis.get_major_locator().set_params(integer=True)
        _tidy(axes)
    panels[0].set_ylabel(metric)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=9)
    figure.suptitle(f"Held-out runs of {comparison.recording}", fontsize=11)


def _draw_agreement(comparison: Comparison, shown: list[str], figure: "FigureBase") -> None:
    held, metric = comparison.held_out, comparison.metric.name
    truth = final_deviations(held.recorded, held.recorded, held.mean_run)
    rows = final_rows(held.recorded)
    panels = figure.subplots(1, len(shown), squeeze=False, sharex=True, sharey=True)[0]
    known = np.flatnonzero(np.isfinite(truth))
    known = known[:: max(1, len(known) // MAX_POINTS)]
    recorded = truth.ravel()[known]
    for axes, name, colour, marker in zip(panels, shown, COLOURS, MARKERS, strict=False):
        ours = (at_rows(comparison.predicted[name], rows) - at_rows(held.mean_run, rows)).ravel()[known]
        ends = [float(recorded.min(initial=0.0)), float(recorded.max(initial=0.0))]
        axes.plot(ends, ends, color=MEAN_RUN, lw=1.2, zorder=1)
        axes.axhline(0.0, color=MEAN_RUN, lw=0.8, ls=":", zorder=1)
        # One roll-out gone astray would shrink all else to a dot.
        room = MAX_ROOM * float(np.abs(recorded).max(initial=0.0))
        beyond = int((np.abs(ours) > room).sum())
        ours = np.clip(ours, -room, room)
        axes.scatter(recorded, ours, s=9, alpha=0.45, color=colour, marker=marker, linewidths=0, rasterized=True)
        # Within the axes the remark would hide points.
        remark = f"\n{beyond} beyond the edge" if beyond else ""
        axes.set_title(_headline(comparison, name) + remark, fontsize=9)
        axes.set_xlabel(f"recorded {metric} - mean-run")
        _tidy(axes)
    panels[0].set_ylabel(f"simulated {metric} - mean-run")
    figure.suptitle("Final deviation from the average run, every held-out run and test example", fontsize=10)


def _row(comparison: Comparison, name: str) -> ScoreRow:
    return next(row for row in comparison.rows if row.estimator == name)


def _headline(comparison: Comparison, name: str) -> str:
    row = _row(comparison, name)
    parts = [
        f"{label} {number(key, row.scores[key].value)}"
        for key, label in (("skill", "skill"), ("lds", "LDS"))
        if key in row.scores
    ]
    mark = " (oracle)" if row.oracle else ""
    return f"{name}{mark}\n{', '.join(parts)}"


def _tidy(axes: "Axes") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25, lw=0.6)


def _short(text: str, width: int = 24) -> str:
    # A dollar sign would start mathematics.
    return drawn_text(text if len(text) <= width else text[: width - 1] + "…")
