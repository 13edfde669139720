"""Draws what a simulation predicts against the average recorded run."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import MetricInfo
from gptfl.report.pictures import drawn_text, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


# Okabe and Ito's palette: told apart by colour-blind readers, and by dash as well.
PREDICTED, REFERENCE, RECORDED = "#0072B2", "#7F7F7F", "#000000"

LEVEL = 0.9
"""The interval that is drawn, where it is given; else the widest."""
Trajectories = Float[np.ndarray, "run recorded test"]


def simulation_figure(
    *,
    steps: Int[np.ndarray, " recorded"],
    values: Trajectories,
    intervals: Mapping[float, tuple[Trajectories, Trajectories]],
    reference: Float[np.ndarray, "recorded test"],
    recorded: Trajectories | None,
    shown: Sequence[tuple[str, int, str]],
    title: str,
    against: str,
    metric: MetricInfo,
    observed: Trajectories | None = None,
) -> "Figure":
    """The figure: on the left the mean over test examples, on the right up to four test examples.

    Bands are the estimator's own 90 % interval of a single run (bounds are means over curricula) for test examples
    where
    it gives some, else the standard deviation over curricula.

    Args:
        steps: recorded steps.
        values: predicted.
        intervals: lower and upper bounds by level.
        reference: what the prediction is held against.
        recorded: the same runs as recorded, None where they weren't.
        shown: names, places and what to say (helped or hurt) of the test examples on the right.
        title: above all.
        against: what the reference is called.
        metric: on the axes.
        observed: scores that the prediction went on from, None where there were none.
    """
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(11, 4.6)
    panels = _panels(figure, shown)
    level = LEVEL if LEVEL in intervals else max(intervals, default=0.0)
    for axes, name, one in panels:
        sure = one is not None and bool(intervals)
        _draw(axes, steps, _one(values, one), _one(reference[None], one)[0], against, spread=not sure)
        if recorded is not None:
            known = _one(recorded, one).mean(axis=0)
            axes.plot(steps, known, color=RECORDED, lw=1.4, ls=(0, (1.2, 1.2)), label="recorded, mean", zorder=4)
        if sure:
            low, high = (_one(bound, one).mean(axis=0) for bound in intervals[level])
            axes.fill_between(
                steps, low, high, color=PREDICTED, alpha=0.18, lw=0, label=f"{level:.0%} interval of a run"
            )
        if observed is not None:
            axes.plot(
                steps, _one(observed, one)[0], color=RECORDED, ls="", marker="o", ms=3, label="observed", zorder=5
            )
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, lw=0.6)
    main = panels[0][0]
    main.set_xlabel("training step")
    main.set_ylabel(f"{metric.name} ({'higher' if metric.higher_is_better else 'lower'} is better)")
    _add_legend(main, [axes for axes, _, _ in panels])
    figure.suptitle(drawn_text(title), fontsize=10)
    return figure


def _panels(figure: "Figure", shown: Sequence[tuple[str, int, str]]) -> list[tuple["Axes", str, int | None]]:
    """Axes, title and test example (None for the mean) of each panel: the mean on the left, the others in up to two rows."""
    rows = 2 if len(shown) > 2 else 1
    columns = -(-len(shown) // rows)
    grid = figure.add_gridspec(rows, 2 + columns)
    panels: list[tuple[Axes, str, int | None]] = [(figure.add_subplot(grid[:, :2]), "mean over test examples", None)]
    for number, (name, place, word) in enumerate(shown):
        axes = figure.add_subplot(grid[number // columns, 2 + number % columns])
        panels.append((axes, f"{_short(name)} ({word})", place))
    return panels


def _add_legend(main: "Axes", panels: Sequence["Axes"]) -> None:
    """One legend in ``main`` of what any panel draws; where several draw the same, as the first does."""
    handles = {
        label: handle for axes in panels[::-1] for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    main.legend(handles.values(), handles.keys(), fontsize=8, frameon=False)


def _draw(
    axes: "Axes",
    steps: Int[np.ndarray, " recorded"],
    curves: Float[np.ndarray, "run recorded"],
    reference: Float[np.ndarray, " recorded"],
    against: str,
    *,
    spread: bool,
) -> None:
    axes.plot(steps, reference, color=REFERENCE, lw=1.8, ls=(0, (5, 1.5)), label=drawn_text(against), zorder=2)
    mean = curves.mean(axis=0)
    if spread and len(curves) > 1:
        around = curves.std(axis=0, ddof=1)
        label = f"spread over {len(curves)} curricula (1 s.d.)"
        axes.fill_between(steps, mean - around, mean + around, color=PREDICTED, alpha=0.22, lw=0, label=label)
    axes.plot(steps, mean, color=PREDICTED, lw=1.8, label="simulated", zorder=3)


def _one(values: Trajectories, place: int | None) -> Float[np.ndarray, "run recorded"]:
    """The trajectories of one test example, or of the mean over all."""
    return np.asarray(values.mean(axis=2) if place is None else values[:, :, place])


def _short(text: str, width: int = 24) -> str:
    return drawn_text(text if len(text) <= width else text[: width - 1] + "…")
