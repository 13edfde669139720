"""How many recorded runs it takes: the same held-out runs, predicted after fits to few and to many others."""

from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np

from gptfl.api.writing import check_targets, written
from gptfl.core import FIT, REPEAT, TEST, VALIDATION, Progress, Run, silent
from gptfl.core.splits import FEWEST_FIT_RUNS, MORE_RUNS, Split, units_of, usable_runs
from gptfl.core.texts import MOST_DIGITS
from gptfl.designs.draws import together_in
from gptfl.errors import DataError, UsageError
from gptfl.evaluation.held_out import HeldOutEvaluation
from gptfl.evaluation.order_noise import ceiling_of
from gptfl.evaluation.specs import ALWAYS, ComparedEstimator, choose_estimators
from gptfl.features.lookup import FeatureLookup, choice_notes
from gptfl.options.base import make
from gptfl.options.defaults import FEW_RUNS, PAPER
from gptfl.options.evaluation import LearningCurveOptions
from gptfl.options.signature import takes
from gptfl.plugins.registry import Registry
from gptfl.plugins.settings import read_settings_by_part
from gptfl.recording.recording import OpenedRecording, choose_metric, focused, open_recording
from gptfl.report.learning_curve import draw_runs_sweep, write_runs_sweep
from gptfl.report.sweep import check_sweep_format
from gptfl.scores.comparison import score_rows
from gptfl.scores.sweep import RunsPoint, RunsSweep, averaged

RUNS = "runs"
"""The axis of ``compare --sweep`` that is a learning curve."""
COMPARED = (FEW_RUNS, PAPER)
"""The estimators compared unless others are named."""
VALIDATES = 5
"""Of every 12 runs of a group this place validates, as in folds."""


@takes(LearningCurveOptions)
def learning_curve(counts: Sequence[Any], *groups: object, progress: Progress = silent, **options: Any) -> RunsSweep:
    """Fit estimators to the first n recorded runs, for each n of ``counts``, and predict the same held-out runs.

    The runs held out are the recording's test runs or, with ``held_out``, so many of its last; repeats never. Of the
    others the first n in order of index are fitted to, and with ``draws`` up to so many disjoint groups of n one after
    another, whose scores are averaged. One run in 12 of a group validates, as in ``compare`` over folds; all n
    count. Skill is against the mean of all runs that may be fitted to, at every n.

    Args:
        counts: how many runs to fit to.
        groups: options in groups, such as ``gptfl.options.common.InputOptions(workspace="study")``.
        progress: called along the way.
        options: those of ``gptfl learning-curve`` (docs/cli.md) by name; ``settings`` and ``figure`` are as in
            ``compare``.

    Raises ``TypeError`` for a name that is no option, ``UsageError`` for numbers that make no sense and ``DataError``
    where there are too few runs, before any work.
    """
    return learning_curve_with(make(LearningCurveOptions, *groups, counts=counts, **options), progress=progress)


def learning_curve_with(options: LearningCurveOptions, *, progress: Progress = silent) -> RunsSweep:
    """``learning_curve`` with all options in one object."""
    inputs, held_out, draws, seed = options.inputs, options.held_out, options.draws, options.seed
    counts, settings = _counts(options.counts), read_settings_by_part(options.settings)
    check_targets(options.output, options.figure, check_sweep_format)
    recording = open_recording(inputs.dynamics, inputs.workspace, options.every, options.keep_diverged)
    chosen, metric_notes = choose_metric(recording.dynamics, options.metric)
    recording = focused(recording, chosen)
    lookup = FeatureLookup(recording, inputs.features, options.encoder)
    entries, _ = choose_estimators(lookup, chosen, options.estimators or COMPARED, settings)
    job = HeldOutEvaluation(recording, chosen, seed, progress)
    usable, run_notes = usable_runs(recording.dynamics.runs, chosen)
    rest, tests = _parted(usable, held_out, together_in(recording.dynamics.settings))
    groups = {count: groups_of(rest, count, draws) for count in counts}
    job.hold_out([Split(0, tuple(rest), (), tuple(tests))])
    job.fits = sum(map(len, groups.values())) * len(entries)
    held = job.held_out()
    points = []
    for count, parts in groups.items():
        found = []
        for number, part in enumerate(parts, start=1):
            split = replace(_split(part), test=job.splits[0].test)
            note = f"{count} runs" + (f", group {number} of {len(parts)}" if len(parts) > 1 else "")
            outcomes = [job.outcome(entry, [split], note) for entry in entries]
            found.append(score_rows(held, outcomes, seed))
        points.append(RunsPoint(count, len(parts), tuple(averaged(rows) for rows in zip(*found, strict=True))))
    seconds, beside, cost_notes = _costs(recording, [*rest, *tests], entries)
    result = RunsSweep(
        recording=recording.path.name,
        metric=chosen,
        estimators=tuple(entry.label for entry in entries if entry.label not in ALWAYS),
        held_out=held.names,
        fittable=len(rest),
        points=tuple(points),
        seed=seed,
        run_seconds=seconds,
        beside=beside,
        ceiling=ceiling_of(job.all_runs(), chosen, held, seed),
        notes=(
            *recording.notes,
            *metric_notes,
            *choice_notes({entry.label: entry.feature_choice for entry in entries}),
            *run_notes,
            *dict.fromkeys(job.notes),
            *_group_notes(points, draws),
            *cost_notes,
        ),
    )
    usual = recording.workspace.root / f"{recording.stem}.{result.metric.name}.sweep-{RUNS}.png"
    return written(result, options.output, options.figure, usual, write_runs_sweep, draw_runs_sweep)


