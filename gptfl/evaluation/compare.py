"""Holds every estimator against the same held-out runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gptfl.core import Features, Progress, silent
from gptfl.core.curriculum import check_seed
from gptfl.core.splits import Split
from gptfl.errors import UsageError
from gptfl.evaluation.held_out import HeldOutEvaluation, folds_for
from gptfl.evaluation.order_noise import ceiling_of, device_note
from gptfl.evaluation.specs import ComparedEstimator, choose_estimators
from gptfl.features.lookup import FeatureLookup, choice_notes
from gptfl.plugins.registry import get_registry
from gptfl.recording.recording import OpenedRecording, choose_metric, focused
from gptfl.scores.comparison import FEWEST_CLEAR, Comparison, HeldOut, score_rows
from gptfl.scores.pointwise import squared_errors
from gptfl.simulation.caveats import binary_note
from gptfl.simulation.unseen import hold_out_examples, holdout_notes

LONE = 2 / 3
"""A run that makes more than this share of mean-run's squared error is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonSpec:
    """What is compared, and how: the options of ``gptfl.compare`` of the same names."""

    features: str | Path | None = None
    estimators: Sequence[str] | None = None
    encoder: str | None = None
    metric: str | None = None
    folds: int | None = None
    settings: Mapping[str, Mapping[str, Any]] | None = field(default=None)
    calibrate: bool = False
    cost: bool = False
    unseen: str | None = None
    unseen_share: float | None = None
    observe: int | None = None
    against_estimator: str | None = None
    seed: int = 42

    def check(self) -> None:
        """Raise ``UsageError`` for values that make no sense by themselves."""
        check_seed(self.seed)
        if self.observe is not None and self.observe < 1:
            raise UsageError(
                f"is {self.observe}", "give how many recorded scores to tell, or leave it out", option="observe"
            )


def compare_held_out(recording: OpenedRecording, spec: ComparisonSpec, progress: Progress = silent) -> Comparison:
    """Fit every estimator to the same runs and score what it predicts for the held-out ones; writes no table.

    Raises ``UsageError`` and ``DataError`` as ``gptfl.compare`` does.
    """
    spec.check()
    observed = spec.observe or 0
    recording = replace(
        recording, aside=hold_out_examples(recording.dynamics, spec.unseen, spec.unseen_share, spec.seed)
    )
    chosen, metric_notes = choose_metric(recording.dynamics, spec.metric)
    recording = focused(recording, chosen)
    shelf = FeatureLookup(recording, spec.features, spec.encoder)
    entries, left_out = choose_estimators(
        get_registry(), shelf, chosen, spec.estimators, spec.settings, calibrate=spec.calibrate
    )
    labels = [entry.label for entry in entries]
    if spec.against_estimator is not None and spec.against_estimator not in labels:
        raise UsageError(
            f"--against-estimator {spec.against_estimator!r} is not compared",
            f"name one of the rows: {', '.join(labels)}",
        )
    folds, fold_notes = folds_for(recording.dynamics, recording.aside, spec.folds)
    job = HeldOutEvaluation(get_registry(), recording, chosen, spec.seed, progress, cost=spec.cost, observed=observed)
    splits, run_notes = job.divide(folds)
    _check_observed(observed, splits)
    job.hold_out(splits)
    job.fits = len(job.splits) * len(entries)
    outcomes = [job.outcome(entry) for entry in entries]
    held_out = job.held_out()
    # Who is told how a run began knows something of its order, too.
    ceiling = None if spec.observe else ceiling_of(job.all_runs(), chosen, held_out, spec.seed)
    return Comparison(
        recording=recording.path.name,
        metric=chosen,
        rows=score_rows(held_out, outcomes, spec.seed, spec.against_estimator, ceiling),
        held_out=held_out,
        predicted={o.estimator: o.predicted for o in outcomes if o.predicted is not None},
        fit_runs=len(splits[0].fit),
        validation_runs=len(splits[0].validation),
        folds=folds,
        seed=spec.seed,
        left_out=left_out,
        notes=(
            *recording.notes,
            *metric_notes,
            *choice_notes({entry.label: entry.provision for entry in entries}),
            *_aside_notes(recording, entries),
            *fold_notes,
            *run_notes,
            *_lone_note(held_out),
            *dict.fromkeys(job.notes),
            *device_note(job.all_runs(), chosen),
            *binary_note(recording.dynamics, chosen),
        ),
        unseen=None if recording.aside is None else recording.aside.to_json(recording.dynamics),
        observed=observed,
        ceiling=ceiling,
    )


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


def _aside_notes(recording: OpenedRecording, entries: Sequence[ComparedEstimator]) -> tuple[str, ...]:
    """What is set aside, and what of it any of the features may know."""
    by_encoder: dict[str | None, Features | None] = {None: None}
    by_encoder |= {entry.provision.encoder: entry.provision.features for entry in entries}
    told = (holdout_notes(recording.dynamics, recording.aside, features) for features in by_encoder.values())
    return tuple(dict.fromkeys(note for notes in told for note in notes))


def _check_observed(observed: int, splits: Sequence[Split]) -> None:
    """Raise ``UsageError`` where no held-out run has a score after those observed."""
    most = max((len(run.steps) - 1 for split in splits for run in split.test), default=0)
    if observed and observed >= most:
        remedy = f"give at most {most - 1}" if most > 1 else "leave it out"
        raise UsageError(
            f"--observe {observed}: no held-out run has more than {most} recorded scores after its first", remedy
        )
