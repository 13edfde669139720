"""How each kind of result is drawn, tabulated, shown in a notebook and saved."""

import io
from functools import singledispatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from gptfl.core import user_path
from gptfl.errors import UsageError
from gptfl.evaluation.verification import Verification
from gptfl.influence.ranking import RankResult
from gptfl.influence.selection import Selection
from gptfl.report import comparison as comparisons
from gptfl.report import learning_curve, ranking, relabel, selection, selection_study, simulation, verification
from gptfl.report import sweep as sweeps
from gptfl.report.comparison_plot import comparison_figure
from gptfl.report.pictures import SUFFIXES, save_figure
from gptfl.scores.comparison import Comparison
from gptfl.scores.sweep import RunsSweep, Sweep
from gptfl.simulation.many import SubsetSimulations
from gptfl.simulation.outcome import Simulation
from gptfl.store.outputs import check_plain_target, written_whole
from gptfl.studies.results import RelabelStudy, SelectionStudy

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

WIDTH = 110
"""Columns of a table in a notebook."""


@singledispatch
def figure_of(result: object) -> "Figure":
    """The figure of a result. Raises ``UsageError`` for what has none."""
    raise UsageError(f"a {type(result).__name__} has no picture", "take to_frame(), or gptfl.save")


@singledispatch
def frame_of(result: object) -> "pd.DataFrame":
    """The numbers of a result, a row each. Raises ``UsageError`` for what makes no table."""
    raise UsageError(f"a {type(result).__name__} makes no table of numbers", "take its fields, or gptfl.save")


@singledispatch
def tables_of(result: object) -> list[Table]:
    """The tables that a terminal or a notebook shows."""
    raise UsageError(f"a {type(result).__name__} can't be shown", "take its fields")


@singledispatch
def texts_of(result: object) -> dict[str, str]:
    """What a result is as text, by the suffix of the file that it may be saved in."""
    raise UsageError(f"a {type(result).__name__} can't be saved", "take its fields")


def html_of(result: object) -> str:
    """The tables of a result for a notebook."""
    console = Console(record=True, file=io.StringIO(), width=WIDTH, force_jupyter=False)
    for table in tables_of(result):
        console.print(table)
    code = '<pre style="font-family:monospace;line-height:1.2">{code}</pre>'
    return console.export_html(inline_styles=True, code_format=code)


def save(result: object, path: str | Path) -> Path:
    """Write the numbers of a result: as .json, as .csv where they make a table, and by some as .tex or .txt.

    Raises ``UsageError`` for a suffix that the result isn't written as, ``DataError`` where the file is there and of
    another kind, ``ResourceError`` where it can't be written.
    """
    target = user_path(path)
    texts = texts_of(result)
    suffix = target.suffix.lower()
    if suffix not in texts:
        raise UsageError(
            f"{target}: a {type(result).__name__} is not saved as {suffix or 'a file without suffix'}",
            f"end it in {', '.join(texts)}",
        )
    check_plain_target(target, "path")
    with written_whole(target) as aside:
        aside.write_text(texts[suffix], encoding="utf-8")
    return target


def plot(result: object, path: str | Path) -> Path:
    """Write the picture of a result: .png, .svg or .pdf. Raises as ``save`` does."""
    target = user_path(path)
    if target.suffix.lower() in SUFFIXES:
        check_plain_target(target, "path")
    save_figure(figure_of(result), target)
    return target


def _csv(result: object) -> str:
    return str(frame_of(result).to_csv(index=False))


def _frame(rows: list[dict[str, Any]]) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(rows)


@figure_of.register(Simulation)
def _(result: Simulation) -> "Figure":
    return simulation.figure_of_simulation(result)


