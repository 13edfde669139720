"""Gathers what a page of a recording and its simulator holds: for the file of ``gptfl report``, and for ``gptfl serve``."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Int

from gptfl.core import Dynamics, Progress
from gptfl.core.linear_form import LinearForm
from gptfl.core.splits import stored_split, usable_runs
from gptfl.errors import DataError, GptflError
from gptfl.evaluation.compare import compare_held_out
from gptfl.influence.cleaning import signs_of
from gptfl.influence.matrix import influence_matrix
from gptfl.influence.near_duplicates import near_duplicates
from gptfl.influence.rank import InfluenceRequest, rankings_of
from gptfl.influence.suspects import suspects_by
from gptfl.influence.targets import CLOSED_FORM, MEAN, influence_target
from gptfl.options.base import make
from gptfl.options.common import InputOptions
from gptfl.options.evaluation import CompareOptions
from gptfl.options.report import PageOptions
from gptfl.plugins.optional import TellsInfluence
from gptfl.recording.recording import OpenedRecording, choose_metric, open_recording
from gptfl.report.page.content import LEVEL, HeldOutRuns, PageParts, RemoteForm, shown_path
from gptfl.report.verification import SAID, read_verification
from gptfl.scores.comparison import Comparison
from gptfl.simulation.counterfactual import held_out_request
from gptfl.simulation.forms import SummedForm, linear_form_of, summed_form_of
from gptfl.simulation.reference import against_average, average_at, trust_of
from gptfl.simulation.simulator import FittedSimulator, open_fitted
from gptfl.store.id_files import ExampleIndex

T = TypeVar("T")
ENOUGH_HELD_OUT = 6
"""With fewer held-out runs than this, the comparison of a page is over folds."""
FOLDS = 5
ORDERS = 4
"""In so many orders influence is simulated where it isn't told directly."""
SUBSETS = 12
"""So many saved subsets, the latest, are offered."""
PageForm = tuple[LinearForm | SummedForm | RemoteForm | None, str]
"""What answers about subsets, and what to know of it."""
OpenedForPage = tuple[OpenedRecording, FittedSimulator | None, tuple[str, ...]]
"""The recording, its simulator where there is one, and notes on them."""


@dataclass(frozen=True, slots=True)
class GatheredPage:
    """The parts of a page, and what isn't there with the command that makes it."""

    parts: PageParts
    missing: tuple[tuple[str, str], ...]


def gathered(
    options: PageOptions,
    opened: OpenedForPage,
    progress: Progress,
    form_of: Callable[[FittedSimulator], PageForm] | None = None,
) -> GatheredPage:
    """All that there is of a recording to show.

    Args:
        options: what to leave out.
        opened: the recording and its simulator.
        progress: called along the way.
        form_of: what answers about subsets in the page, by the simulator; None for arrays that the page holds.

    Raises ``DataError`` where files don't belong together.
    """
    recording, source, notes = opened
    metric, _ = choose_metric(recording.dynamics, options.metric)
    dynamics = recording.dynamics
    parts = PageParts(
        name=recording.path.name,
        facts=_facts(recording),
        metric=metric,
        pool=dynamics.pool,
        tests=dynamics.test,
        duplicates=near_duplicates(dynamics.pool),
        subsets=_saved_subsets(recording),
        verifications=_verifications(recording, dynamics, metric.name),
        commands=_commands(source),
    )
    missing: list[tuple[str, str]] = []
    if source is None:
        parts = replace(parts, form_note="There is no simulator yet: gptfl featurize, then gptfl fit.")
        missing.append(("what-if answers, influences and suspects", "gptfl featurize && gptfl fit"))
    else:
        make_form = form_of or (lambda known: _form(known, options.seed, progress))
        parts, more = _with_simulator(parts, source, options, make_form(source), progress)
        notes += more
    parts, lacking = _with_comparison(parts, recording, options, progress)
    missing += lacking
    if not parts.verifications and source is not None:
        missing.append(("a prediction held against a training", "gptfl verify --subset subset.txt"))
    parts = replace(parts, missing=missing, notes=list(dict.fromkeys((*recording.notes, *notes))))
    return GatheredPage(parts, tuple(missing))


