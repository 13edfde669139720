"""A page of one result alone: its section of the page of ``gptfl report``, made by the same template and scripts."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import singledispatch
from pathlib import Path
from typing import Any

import numpy as np

from gptfl.core import Example, MetricInfo
from gptfl.core.texts import counted, written_id
from gptfl.errors import GptflError, UsageError
from gptfl.evaluation.verification import Verification
from gptfl.influence.frontier import Frontier
from gptfl.influence.mixture import MixtureSelection
from gptfl.influence.ranking import Ranking, RankResult
from gptfl.report import display
from gptfl.report.calibration import percent
from gptfl.report.frontier import frontier_words
from gptfl.report.groups import group_table
from gptfl.report.kept import kept_line
from gptfl.report.mixture import better_words
from gptfl.report.page.content import LEVEL, HeldOutRuns, PageParts
from gptfl.report.page.render import write_page
from gptfl.report.page.tables import plain_table
from gptfl.report.pictures import DPI, any_script
from gptfl.report.ranking import detection_table, rich_table
from gptfl.report.ranking_rows import shown
from gptfl.report.removals import removal_table
from gptfl.report.simulation import change_text, direction, simulation_table
from gptfl.report.verdicts import verdict_line
from gptfl.report.verification import paired_pairs, verification_table
from gptfl.scores.comparison import Comparison
from gptfl.simulation.outcome import Simulation
from gptfl.store.outputs import check_plain_target

SUFFIXES = (".html", ".htm")
MOST_ROWS = 1000
"""A page has so many rows of a ranking, unless told otherwise."""
NOTHING = MetricInfo("", higher_is_better=True)
TITLES = {
    "Frontier": "Two sides",
    "MixtureSelection": "Mixture",
    "RelabelStudy": "Relabelling",
    "RunsSweep": "Learning curve",
    "SelectionStudy": "Selecting, trained",
    "SubsetSimulations": "Subsets",
}
"""What results are called that have no section of their own; others by their class."""


def check_page(path: Path, flag: str) -> None:
    """Raise ``UsageError`` or ``DataError`` unless a page can be written there."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{flag} {path} is not an .html file", "end it in .html")
    check_plain_target(path, flag)


def write_section(
    result: object,
    path: Path,
    command: str,
    top: int | None = None,
    reverse: bool = False,
    only: str | None = None,
) -> None:
    """Write the page of a result alone.

    Args:
        result: of any function whose results have tables.
        path: of the page.
        command: what made it, which the page says.
        top: of a ranking, how many rows; None for ``MOST_ROWS``.
        reverse: of a ranking, whether the lowest influence comes first.
        only: of a ranking, the verdict of the rows to show; None for all.

    Raises ``UsageError`` for what has no tables, ``ResourceError`` where the page can't be written.
    """
    if isinstance(result, RankResult):
        parts = ranking_parts(result, top or MOST_ROWS, reverse, only)
    else:
        parts = section_of(result)
    write_page(replace(parts, command=command), path)


@singledispatch
def section_of(result: object) -> PageParts:
    """What the page of a result holds: its tables, and its picture where it has one."""
    tables = display.tables_of(result)
    known: Any = result
    name = TITLES.get(type(result).__name__, type(result).__name__)
    recording = getattr(known, "recording", getattr(known, "estimator", name))
    parts = _parts(str(recording), getattr(known, "metric", NOTHING), name, known)
    titles = [str(table.title) if table.title is not None else name for table in tables]
    made = [plain_table(table, title) for table, title in zip(tables, titles, strict=True)]
    return replace(parts, pairs=_words(result), tables=made, pictures=_pictures(result, name))


def _words(result: object) -> list[tuple[str, str]]:
    """What is said of a choice between two sides, or of shares."""
    if isinstance(result, Frontier):
        sides = [("gain", result.subject), ("retained", result.kept)]
        return [*sides, ("verdict", frontier_words(result))]
    if isinstance(result, MixtureSelection):
        known = {"predicted": result.predicted, "with the pool's shares": result.predicted_usual}
        means = [(name, f"{value:.4g} ({result.metric.name} at step {result.step})") for name, value in known.items()]
        return [*means, ("verdict", better_words(result))]
    return []


@section_of.register(Comparison)
def _(result: Comparison) -> PageParts:
    table = removal_table(result)
    more = [] if table is None else [plain_table(table, "What leaving groups out changes")]
    parts = _parts(result.recording, result.metric, "Comparison", result)
    told = [row for row in result.rows if row.coverage and not row.error and "mse" in row.scores]
    if not told:
        return replace(parts, comparison=result, tables=more)
    best = min(told, key=lambda row: row.scores["mse"].value)
    words = f"{best.estimator}: of those with intervals the one of the least MSE; the calibration is its"
    return replace(parts, estimator=best.name, comparison=result, tables=more, pairs=[("highlighted", words)])


