"""Holds every estimator against the same held-out runs."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from gptfl.core import Dynamics, Features, MetricInfo, Progress, silent
from gptfl.core.splits import Split
from gptfl.errors import UsageError
from gptfl.estimators.baselines import Persistence
from gptfl.evaluation.held_out import HeldOutEvaluation, folds_for
from gptfl.evaluation.order_noise import ceiling_of, device_note
from gptfl.evaluation.specs import ComparedEstimator, choose_estimators
from gptfl.evaluation.truth import open_truth
from gptfl.features.lookup import FeatureLookup, FeaturesRead, choice_notes
from gptfl.options.evaluation import CompareOptions
from gptfl.plugins.settings import read_settings_by_part
from gptfl.recording.movement import LOSS, movement_of
from gptfl.recording.recording import OpenedRecording, choose_metric, focused, open_recording
from gptfl.scores.comparison import FEWEST_CLEAR, Comparison, Predictions, score_rows
from gptfl.scores.held_out import HeldOut
from gptfl.scores.pointwise import squared_errors
from gptfl.simulation.caveats import binary_note
from gptfl.simulation.unseen import hold_out_examples, holdout_notes

LONE = 2 / 3
"""A run that makes more than this share of mean-run's squared error is named."""


def compare_held_out(
    recording: OpenedRecording, options: CompareOptions, progress: Progress = silent, read: FeaturesRead | None = None
) -> Comparison:
    """The table of all estimators, each fitted to the same runs and scored on the held-out ones; nothing is written.

    Args:
        recording: the runs.
        options: which estimators, runs and examples; those of files are not looked at.
        progress: called along the way.
        read: features that were read before; several comparisons of one recording may share them.

    Raises ``UsageError`` and ``DataError`` as ``gptfl.compare`` does.
    """
    settings = read_settings_by_part(options.settings)
    observed, against, seed = options.observe or 0, options.against_estimator, options.seed
    unseen, share = options.learning.unseen, options.learning.unseen_share
    recording = replace(recording, held_out=hold_out_examples(recording.dynamics, unseen, share, seed))
    chosen, metric_notes = choose_metric(recording.dynamics, options.metric)
    recording = focused(recording, chosen)
    lookup = FeatureLookup(recording, options.inputs.features, options.encoder, {} if read is None else read)
    entries, left_out = choose_estimators(lookup, chosen, options.estimators, settings, calibrate=options.calibrate)
    _check_against(against, [entry.label for entry in entries])
    truth = None if options.truth is None else _truth(options, recording, chosen)
    folds, fold_notes = (None, ()) if truth else folds_for(recording.dynamics, recording.held_out, options.folds)
    job = HeldOutEvaluation(recording, chosen, seed, progress, cost=options.cost, observed=observed, truth=truth)
    splits, run_notes = job.divide(folds)
    _check_observed(observed, splits)
    job.hold_out(splits)
    job.fits = len(job.splits) * len(entries)
    outcomes = [job.outcome(entry) for entry in entries]
    held_out = job.held_out()
    # Who is told how a run began knows something of its order, too.
    ceiling = None if observed else ceiling_of(job.all_runs(), chosen, held_out, seed)
    return Comparison(
        recording=recording.path.name,
        metric=chosen,
        rows=score_rows(held_out, outcomes, seed, against, ceiling),
        held_out=held_out,
        predicted={o.estimator: o.predicted for o in outcomes if o.predicted is not None},
        fit_runs=len(splits[0].fit),
        validation_runs=len(splits[0].validation),
        folds=folds,
        seed=seed,
        left_out=left_out,
        notes=(
            *recording.notes,
            *metric_notes,
            *(() if truth is None else (f"held out: all runs of {truth.path}", *truth.notes)),
            *choice_notes({entry.label: entry.feature_choice for entry in entries}),
            *_holdout_notes(recording, entries),
            *fold_notes,
            *run_notes,
            *_run_notes(job, held_out),
            *still_note(outcomes, splits),
        ),
        unseen=None if recording.held_out is None else recording.held_out.to_json(recording.dynamics),
        observed=observed,
        ceiling=ceiling,
    )


