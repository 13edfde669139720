"""Holds every estimator against the same held-out runs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gptfl.core import Features, Progress, silent, user_path
from gptfl.core.curriculum import check_seed
from gptfl.core.splits import Split
from gptfl.errors import UsageError
from gptfl.evaluation.held_out import HeldOutEvaluation, folds_for
from gptfl.evaluation.order_noise import ceiling_of, device_note
from gptfl.evaluation.specs import ComparedEstimator, choose_estimators
from gptfl.features.lookup import FeatureLookup, choice_notes
from gptfl.plugins.registry import get_registry
from gptfl.recording.recording import OpenedRecording, choose_metric, focused, open_recording
from gptfl.report.comparison import check_format, write_table
from gptfl.report.comparison_plot import check_picture, draw_comparison
from gptfl.scores.comparison import FEWEST_CLEAR, Comparison, HeldOut, score_rows
from gptfl.scores.pointwise import squared_errors
from gptfl.simulation.caveats import binary_note
from gptfl.simulation.unseen import hold_out_examples, holdout_notes
from gptfl.store.outputs import ResultWriter, check_plain_target

LONE = 2 / 3
"""A run that makes more than this share of mean-run's squared error is named."""


def compare(
    *,
    dynamics: str | Path | None = None,
    features: str | Path | None = None,
    workspace: str | Path | None = None,
    estimators: Sequence[str] | None = None,
    encoder: str | None = None,
    metric: str | None = None,
    folds: int | None = None,
    every: int = 1,
    keep_diverged: bool = False,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    calibrate: bool = False,
    cost: bool = False,
    unseen: str | None = None,
    unseen_share: float | None = None,
    observe: int | None = None,
    against_estimator: str | None = None,
    seed: int = 42,
    output: str | Path | None = None,
    figure: str | Path | bool = True,
    progress: Progress = silent,
) -> Comparison:
    """Fit every estimator to the same runs and score what it predicts for the held-out ones.

    ``estimators`` are names, or with settings ``NAME:SETTING=VALUE,...``, so that one can take part several
    times; by default all that are registered and find what they need. Persistence,
    mean-run and, where there are classes, class-share are always among them. ``features`` is a file and ``encoder`` a
    name that hold for all of them; ``NAME@ENCODER`` says it of one. Without either, each gets the features of the
    encoder that it prefers, else those made last. ``folds`` refits that
    many times and tests every run once; without it the roles stored in the recording hold.
    With ``every`` only every so many-th recorded score is learned from, predicted and scored. Runs that diverged take
    no part, and are named, unless ``keep_diverged``.
    ``settings`` maps an estimator's name to settings for each of its rows; a row's label tells those that aren't
    at their default. ``calibrate`` sets that setting in every estimator that has one so named. With ``cost``
    each answer is timed (``stages.cost``). With ``unseen`` (train, test or both) nothing is learned from
    ``unseen_share`` of these examples; where test examples are set aside, they alone are scored. With ``observe``
    the estimators are told that many recorded scores of each held-out run after its first; these count in no score.
    Squared errors are held against those of the row ``against_estimator``, by default the least. ``output`` is a
    .json, .csv or .tex file for the table; ``figure`` a .png, True for the default place in the workspace, or
    False for none. Fits whose inputs and settings match are taken from the workspace.

    An estimator that fails, or that can't answer about unseen examples, is a row with the reason. Raises ``DataError`` where no run is held
    out or too few are left to fit, where a named estimator lacks what it needs, or where ``output``
    or ``figure`` would overwrite a file of another type.
    """
    if output is not None:
        check_format(Path(output))
        check_plain_target(user_path(output), "--output")
    if not isinstance(figure, bool):
        check_picture(Path(figure))
        check_plain_target(user_path(figure), "--figure")
    check_seed(seed)
    if observe is not None and observe < 1:
        raise UsageError(f"--observe is {observe}", "give how many recorded scores to tell, or leave it out")
    observed = observe or 0
    recording = open_recording(dynamics, workspace, every, keep_diverged)
    recording = replace(recording, aside=hold_out_examples(recording.dynamics, unseen, unseen_share, seed))
    chosen, metric_notes = choose_metric(recording.dynamics, metric)
    recording = focused(recording, chosen)
    shelf = FeatureLookup(recording, features, encoder)
    entries, left_out = choose_estimators(get_registry(), shelf, chosen, estimators, settings, calibrate=calibrate)
    labels = [entry.label for entry in entries]
    if against_estimator is not None and against_estimator not in labels:
        raise UsageError(
            f"--against-estimator {against_estimator!r} is not compared", f"name one of the rows: {', '.join(labels)}"
        )
    folds, fold_notes = folds_for(recording.dynamics, recording.aside, folds)
    job = HeldOutEvaluation(get_registry(), recording, chosen, seed, progress, cost=cost, observed=observed)
    splits, run_notes = job.divide(folds)
    _check_observed(observed, splits)
    job.hold_out(splits)
    job.fits = len(job.splits) * len(entries)
    outcomes = [job.outcome(entry) for entry in entries]
    held_out = job.held_out()
    # Who is told how a run began knows something of its order, too.
    ceiling = None if observe else ceiling_of(job.all_runs(), chosen, held_out, seed)
    comparison = Comparison(
        recording=recording.path.name,
        metric=chosen,
        rows=score_rows(held_out, outcomes, seed, against_estimator, ceiling),
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
    return _write(comparison, recording, output, figure)


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


def _write(
    comparison: Comparison, recording: OpenedRecording, output: str | Path | None, figure: str | Path | bool
) -> Comparison:
    default = recording.workspace.root / f"{recording.stem}.{comparison.metric.name}.comparison.png"
    table = None if output is None else user_path(output)
    picture = None if figure is False else default if figure is True else user_path(figure)
    keeping = ResultWriter(replace(comparison, output=table, figure=picture))
    if picture is not None:
        keeping.draw("figure", lambda known: draw_comparison(known, picture), asked=figure is not True)
    if table is not None:
        keeping.write("output", lambda known: write_table(known, table))
    return keeping.settled()