@section_of.register(Simulation)
def _(result: Simulation) -> PageParts:
    last = int(result.steps[-1])
    pairs = {
        "predicted": f"{result.mean_final:.4g}, mean of {counted(len(result.tests), 'test example')} at step {last}",
        "against": f"{result.mean_reference:.4g}, {result.reference.what}",
        "change": f"{change_text(result)} ({direction(result)})",
        "curricula": result.what,
        "trust": result.trust,
    }
    if result.mean_recorded is not None and np.isfinite(result.mean_recorded):
        pairs["recorded"] = f"{result.mean_recorded:.4g}"
    parts = _parts(result.dynamics.name, result.metric, "Simulation", result)
    examples = result.examples or _named(result.tests)
    bounds = None if result.binary else result.prediction.intervals.get(LEVEL)
    held = HeldOutRuns(
        result.labels,
        result.steps,
        result.values,
        result.request.recorded,
        np.broadcast_to(result.reference.values, result.values.shape[1:]),
        bounds,
        title="predicted",
        against=result.reference.what,
    )
    table = plain_table(simulation_table(result), "Test examples that move most, at the last step")
    return replace(
        parts,
        estimator=result.estimator,
        tests=tuple(examples),
        pairs=list(pairs.items()),
        tables=[table],
        held_out=held,
        runs_title="Trajectories",
    )


@section_of.register(Verification)
def _(result: Verification) -> PageParts:
    predicted, recorded, reference = ("–" if mean is None else f"{mean:.4g}" for mean in result.means())
    pairs = {
        "trained on": result.what,
        "predicted": f"{predicted}, mean of {counted(len(result.tests), 'test example')} at step {result.steps[result.last]}",
        "recorded": recorded,
        "average run": reference,
        **({} if result.paired is None else paired_pairs(result.paired)),
        "MSE": f"{result.mse:.3g}, over all steps after the first",
        "final ρ": f"{result.rho:.3f}, across test examples",
    }
    if result.skill is not None:
        pairs["skill"] = f"{result.skill:.2f} (0: as good as the average run, 1: perfect)"
    for level, one in result.coverage.items():
        pairs[f"inside {percent(level)}"] = f"{percent(one.share)} of {one.points} recorded points"
    parts = _parts(result.recording, result.metric, "Verification", result)
    held = HeldOutRuns(
        result.labels,
        result.steps,
        result.predicted,
        result.recorded,
        result.reference,
        None if result.binary else result.intervals.get(LEVEL),
    )
    table = plain_table(verification_table(result), "Test examples, at the last step")
    return replace(
        parts,
        estimator=result.estimator,
        tests=_named(result.tests),
        pairs=list(pairs.items()),
        tables=[table],
        held_out=held,
        runs_title="Trajectories",
    )


@section_of.register(RankResult)
def _(result: RankResult) -> PageParts:
    return ranking_parts(result, MOST_ROWS, False, None)


def ranking_parts(result: RankResult, top: int, reverse: bool, only: str | None) -> PageParts:
    """What the page of a ranking holds: a table for each simulator, whose rows open their texts.

    Args:
        result: of ``gptfl.rank``.
        top: how many rows of each.
        reverse: whether the lowest influence comes first.
        only: the verdict of the rows to show; None for any.
    """
    places = dict.fromkeys(place for one in result.rankings for _, place in shown(one, top, reverse, only))
    pool = tuple(result.pool[place] for place in places)
    known = {written_id(example.id): place for place, example in enumerate(pool)}
    tables, words = [], []
    for one in result.rankings:
        title = f"Influence on {result.subject}, by {one.label} (--how {one.how})"
        if result.signs is not None:
            title = f"The most suspicious rows first, by {one.label}"
        made, about = _ranking_table(result, one, title, (top, reverse, only), known)
        tables.append(made)
        words += about
    if result.flipped is not None:
        tables.append(
            plain_table(detection_table(result.detections), "How early checking in this order finds flipped labels")
        )
    parts = _parts(result.recording, result.metric, "Ranking", result)
    pairs = [("training examples", str(len(result.pool))), *words]
    return replace(parts, pool=pool, pairs=pairs, tables=tables)


def _ranking_table(
    result: RankResult, one: Ranking, title: str, which: tuple[int, bool, str | None], known: Mapping[str, int]
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    top, reverse, only = which
    words = [(one.label, one.meaning)] if one.meaning else []
    if one.groups is not None:
        words.append(("groups", one.groups.meaning))
        return plain_table(group_table(one.groups, top, reverse, only), title), words
    if one.verdicts is not None:
        words.append(("verdicts", verdict_line(one.verdicts)))
    if one.kept is not None:
        words.append(("retained", f"{one.kept.subject}. {kept_line(one)}"))
    return plain_table(rich_table(result, one, top, reverse, only), title, known), words


def _parts(name: str, metric: MetricInfo, title: str, result: Any) -> PageParts:
    """The frame of a page: its name and notes, and two tabs."""
    # A comparison's stand under its table.
    notes = () if isinstance(result, Comparison) else getattr(result, "notes", ())
    facts = {"recording": name, "metric": metric.name}
    simulator = getattr(result, "simulator", None)
    if isinstance(simulator, Path):
        facts["simulator"] = simulator.name
    return PageParts(
        name=name,
        facts={label: value for label, value in facts.items() if value},
        metric=metric,
        pool=(),
        tests=(),
        tabs={"trust": title, "about": "About"},
        trust_title=title,
        notes=list(notes),
    )


def _named(ids: Sequence[str]) -> tuple[Example, ...]:
    """Examples of which no text is known."""
    return tuple(Example(id, "", "") for id in ids)


def _pictures(result: object, name: str) -> list[dict[str, str]]:
    """The picture of a result, within the page; none where it has none."""
    try:
        figure = display.figure_of(result)
    except GptflError:
        return []
    data = io.BytesIO()
    with any_script():
        figure.savefig(data, dpi=DPI, format="png", metadata={})
    source = f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"
    return [{"source": source, "words": f"{name}, as its table has it"}]
