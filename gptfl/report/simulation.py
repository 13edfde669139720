"""What a simulation predicts against the average recorded run, as a picture, a table and numbers."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from gptfl.core.excerpts import excerpts
from gptfl.core.texts import json_text, shown_line, written_id
from gptfl.influence.two_sides import OPEN
from gptfl.report.number_scale import NumberScale
from gptfl.report.pictures import save_figure
from gptfl.report.plain import with_plain
from gptfl.report.simulation_plot import LEVEL, simulation_figure
from gptfl.simulation.outcome import Simulation

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure_of_simulation(result: Simulation) -> "Figure":
    """``simulation_figure`` of a simulation, with the test examples that are helped and hurt most."""
    return simulation_figure(**figure_arguments(result))


def figure_arguments(result: Simulation) -> dict[str, Any]:
    """What ``simulation_figure`` draws of a simulation, by parameter."""
    shown = [
        (change.id, result.tests.index(change.id), word)
        for word, changes in (("helped", result.helped), ("hurt", result.hurt))
        for change in changes[:2]
    ]
    return {
        "steps": result.steps,
        "values": result.values,
        # Of what is 0 or 1 the prediction is the probability, and bounds would say it again more roughly.
        "intervals": {} if result.binary else result.prediction.intervals,
        "reference": result.reference.values,
        "recorded": result.request.recorded,
        "shown": shown,
        "title": f"{result.estimator}: {result.request.what}",
        "against": result.reference.what,
        "metric": result.metric,
        "observed": result.request.query.observed,
    }


def draw_simulation(result: Simulation, path: Path) -> None:
    """Write the picture of a simulation. Raises as ``save_figure`` does."""
    save_figure(figure_of_simulation(result), path)


def headline(result: Simulation) -> str:
    """A simulation in a line: what was asked, and where it would end beside what it is held against."""
    return (
        f"{result.what} by {result.estimator}: {result.metric.name} {result.mean_final:.4g} at step {result.steps[-1]}, "
        f"{change_text(result)} from {result.reference.what} ({direction(result)})"
    )


def change_text(result: Simulation) -> str:
    """The change of the mean, and its interval where there is one: ``-0.05 [-0.09, -0.01]``."""
    if not result.change_intervals:
        return f"{result.mean_change:+.4g}"
    low, high = _change_interval(result)
    return f"{result.mean_change:+.3g} [{low:+.3g}, {high:+.3g}]"


def _change_interval(result: Simulation) -> tuple[float, float]:
    known = result.change_intervals
    return known[LEVEL if LEVEL in known else max(known)]


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
    """Whether the mean change is for the better, where its interval doesn't leave that open."""
    if result.mean_change == 0 or math.isnan(result.mean_change):
        return "no change"
    said = "better" if (result.mean_change > 0) == result.metric.higher_is_better else "worse"
    if not result.change_intervals:
        return f"{said}; no interval says how surely"
    low, high = _change_interval(result)
    return f"{OPEN}: the interval holds 0" if low <= 0.0 <= high else said


def to_dict(result: Simulation) -> dict[str, Any]:
    """All numbers but the trajectories, for programs."""
    truths = [math.nan] * len(result.tests) if result.recorded is None else result.recorded
    marks = result.marks or ("",) * len(result.tests)
    texts = [shown_line(example.text) for example in result.examples] or [""] * len(result.tests)
    rows = zip(result.tests, result.final, truths, result.change, result.spread, marks, strict=True)
    document = {
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
        "change_intervals": {f"{level:g}": list(bounds) for level, bounds in result.change_intervals.items()},
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
    return with_plain(result, document)


def _number(value: float) -> float | None:
    """A number as JSON has it: None where there is none."""
    return None if math.isnan(value) else float(value)


def to_json(result: Simulation) -> str:
    """``to_dict`` as text."""
    return json_text(to_dict(result), indent=2) + "\n"
