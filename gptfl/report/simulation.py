"""Draws what a simulation predicts against the average recorded run."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int
from rich import box
from rich.table import Table
from rich.text import Text

from gptfl.core import MetricInfo
from gptfl.core.excerpts import excerpts
from gptfl.core.texts import json_text, shown_line, written_id
from gptfl.errors import harmless
from gptfl.report.cells import NumberScale
from gptfl.report.pictures import new_figure
from gptfl.simulation.outcome import Simulation

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

    ``shown`` has their names, places and what to say of them (helped or hurt). Bands are the estimator's own 90 %
    interval of a single run (bounds are means over curricula) for test examples where it gives some, else the
    standard deviation over curricula; ``observed`` are scores that the prediction went on from.
    """
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(11, 4.6)
    rows = 2 if len(shown) > 2 else 1
    columns = -(-len(shown) // rows)
    grid = figure.add_gridspec(rows, 2 + columns)
    panels: list[tuple[Axes, str, int | None]] = [(figure.add_subplot(grid[:, :2]), "mean over test examples", None)]
    for number, (name, place, word) in enumerate(shown):
        axes = figure.add_subplot(grid[number // columns, 2 + number % columns])
        panels.append((axes, f"{_short(name)} ({word})", place))
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
    handles = {
        label: handle
        for axes, _, _ in panels[::-1]
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    main.legend(handles.values(), handles.keys(), fontsize=8, frameon=False)
    figure.suptitle(_plain(title), fontsize=10)
    return figure


def figure_of_simulation(result: Simulation) -> "Figure":
    """``simulation_figure`` of a simulation, with the test examples that are helped and hurt most."""
    shown = [
        (change.id, result.tests.index(change.id), word)
        for word, changes in (("helped", result.helped), ("hurt", result.hurt))
        for change in changes[:2]
    ]
    return simulation_figure(
        steps=result.steps,
        values=result.values,
        # Of what is 0 or 1 the prediction is the probability, and bounds would say it again more roughly.
        intervals={} if result.binary else result.prediction.intervals,
        reference=result.reference.values,
        recorded=result.request.recorded,
        shown=shown,
        title=f"{result.estimator}: {result.request.what}",
        against=result.reference.what,
        metric=result.metric,
        observed=result.request.query.observed,
    )


def _draw(
    axes: "Axes",
    steps: Int[np.ndarray, " recorded"],
    curves: Float[np.ndarray, "run recorded"],
    reference: Float[np.ndarray, " recorded"],
    against: str,
    *,
    spread: bool,
) -> None:
    axes.plot(steps, reference, color=REFERENCE, lw=1.8, ls=(0, (5, 1.5)), label=_plain(against), zorder=2)
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
    return _plain(text if len(text) <= width else text[: width - 1] + "…")


def _plain(text: str) -> str:
    # A dollar sign would start mathematics.
    return harmless(text).replace("$", r"\$")


def headline(result: Simulation) -> str:
    """A simulation in a line: what was asked, and where it would end beside what it is held against."""
    return (
        f"{result.what} by {result.estimator}: {result.metric.name} {result.mean_final:.4g} at step {result.steps[-1]}, "
        f"{result.mean_change:+.4g} from {result.reference.what} ({direction(result)})"
    )


def simulation_table(result: Simulation) -> Table:
    """The test examples that are helped and hurt most: predicted, recorded where it is known, and against what."""
    held_out = result.recorded is not None
    scale = NumberScale.of(result.reference.final)
    marks = dict(zip(result.tests, result.marks, strict=True)) if result.marks else {}
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("test example")
    level, bounds = _bounds(result, scale)
    headings = (
        f"P({result.metric.name} = 1)" if result.binary else f"predicted {result.metric.name}",
        *((f"{level:.0%} interval",) if bounds else ()),
        *(("recorded",) if held_out else ()),
        "against",
        "change",
    )
    for heading in headings:
        table.add_column(heading, justify="right")
    pieces = dict(zip(result.tests, excerpts(result.examples), strict=False))
    shown = any(pieces.values())
    if shown:  # where the terminal is narrow, the text alone gives way
        table.add_column("text", overflow="fold")
    for title, changes in (("helped most", result.helped), ("hurt most", result.hurt)):
        if changes:
            table.add_row(f"[bold]{title}[/bold]", *("" for _ in headings), *([""] if shown else []))
        for change in changes:
            truth = () if change.recorded is None else (_shown(change.recorded, scale),)
            span = (bounds[change.id],) if bounds else ()
            ends = (scale.number(change.predicted), *span, *truth, scale.number(change.reference))
            numbers = (*ends, scale.number(change.change, "+.3g"))
            mark = f" ({marks[change.id]})" if marks.get(change.id) else ""
            texts = [Text(pieces[change.id])] if shown else []
            table.add_row(Text(f"  {written_id(change.id)}{mark}"), *numbers, *texts)
    return table


def _bounds(result: Simulation, scale: NumberScale) -> tuple[float, dict[str, str]]:
    """The level shown, and each test example's interval; nothing where the estimator gives none or tells probabilities."""
    if not result.intervals or result.binary:
        return 0.0, {}
    level = LEVEL if LEVEL in result.intervals else max(result.intervals)
    rows = zip(result.tests, *result.intervals[level], strict=True)
    return level, {id: scale.span(low, high) for id, low, high in rows}


def _shown(recorded: float, scale: NumberScale) -> str:
    """A recorded value; a new test example has none."""
    return "–" if math.isnan(recorded) else scale.number(recorded)


def direction(result: Simulation) -> str:
    """Whether the mean change is for the better."""
    if result.mean_change == 0 or math.isnan(result.mean_change):
        return "no change"
    return "better" if (result.mean_change > 0) == result.metric.higher_is_better else "worse"


def to_dict(result: Simulation) -> dict[str, Any]:
    """All numbers but the trajectories, for programs."""
    truths = [math.nan] * len(result.tests) if result.recorded is None else result.recorded
    marks = result.marks or ("",) * len(result.tests)
    texts = [shown_line(example.text) for example in result.examples] or [""] * len(result.tests)
    rows = zip(result.tests, result.final, truths, result.change, result.spread, marks, strict=True)
    return {
        "estimator": result.estimator,
        "metric": result.metric.name,
        "higher_is_better": result.metric.higher_is_better,
        "binary": result.binary,
        "what": result.what,
        "against": result.reference.what,
        "against_step": result.reference.step,
        "curricula": len(result.labels),
        "step": int(result.steps[-1]),
        "predicted": _number(result.mean_final),
        "recorded": None if result.mean_recorded is None else _number(result.mean_recorded),
        "reference": _number(result.mean_reference),
        "change": _number(result.mean_change),
        "spread": _number(result.mean_spread),
        "skill": result.skill,
        "novelty": None if result.novelty is None else [float(one) for one in result.novelty],
        "test": [
            {
                "id": id,
                "predicted": _number(final),
                "recorded": _number(truth),
                "change": _number(change),
                "spread": _number(spread),
                "fitted": mark or "seen",
                **({"text": texts[place]} if texts[place] else {}),
                "intervals": {
                    f"{level:g}": [float(low[place]), float(high[place])]
                    for level, (low, high) in result.intervals.items()
                },
            }
            for place, (id, final, truth, change, spread, mark) in enumerate(rows)
        ],
        "groups": {
            group.name: {"count": group.count, "mse": _number(group.mse), "rho": _number(group.rho)}
            for group in result.groups
        },
        "predictions": None if result.predictions is None else str(result.predictions),
        "picture": None if result.figure is None else str(result.figure),
    }


def _number(value: float) -> float | None:
    """A number as JSON has it: None where there is none."""
    return None if math.isnan(value) else float(value)


def to_json(result: Simulation) -> str:
    """``to_dict`` as text."""
    return json_text(to_dict(result), indent=2) + "\n"