@frame_of.register(Simulation)
def _(result: Simulation) -> "pd.DataFrame":
    """A row for each curriculum, step and test example: value, bounds by level, reference, recorded."""
    import pandas as pd

    runs, steps, tests = result.values.shape

    def spread(values: np.ndarray) -> np.ndarray:
        return np.broadcast_to(values, (runs, steps, tests)).ravel()

    columns: dict[str, Any] = {
        "curriculum": np.repeat(np.array(result.labels, dtype=object), steps * tests),
        "step": np.tile(np.repeat(result.steps, tests), runs),
        "test": np.tile(np.array(result.tests, dtype=object), runs * steps),
        "value": result.values.astype(np.float64).ravel(),
        "reference": spread(result.reference.values),
    }
    if result.asked.recorded is not None:
        columns["recorded"] = spread(result.asked.recorded)
    for level, (low, high) in sorted(result.prediction.intervals.items()):
        columns |= {f"low_{level:g}": spread(low), f"high_{level:g}": spread(high)}
    return pd.DataFrame(columns)


@tables_of.register(Simulation)
def _(result: Simulation) -> list[Table]:
    return [simulation.simulation_table(result)]


@texts_of.register(Simulation)
def _(result: Simulation) -> dict[str, str]:
    return {".json": simulation.to_json(result), ".csv": _csv(result)}


@frame_of.register(SubsetSimulations)
def _(result: SubsetSimulations) -> "pd.DataFrame":
    """A row for each subset and test example: the last value, the change, bounds by level."""
    import pandas as pd

    subsets, tests = result.final.shape
    columns: dict[str, Any] = {
        "subset": np.repeat(np.arange(subsets), tests),
        "test": np.tile(np.array(result.tests, dtype=object), subsets),
        "step": int(result.steps[-1]),
        "value": result.final.ravel(),
        "change": result.change.ravel(),
    }
    for level, (low, high) in sorted(result.intervals.items()):
        columns |= {f"low_{level:g}": low.ravel(), f"high_{level:g}": high.ravel()}
    return pd.DataFrame(columns)


@tables_of.register(SubsetSimulations)
def _(result: SubsetSimulations) -> list[Table]:
    table = Table(title=f"{len(result.final)} subsets by {result.estimator}: mean {result.metric.name}")
    for heading in ("subset", "examples", "predicted", "change"):
        table.add_column(heading, justify="right")
    means, changes = result.final.mean(axis=1), result.change.mean(axis=1)
    for place in result.order[:10]:
        table.add_row(str(place), str(result.sizes[place]), f"{means[place]:.4g}", f"{changes[place]:+.3g}")
    return [table]


@texts_of.register(SubsetSimulations)
def _(result: SubsetSimulations) -> dict[str, str]:
    return {".csv": _csv(result)}


@figure_of.register(Comparison)
def _(result: Comparison) -> "Figure":
    return comparison_figure(result)


@frame_of.register(Comparison)
def _(result: Comparison) -> "pd.DataFrame":
    return _frame(
        [
            {
                "estimator": row.estimator,
                **{name: value.value for name, value in row.scores.items()},
                "seconds": row.seconds,
                "error": row.error,
            }
            for row in result.rows
        ]
    )


@tables_of.register(Comparison)
def _(result: Comparison) -> list[Table]:
    return [comparisons.rich_table(result)]


@texts_of.register(Comparison)
def _(result: Comparison) -> dict[str, str]:
    return {
        ".json": comparisons.to_json(result),
        ".csv": comparisons.to_csv(result),
        ".tex": comparisons.to_latex(result),
    }


@figure_of.register(RankResult)
def _(result: RankResult) -> "Figure":
    if result.flipped is None:
        raise UsageError(
            "a ranking of a recording without flipped labels has no picture", "record with flip_labels, or to_frame()"
        )
    title = f"{result.recording}: influence on {result.subject}"
    flips = int(result.flipped.sum())
    return ranking.detection_figure(result.detections, flips, len(result.flipped), title)


@frame_of.register(RankResult)
def _(result: RankResult) -> "pd.DataFrame":
    """A row for each simulator and training example."""
    rows = []
    for one in result.rankings:
        ranks = {place: rank for rank, place in enumerate(one.order, 1)}
        for place, example in enumerate(result.pool):
            row = {
                "simulator": one.label,
                "id": example.id,
                "rank": ranks[place],
                "influence": float(one.influence[place]),
            }
            if one.low is not None and one.high is not None:
                row |= {"low": float(one.low[place]), "high": float(one.high[place])}
            rows.append(row)
    return _frame(rows)


