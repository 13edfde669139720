"""How each kind of result is drawn, tabulated, shown in a notebook and written as text."""

import io
from collections.abc import Sequence
from functools import singledispatch
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gptfl.core.texts import counted, json_text
from gptfl.errors import UsageError, harmless
from gptfl.evaluation.verification import Verification
from gptfl.influence.frontier import Frontier
from gptfl.influence.mixture import MixtureSelection
from gptfl.influence.ranking import RankResult
from gptfl.influence.selection import Selection
from gptfl.report import comparison as comparisons
from gptfl.report import (
    frontier,
    learning_curve,
    mixture,
    ranking,
    relabel,
    removal_study,
    selection,
    selection_study,
    simulation,
    verification,
)
from gptfl.report import sweep as sweeps
from gptfl.report.comparison_plot import comparison_figure
from gptfl.report.frames import frame_of
from gptfl.report.shown import parts_of
from gptfl.scores.comparison import Comparison
from gptfl.scores.sweep import RunsSweep, Sweep
from gptfl.simulation.many import SubsetSimulations
from gptfl.simulation.outcome import Simulation
from gptfl.studies.results import RelabelStudy, RemovalStudy, SelectionStudy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH, WIDEST = 110, 400
"""Columns of texts, and of the widest table in a notebook."""


@singledispatch
def figure_of(result: object) -> "Figure":
    """The figure of a result. Raises ``UsageError`` for what has none."""
    raise UsageError(f"a {type(result).__name__} has no picture", "take to_frame(), or gptfl.save")


@singledispatch
def tables_of(result: object) -> list[Table]:
    """The tables that a terminal or a notebook shows."""
    raise UsageError(f"a {type(result).__name__} can't be shown", "take its fields")


@singledispatch
def texts_of(result: object) -> dict[str, str]:
    """What a result is as text, by the suffix of the file that it may be saved in."""
    raise UsageError(f"a {type(result).__name__} can't be saved", "take its fields")


def text_of(result: object) -> str:
    """The tables of a result, as ``print`` shows it."""
    return _recorded(result).export_text().rstrip()


def html_of(result: object) -> str:
    """The lines and tables of a result for a notebook. Nothing of a table is broken or cut: where it is wide, it scrolls."""
    # Notebooks break lines of text unless told.
    style = "font-family:monospace;line-height:1.2;white-space:pre;overflow-x:auto"
    code = f'<pre style="{style}">{{code}}</pre>'
    return _recorded(result, WIDEST).export_html(inline_styles=True, code_format=code)


def _recorded(result: object, widest: int = WIDTH) -> Console:
    """All that a result shows, its texts ``WIDTH`` columns wide, its tables as wide as they are up to ``widest``."""
    console = Console(record=True, file=io.StringIO(), width=widest, force_jupyter=False, highlight=False)
    for place, part in enumerate(parts_of(result, tables_of(result))):
        if isinstance(part, str):
            console.print(part, markup=False, width=WIDTH)
        else:
            if place and part.title is not None:
                console.print()
            console.print(part, width=min(widest, max(console.measure(part).maximum, 1)))
    for note in getattr(result, "notes", ()):
        console.print(f"note: {harmless(note)}", markup=False, style="dim", width=WIDTH)
    return console


def _csv(result: object) -> str:
    return str(frame_of(result).to_csv(index=False))


@figure_of.register(Simulation)
def _(result: Simulation) -> "Figure":
    return simulation.figure_of_simulation(result)


@tables_of.register(Simulation)
def _(result: Simulation) -> list[Table]:
    return [simulation.simulation_table(result)]


@texts_of.register(Simulation)
def _(result: Simulation) -> dict[str, str]:
    return {".json": simulation.to_json(result), ".csv": _csv(result)}