def _truth(options: CompareOptions, recording: OpenedRecording, metric: MetricInfo) -> OpenedRecording:
    """The recording that ``--truth`` names. Raises as ``open_truth``, and ``UsageError`` with what divides runs."""
    for flag, given in (("--folds", options.folds), ("--unseen", options.learning.unseen)):
        if given is not None:
            raise UsageError(
                f"{flag} {given} with --truth: all runs of the recording teach, and those of the other are scored",
                "give one of them",
            )
    learning = options.learning
    other = open_recording(options.truth, None, learning.every, learning.keep_diverged)
    return open_truth(other, recording, metric)


def _check_against(against: str | None, labels: Sequence[str]) -> None:
    """Raise ``UsageError`` where the estimator that others are held against is no row of the table."""
    if against is not None and against not in labels:
        raise UsageError(
            f"--against-estimator {against!r} is not compared", f"name one of the rows: {', '.join(labels)}"
        )


def _run_notes(job: HeldOutEvaluation, held_out: HeldOut) -> tuple[str, ...]:
    """What to know of the runs that are compared on."""
    dynamics, metric = job.recording.dynamics, job.metric
    return (
        *_lone_note(held_out),
        *_movement_notes(dynamics, metric),
        *dict.fromkeys(job.notes),
        *device_note(job.all_runs(), metric),
        *binary_note(dynamics, metric),
    )


def still_note(outcomes: Sequence[Predictions], splits: Sequence[Split]) -> tuple[str, ...]:
    """Names the estimators that predict no change of any held-out run, and says why where the runs tell it.

    Args:
        outcomes: what each predicted; persistence is passed over, for that is what it says.
        splits: the runs fitted, and those held out.
    """
    still = [
        one.estimator
        for one in outcomes
        if one.predicted is not None and one.name != Persistence.name and _is_still(one.predicted)
    ]
    if not still:
        return ()
    why = ""
    if not any(_shares_examples(split) for split in splits):
        why = (
            ": no example of a held-out run is in a run that was fitted, and of such examples they know nothing. Runs on more "
            "examples share some (gptfl collect --subset-size)"
        )
    verb = "predicts" if len(still) == 1 else "predict"
    return (f"{', '.join(still)} {verb} that no held-out run changes, as persistence does{why}",)


def _is_still(predicted: Float[np.ndarray, "run recorded test"]) -> bool:
    known = np.isfinite(predicted)
    return bool(np.allclose(np.where(known, predicted, 0.0), np.where(known, predicted[:, :1], 0.0), rtol=1e-6))


def _shares_examples(split: Split) -> bool:
    """Whether a held-out run has an example that a run to fit or to validate has."""
    seen = np.concatenate([run.curriculum.batches.ravel() for run in (*split.fit, *split.validation)])
    asked = np.concatenate([run.curriculum.batches.ravel() for run in split.test])
    return bool((np.intersect1d(seen, asked) >= 0).any())


def _movement_notes(dynamics: Dynamics, metric: MetricInfo) -> tuple[str, ...]:
    """What to know where the runs hardly moved the loss that is compared."""
    movement = movement_of(dynamics.runs) if metric.name == LOSS else None
    return () if movement is None else movement.notes


def _lone_note(held_out: HeldOut) -> tuple[str, ...]:
    """Names a run that makes most of mean-run's error: it may not be far enough out to have diverged."""
    errors = squared_errors(held_out.mean_run, held_out.recorded)
    place = int(errors.argmax())
    share = float(errors[place] / errors.sum()) if errors.sum() > 0 else 0.0
    if len(errors) < FEWEST_CLEAR or share <= LONE:
        return ()
    return (
        f"{held_out.names[place]} alone makes {share:.0%} of mean-run's squared error: skill tells of little but that run",
    )


def _holdout_notes(recording: OpenedRecording, entries: Sequence[ComparedEstimator]) -> tuple[str, ...]:
    """What is set aside, and what of it any of the features may know."""
    by_encoder: dict[str | None, Features | None] = {None: None}
    by_encoder |= {entry.feature_choice.encoder: entry.feature_choice.features for entry in entries}
    notes_of_each = (holdout_notes(recording, features) for features in by_encoder.values())
    return tuple(dict.fromkeys(note for notes in notes_of_each for note in notes))


def _check_observed(observed: int, splits: Sequence[Split]) -> None:
    """Raise ``UsageError`` where no held-out run has a score after those observed."""
    most = max((len(run.steps) - 1 for split in splits for run in split.test), default=0)
    if observed and observed >= most:
        remedy = f"give at most {most - 1}" if most > 1 else "leave it out"
        raise UsageError(
            f"--observe {observed}: no held-out run has more than {most} recorded scores after its first", remedy
        )