def _counts(given: Sequence[Any]) -> list[int]:
    """How many runs to fit to: numbers, or words of them as they are typed. Raises ``UsageError``."""
    words = [word for one in given for word in (one.split(",") if isinstance(one, str) else [one])]
    counts = [
        int(word) if isinstance(word, str) and word.strip().isdecimal() and len(word) <= MOST_DIGITS else word
        for word in words
    ]
    if not counts:
        raise UsageError("nothing says how many runs to fit to", "give for example 2, 3, 5 and 10")
    for count in counts:
        if isinstance(count, bool) or not isinstance(count, Integral) or count < FEWEST_FIT_RUNS:
            raise UsageError(f"{RUNS}={str(count)[:60]}", f"give whole numbers of at least {FEWEST_FIT_RUNS}")
    if len(set(counts)) < len(counts):
        raise UsageError(f"a number of {RUNS} is named twice", "name each once")
    return [int(count) for count in counts]


def _parted(runs: Sequence[Run], held_out: int | None, together: int) -> tuple[list[Run], list[Run]]:
    """The runs that may be fitted to and those held out, each in order of index. Raises ``DataError``."""
    ordered = sorted((run for run in runs if run.role != REPEAT), key=lambda run: run.index)
    if held_out is None:
        rest = [run for run in ordered if run.role in (FIT, VALIDATION)]
        tests = [run for run in ordered if run.role == TEST]
        if not tests:
            raise DataError("no usable run of the recording is a test run", f"give --held-out N, or {MORE_RUNS}")
        return rest, tests
    if held_out % together:
        raise UsageError(f"--held-out {held_out} parts runs that belong together", f"give a multiple of {together}")
    if held_out > len(ordered) - FEWEST_FIT_RUNS:
        raise UsageError(
            f"--held-out {held_out} of {len(ordered)} usable runs leaves fewer than {FEWEST_FIT_RUNS} to fit",
            f"give at most {max(0, len(ordered) - FEWEST_FIT_RUNS)}, or {MORE_RUNS}",
        )
    units = units_of(ordered, together)
    if set(units[:-held_out]) & set(units[-held_out:]):
        offers = [n for n in range(1, len(ordered) - FEWEST_FIT_RUNS + 1) if not set(units[:-n]) & set(units[-n:])]
        near = min(offers, key=lambda n: abs(n - held_out), default=None)
        raise UsageError(
            f"--held-out {held_out} parts runs that belong together (on the same examples, or pairs)",
            "leave it out, for the recording's test runs" if near is None else f"give --held-out {near}",
        )
    return ordered[:-held_out], ordered[-held_out:]


def groups_of(runs: Sequence[Run], count: int, draws: int) -> list[list[Run]]:
    """Up to ``draws`` disjoint groups of ``count`` runs, one after another; ``UsageError`` where there are too few runs."""
    if count > len(runs):
        raise UsageError(
            f"{RUNS}={count}: only {len(runs)} runs may be fitted to",
            f"give at most {len(runs)}, or {MORE_RUNS}",
        )
    return [list(runs[start * count : (start + 1) * count]) for start in range(min(draws, len(runs) // count))]


def _split(group: Sequence[Run]) -> Split:
    """A group's runs to fit and to validate; the test runs are those of all groups."""
    validation = tuple(run for place, run in enumerate(group) if place % 12 == VALIDATES)
    return Split(0, tuple(run for place, run in enumerate(group) if place % 12 != VALIDATES), validation, ())


def _group_notes(points: Sequence[RunsPoint], draws: int) -> tuple[str, ...]:
    if draws == 1:
        return ("each point is fitted to the first runs alone; --draws K averages over up to K groups of runs",)
    counts = ", ".join(f"{point.groups} of {point.runs}" for point in points)
    return (f"groups of runs that were fitted to and averaged over: {counts}",)


def _costs(
    recording: OpenedRecording, runs: Sequence[Run], entries: Sequence[ComparedEstimator]
) -> tuple[float | None, dict[str, float], tuple[str, ...]]:
    """The mean seconds of a run, those that each row's features took, and what of it isn't known."""
    known = [run.seconds for run in runs if run.seconds is not None]
    if not known:
        return None, {}, (f"{recording.path.name} doesn't tell how long its runs took: no panel over the cost",)
    beside = {
        entry.label: entry.feature_choice.features.seconds
        for entry in entries
        if entry.feature_choice.features is not None and entry.feature_choice.features.seconds is not None
    }
    exact = recording.dynamics.gradients is not None
    silent_rows = [
        entry.label for entry in entries if _is_unpriced(entry, recording.registry, entry.label in beside, exact)
    ]
    if not silent_rows:
        return float(np.mean(known)), beside, ()
    note = f"what the gradients of {', '.join(silent_rows)} took isn't known: the cost is without them"
    return float(np.mean(known)), beside, (note,)


def _is_unpriced(entry: ComparedEstimator, registry: Registry, priced: bool, exact: bool) -> bool:
    """Whether an estimator works from gradients of which nobody knows what they took.

    ``priced`` says that what its features took is known, ``exact`` that the recording has gradient products, whose
    seconds aren't kept.
    """
    features = entry.feature_choice.features
    vectors = features is not None and any(one.kind == "gradient" for one in features.sets.values())
    estimator = registry.make("estimator", entry.name, **entry.settings)
    # Who takes products without requiring them takes them beside gradient vectors alone.
    products = "gradients" in (estimator.tags.uses if vectors else estimator.tags.requires)
    return (vectors and not priced) or (exact and products)