@tables_of.register(RankResult)
def _(result: RankResult) -> list[Table]:
    return [ranking.rich_table(result, one, 10, False) for one in result.rankings]


@texts_of.register(RankResult)
def _(result: RankResult) -> dict[str, str]:
    return {".json": ranking.to_json(result), ".csv": ranking.to_csv(result)}


@frame_of.register(Selection)
def _(result: Selection) -> "pd.DataFrame":
    low = [None] * len(result.ids) if result.low is None else result.low.tolist()
    high = [None] * len(result.ids) if result.high is None else result.high.tolist()
    rows = zip(result.ids, result.influence.tolist(), low, high, strict=True)
    return _frame([{"id": id, "influence": value, "low": a, "high": b} for id, value, a, b in rows])


@tables_of.register(Selection)
def _(result: Selection) -> list[Table]:
    return [selection.selection_table(result, 10)]


@texts_of.register(Selection)
def _(result: Selection) -> dict[str, str]:
    return {".txt": selection.ids_text(result), ".json": selection.to_json(result), ".csv": _csv(result)}


@figure_of.register(Verification)
def _(result: Verification) -> "Figure":
    return verification.verification_figure(result)


@frame_of.register(Verification)
def _(result: Verification) -> "pd.DataFrame":
    """A row for each training, step and test example."""
    import pandas as pd

    runs, steps, tests = result.predicted.shape
    return pd.DataFrame(
        {
            "curriculum": np.repeat(np.array(result.labels, dtype=object), steps * tests),
            "step": np.tile(np.repeat(result.steps, tests), runs),
            "test": np.tile(np.array(result.tests, dtype=object), runs * steps),
            "predicted": result.predicted.ravel(),
            "recorded": result.recorded.ravel(),
            "reference": np.broadcast_to(result.reference, result.predicted.shape).ravel(),
        }
    )


@tables_of.register(Verification)
def _(result: Verification) -> list[Table]:
    return [verification.verification_table(result)]


@texts_of.register(Verification)
def _(result: Verification) -> dict[str, str]:
    return {".json": verification.to_json(result), ".csv": _csv(result)}


@figure_of.register(Sweep)
def _(result: Sweep) -> "Figure":
    return sweeps.sweep_figure(result)


@frame_of.register(Sweep)
def _(result: Sweep) -> "pd.DataFrame":
    return _frame(sweeps.records(result))


@tables_of.register(Sweep)
def _(result: Sweep) -> list[Table]:
    return [sweeps.sweep_table(result)]


@texts_of.register(Sweep)
def _(result: Sweep) -> dict[str, str]:
    return {".json": sweeps.sweep_json(result), ".csv": sweeps.sweep_csv(result)}


@figure_of.register(RunsSweep)
def _(result: RunsSweep) -> "Figure":
    return learning_curve.runs_sweep_figure(result)


@frame_of.register(RunsSweep)
def _(result: RunsSweep) -> "pd.DataFrame":
    return _frame(learning_curve.runs_records(result))


@tables_of.register(RunsSweep)
def _(result: RunsSweep) -> list[Table]:
    return [learning_curve.runs_table(result)]


@texts_of.register(RunsSweep)
def _(result: RunsSweep) -> dict[str, str]:
    return {".json": learning_curve.runs_json(result), ".csv": learning_curve.runs_csv(result)}


@figure_of.register(RelabelStudy)
def _(result: RelabelStudy) -> "Figure":
    return relabel.study_figure(result)


@tables_of.register(RelabelStudy)
def _(result: RelabelStudy) -> list[Table]:
    return [relabel.study_table(result, metric) for metric in result.values]


@texts_of.register(RelabelStudy)
def _(result: RelabelStudy) -> dict[str, str]:
    return {".json": relabel.to_json(result)}


@figure_of.register(SelectionStudy)
def _(result: SelectionStudy) -> "Figure":
    return selection_study.selection_study_figure(result)


@tables_of.register(SelectionStudy)
def _(result: SelectionStudy) -> list[Table]:
    return [selection_study.selection_study_table(result, metric) for metric in result.metrics]


@texts_of.register(SelectionStudy)
def _(result: SelectionStudy) -> dict[str, str]:
    return {".json": selection_study.to_json(result)}