def opened_for_page(options: PageOptions) -> OpenedForPage:
    """The recording, and its simulator where there is one. Raises ``DataError`` where one that was named isn't there."""
    inputs = options.inputs
    try:
        source = open_fitted(
            inputs.simulator, inputs.dynamics, inputs.workspace, options.estimator, options.metric, inputs.features
        )
    except DataError as error:
        if inputs.simulator is not None or options.estimator is not None:
            raise
        recording = open_recording(inputs.dynamics, inputs.workspace)
        if recording.workspace.candidates("simulator", recording.stem):
            raise
        return recording, None, (error.problem,)
    return source.recording, source, source.notes


def _with_simulator(
    parts: PageParts, source: FittedSimulator, options: PageOptions, made: PageForm, progress: Progress
) -> tuple[PageParts, tuple[str, ...]]:
    """The parts that a simulator gives, and notes on those that it can't."""
    features = options.inputs.features
    form, form_note = made
    summed = form if isinstance(form, SummedForm) else None
    matrix, matrix_note = _tried(lambda: influence_matrix(source, features, summed, progress))
    request = _request(source, options)
    rankings, ranking_note = _tried(lambda: rankings_of([source], request, progress)[0])
    signs, sign_note = _tried(lambda: signs_of(source, request, progress)[0])
    held_out, held_note = _tried(lambda: _held_out(source))
    average = None
    if form is not None:
        steps = form.recipe.steps if isinstance(form, LinearForm) else form.steps
        average = average_at(source, steps)
    parts = replace(
        parts,
        estimator=source.found.estimator,
        metric=source.metric,
        form=form,
        form_note=form_note,
        average=average,
        ranking=None if rankings is None else rankings[0],
        matrix=matrix,
        matrix_note=matrix_note,
        signs=signs,
        suspects=suspects_by(signs or {}),
        held_out=held_out,
        trust=_sentence(trust_of(source).text),
    )
    return parts, tuple(note for note in (ranking_note, sign_note, held_note) if note)


def _form(source: FittedSimulator, seed: int, progress: Progress) -> PageForm:
    """What answers in the page, and what to know of it."""
    linear, why = _tried(lambda: linear_form_of(source))
    if linear is not None:
        return linear, ""
    summed, problem = _tried(lambda: summed_form_of(source, seed, progress))
    if summed is None:
        return None, f"No what-if answers: {why}; {problem}."
    return summed, (
        f"{why[:1].upper()}{why[1:]}. Numbers here are what leaving out each example alone changes of the whole pool, added "
        "up: what several do together may be another thing. gptfl simulate answers exactly."
    )


def _tried(make_: Callable[[], T]) -> tuple[T | None, str]:
    """A part of the page, or why it can't be made: a page without it is still worth having."""
    try:
        return make_(), ""
    except DataError as error:
        return None, error.problem


def _request(source: FittedSimulator, options: PageOptions) -> InfluenceRequest:
    """Influence on the mean of the test examples, held as the switches are: others take the steps of a row left out."""
    subject = influence_target(MEAN, source.recording.dynamics)
    how = CLOSED_FORM if isinstance(source.named.estimator, TellsInfluence) else None
    return InfluenceRequest(subject, how, None, options.inputs.features, ORDERS, options.seed)


def _held_out(source: FittedSimulator) -> HeldOutRuns:
    """What it predicts for the runs that it wasn't fitted to. Raises ``DataError`` where there is none."""
    request = held_out_request(source)
    prediction = source.predict(request.query)
    assert request.recorded is not None
    return HeldOutRuns(
        request.labels,
        request.query.steps,
        prediction.values,
        request.recorded,
        against_average(source, request).values,
        prediction.intervals.get(LEVEL),
    )