def many_table(result: SubsetSimulations, names: Sequence[str], top: int | None = None) -> Table:
    """Where each subset would end, the best first: the mean over test examples, and how far that is from the average run."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False, caption_justify="left")
    table.caption = Text(
        f"by {result.estimator}, at step {result.steps[-1]}, mean of {counted(len(result.tests), 'test example')}"
    )
    table.add_column("subset", overflow="fold")
    for heading in ("examples", f"predicted {result.metric.name}", "change", "novelty"):
        table.add_column(heading, justify="right")
    means, changes = result.final.mean(axis=1), result.change.mean(axis=1)
    for place in result.order[:top]:
        novelty = "" if result.novelty is None else f"{result.novelty[place]:.2f}"
        cells = (str(result.sizes[place]), f"{means[place]:.4g}", f"{changes[place]:+.3g}", novelty)
        table.add_row(Text(harmless(names[place])), *cells)
    return table


def many_to_dict(result: SubsetSimulations, names: Sequence[str]) -> dict[str, Any]:
    """All numbers of the last step, for programs."""
    means, changes = result.final.mean(axis=1), result.change.mean(axis=1)
    return {
        "estimator": result.estimator,
        "metric": result.metric.name,
        "higher_is_better": result.metric.higher_is_better,
        "step": int(result.steps[-1]),
        "tests": list(result.tests),
        "subsets": [
            {
                "subset": name,
                "examples": result.sizes[place],
                "predicted": float(means[place]),
                "change": float(changes[place]),
                "novelty": None if result.novelty is None else float(result.novelty[place]),
                "final": result.final[place].tolist(),
                "intervals": {
                    f"{level:g}": [low[place].tolist(), high[place].tolist()]
                    for level, (low, high) in result.intervals.items()
                },
            }
            for place, name in enumerate(names)
        ],
    }


@tables_of.register(SubsetSimulations)
def _(result: SubsetSimulations) -> list[Table]:
    return [many_table(result, [str(place) for place in range(len(result.final))], 10)]


@texts_of.register(SubsetSimulations)
def _(result: SubsetSimulations) -> dict[str, str]:
    names = [str(place) for place in range(len(result.final))]
    return {".json": json_text(many_to_dict(result, names), indent=2) + "\n", ".csv": _csv(result)}


@figure_of.register(Comparison)
def _(result: Comparison) -> "Figure":
    return comparison_figure(result)


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


@tables_of.register(RankResult)
def _(result: RankResult) -> list[Table]:
    return [ranking.rich_table(result, one, 10, False) for one in result.rankings]


@texts_of.register(RankResult)
def _(result: RankResult) -> dict[str, str]:
    return {".json": ranking.to_json(result), ".csv": ranking.to_csv(result)}


@tables_of.register(Selection)
def _(result: Selection) -> list[Table]:
    return [selection.selection_table(result, 10)]


@texts_of.register(Selection)
def _(result: Selection) -> dict[str, str]:
    return {".txt": selection.ids_text(result), ".json": selection.to_json(result), ".csv": _csv(result)}


@figure_of.register(Frontier)
def _(result: Frontier) -> "Figure":
    return frontier.frontier_figure(result)


@tables_of.register(Frontier)
def _(result: Frontier) -> list[Table]:
    return [frontier.frontier_table(result)]


@texts_of.register(Frontier)
def _(result: Frontier) -> dict[str, str]:
    return {
        ".txt": frontier.frontier_ids_text(result),
        ".json": frontier.frontier_json(result),
        ".csv": frontier.frontier_csv(result),
    }


@figure_of.register(MixtureSelection)
def _(result: MixtureSelection) -> "Figure":
    return mixture.mixture_figure(result)


@tables_of.register(MixtureSelection)
def _(result: MixtureSelection) -> list[Table]:
    return [mixture.mixture_table(result, 10)]


@texts_of.register(MixtureSelection)
def _(result: MixtureSelection) -> dict[str, str]:
    return {
        ".txt": mixture.mixture_ids_text(result),
        ".json": mixture.mixture_json(result),
        ".csv": mixture.mixture_csv(result),
    }


@figure_of.register(Verification)
def _(result: Verification) -> "Figure":
    return verification.verification_figure(result)


@tables_of.register(Verification)
def _(result: Verification) -> list[Table]:
    return [verification.verification_table(result)]


@texts_of.register(Verification)
def _(result: Verification) -> dict[str, str]:
    return {".json": verification.to_json(result), ".csv": _csv(result)}


@figure_of.register(Sweep)
def _(result: Sweep) -> "Figure":
    return sweeps.sweep_figure(result)


@tables_of.register(Sweep)
def _(result: Sweep) -> list[Table]:
    return [sweeps.sweep_table(result)]


@texts_of.register(Sweep)
def _(result: Sweep) -> dict[str, str]:
    return {".json": sweeps.sweep_json(result), ".csv": sweeps.sweep_csv(result)}


@figure_of.register(RunsSweep)
def _(result: RunsSweep) -> "Figure":
    return learning_curve.runs_sweep_figure(result)


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


@figure_of.register(RemovalStudy)
def _(result: RemovalStudy) -> "Figure":
    return removal_study.removal_study_figure(result)


@tables_of.register(RemovalStudy)
def _(result: RemovalStudy) -> list[Table]:
    return [table for one in result.rankings for table in removal_study.removal_study_tables(result, one)]


@texts_of.register(RemovalStudy)
def _(result: RemovalStudy) -> dict[str, str]:
    return {".json": removal_study.to_json(result)}


__all__ = ["figure_of", "frame_of", "html_of", "many_table", "many_to_dict", "tables_of", "text_of", "texts_of"]