def _with_comparison(
    parts: PageParts, recording: OpenedRecording, options: PageOptions, progress: Progress
) -> tuple[PageParts, list[tuple[str, str]]]:
    """The comparison with the naive rows; where there is none, the command that makes it."""
    if options.no_comparison:
        return parts, [("the comparison with naive rows", "gptfl report without --no-comparison, or gptfl compare")]
    folds = options.folds
    usable, _ = usable_runs(recording.dynamics.runs, parts.metric)
    if (
        folds is None
        and len(usable_runs(stored_split(recording.dynamics.runs).test, parts.metric)[0]) < ENOUGH_HELD_OUT
    ):
        folds = min(FOLDS, len(usable)) if len(usable) > 2 else None
    named = () if parts.estimator is None else (parts.estimator,)
    compare_options = make(
        CompareOptions,
        InputOptions(features=options.inputs.features),
        estimators=named,
        folds=folds,
        metric=parts.metric.name,
        seed=options.seed,
    )
    try:
        comparison: Comparison = compare_held_out(recording, compare_options, progress)
    except DataError as error:
        return replace(parts, notes=(*parts.notes, error.problem)), [
            ("the comparison with naive rows", "gptfl compare")
        ]
    trust = parts.trust
    if trust and comparison.folds is not None:
        trust += (
            f" In the table {parts.estimator} is fitted anew without each of {comparison.folds} folds, and has a skill of its "
            f"own: the one that gptfl compare --folds {comparison.folds} tells. Other folds tell another (gptfl report --folds K)."
        )
    return replace(parts, comparison=comparison, trust=trust), []


def _commands(source: FittedSimulator | None) -> dict[str, str]:
    """What to type with a subset that was saved from the page."""
    named = "" if source is None else f"--simulator {shlex.quote(shown_path(source.path))} "
    return {
        "simulate": f"gptfl simulate {named}--subset subset.txt --every-order",
        "verify": f"gptfl verify {named}--subset subset.txt",
        "verify_drop": f"gptfl verify {named}--drop drop.txt",
    }


def _saved_subsets(recording: OpenedRecording) -> dict[str, Int[np.ndarray, " subset"]]:
    """The subsets that gptfl select saved in the workspace, the latest first; what can't be read is none."""
    pool = ExampleIndex(recording.dynamics.pool)
    found: dict[str, Int[np.ndarray, " subset"]] = {}
    for path in _latest(recording.workspace.root, "*.txt")[:SUBSETS]:
        try:
            found[path.stem] = pool.select(path, "--subset")
        except GptflError:
            continue
    return found


def _verifications(recording: OpenedRecording, dynamics: Dynamics, metric: str) -> list[Mapping[str, Any]]:
    """What earlier ``gptfl verify`` of this recording came to, the latest first."""
    found: list[Mapping[str, Any]] = []
    for path in _latest(recording.workspace.root, "*.verified.json"):
        known = read_verification(path)
        if known is not None and known["recording"] == recording.path.name and known["metric"] == metric:
            found.append({"title": f"Verified: {known['what']}", "words": _verified(known)})
    return found


def _latest(root: Path, pattern: str) -> list[Path]:
    """The plain files of a folder that match, the latest first: neither links that lead nowhere, nor pipes that wait."""
    files = [path for path in root.glob(pattern) if path.is_file()]
    return sorted(files, key=lambda one: (-one.stat().st_mtime_ns, one.name))


def _verified(known: Mapping[str, Any]) -> str:
    changes = [known[name] - known["reference"] for name in ("predicted", "recorded")]
    paired = known["paired"]
    said = (
        ""
        if paired is None
        else (
            f" Against {paired['against']}, in pairs of the same orders: predicted {paired['predicted_change']:+.3g}, recorded "
            f"{paired['change']:+.3g} ({SAID[paired['verdict']]})."
        )
    )
    return (
        f"{known['estimator']} predicted a mean {known['metric']} of {known['predicted']:.4g} ({changes[0]:+.3g} from the average "
        f"recorded run), and the training gave {known['recorded']:.4g} ({changes[1]:+.3g}).{said}"
    )


def _facts(recording: OpenedRecording) -> dict[str, str]:
    """How the recording was made, in the words of its options."""
    dynamics, settings = recording.dynamics, recording.dynamics.settings
    steps = sorted({run.curriculum.steps for run in dynamics.runs})
    found = {
        "recording": str(recording.path),
        "task": settings.task,
        "model": settings.model,
        "runs": str(len(dynamics.runs)),
        "steps": " to ".join(str(one) for one in dict.fromkeys((steps[0], steps[-1]))) if steps else "",
        "batch size": settings.batch_size,
        "design": settings.design,
        "learning rate": settings.learning_rate,
        "schedule": settings.schedule,
        "training examples": str(len(dynamics.pool)),
        "test examples": str(len(dynamics.test)),
        "metrics": ", ".join(dynamics.metrics),
    }
    return {name: str(value) for name, value in found.items() if value not in (None, "")}


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""
