"""Holds every estimator against the same held-out runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from gptfl.builtin.baselines import MeanRun
from gptfl.curricula import check_seed
from gptfl.errors import DataError, PluginError, UsageError
from gptfl.interfaces import Estimator, conditions, is_oracle
from gptfl.records import Features, FitData, MetricInfo, Progress, Run, silent, tasks_of
from gptfl.registry import get_registry
from gptfl.report.comparison import check_format, write_table
from gptfl.report.trajectories import check_picture, draw_comparison
from gptfl.scores.comparison import Comparison, HeldOut, Intervals, Outcome, score_rows
from gptfl.stages.cost import measure_cost
from gptfl.stages.dividing import divided, folds_for
from gptfl.stages.entries import Entry, choose_entries
from gptfl.stages.fitting import Answer, Contender, Fitted, ask_runs, fit_data, fit_or_load, predict_runs
from gptfl.stages.repeats import ceiling_of, device_note
from gptfl.stages.scope import Scope, scope_of
from gptfl.stages.sources import Recording, choose_metric, find_features, focused, open_recording
from gptfl.stages.splits import (
    Split,
    cut_run,
    given_part,
    stacked,
    usable_runs,
)
from gptfl.stages.unseen import aside_notes, kept, refusal, set_aside
from gptfl.stages.withholding import left_note, of_tests, without
from gptfl.store.targets import check_plain_target


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
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    calibrate: bool = False,
    cost: bool = False,
    unseen: str | None = None,
    unseen_share: float | None = None,
    observe: int = 0,
    against_estimator: str | None = None,
    seed: int = 42,
    output: str | Path | None = None,
    figure: str | Path | bool = True,
    progress: Progress = silent,
) -> Comparison:
    """Fit every estimator to the same runs and score what it predicts for the held-out ones.

    ``estimators`` are names, or with settings ``NAME:SETTING=VALUE,...``, so that one can take part several
    times; by default all that are registered and find what they need. Persistence,
    mean-run and, where there are classes, class-share are always among them. ``folds`` refits that
    many times and tests every run once; without it the roles stored in the recording hold.
    With ``every`` only every so many-th recorded score is learned from, predicted and scored.
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
        check_plain_target(Path(output).expanduser(), "--output")
    if not isinstance(figure, bool):
        check_picture(Path(figure))
        check_plain_target(Path(figure).expanduser(), "--figure")
    check_seed(seed)
    if observe < 0:
        raise UsageError(f"--observe is {observe}", "give how many recorded scores to tell, or leave it out")
    recording = open_recording(dynamics, workspace, every)
    recording = replace(recording, aside=set_aside(recording.dynamics, unseen, unseen_share, seed))
    chosen, metric_notes = choose_metric(recording.dynamics, metric)
    recording = focused(recording, chosen)
    found, feature_notes = find_features(recording, features, encoder)
    given = features is not None or encoder is not None
    entries, left_out = choose_entries(
        get_registry(), recording, found, chosen, estimators, settings, calibrate=calibrate
    )
    labels = [entry.label for entry in entries]
    if against_estimator is not None and against_estimator not in labels:
        raise UsageError(
            f"--against-estimator {against_estimator!r} is not compared", f"name one of the rows: {', '.join(labels)}"
        )
    folds, fold_notes = folds_for(recording.dynamics, recording.aside, folds)
    job = _Job(recording, chosen, found, given, seed, progress, len(entries), cost, observe)
    splits, run_notes = job.divide(folds)
    _check_observed(observe, splits)
    for split in splits:
        job.hold_out(split)
    if not job.tests:
        raise DataError(
            f"no held-out run has a {chosen.name} within the steps at which the average training run is known",
            "record more runs of the same length",
        )
    outcomes = [job.outcome(entry) for entry in entries]
    held_out = job.held_out()
    comparison = Comparison(
        recording=recording.path.name,
        metric=chosen,
        rows=score_rows(held_out, outcomes, seed, against_estimator),
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
            *feature_notes,
            *aside_notes(recording.dynamics, recording.aside, found),
            *fold_notes,
            *run_notes,
            *dict.fromkeys(job.notes),
            *device_note(job.all_runs(), chosen),
        ),
        unseen=None if recording.aside is None else recording.aside.to_json(recording.dynamics),
        observed=observe,
        # Who is told how a run began knows something of its order, too.
        ceiling=None if observe else ceiling_of(job.all_runs(), chosen, held_out),
    )
    return _write(comparison, recording, output, figure)


def _check_observed(observed: int, splits: Sequence[Split]) -> None:
    """Raise ``UsageError`` where no held-out run has a score after those observed."""
    most = max((len(run.steps) - 1 for split in splits for run in split.test), default=0)
    if observed and observed >= most:
        remedy = f"give at most {most - 1}" if most > 1 else "leave it out"
        raise UsageError(
            f"--observe {observed}: no held-out run has more than {most} recorded scores after its first", remedy
        )


@dataclass
class _Job:
    """One comparison on its way: the divisions of the runs, and what is learned on each."""

    recording: Recording
    metric: MetricInfo
    features: Features | None
    features_given: bool
    seed: int
    progress: Progress
    estimators: int
    cost: bool = False
    observed: int = 0
    splits: list[Split] = field(default_factory=list)
    tests: list[tuple[int, Run]] = field(default_factory=list)
    means: list[np.ndarray] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    done: int = 0

    @property
    def scored(self) -> np.ndarray:
        """The places of the test examples that count: the unseen ones where some are set aside, else all."""
        aside = self.recording.aside
        return np.array(aside.test) if aside and aside.test else np.arange(len(self.recording.dynamics.test))

    def divide(self, folds: int | None) -> tuple[list[Split], tuple[str, ...]]:
        """The divisions of the usable runs; runs that test are cut to the test examples that count."""
        runs, aside = self.recording.dynamics.runs, self.recording.aside
        seen = None if aside is None else kept(len(self.recording.dynamics.test), aside.test)
        usable, notes = usable_runs(runs, self.metric, seen)
        splits = divided(self.recording.dynamics, usable, folds)
        if aside is None:
            return splits, notes
        told, more = usable_runs(runs, self.metric, self.scored)
        asked = {run.index: of_tests(run, self.scored) for run in told}
        splits = [
            replace(split, test=tuple(asked[run.index] for run in split.test if run.index in asked)) for split in splits
        ]
        return splits, tuple(dict.fromkeys(notes + more))

    def all_runs(self) -> list[Run]:
        """Every recorded run, cut to the test examples that count."""
        return [of_tests(run, self.scored) for run in self.recording.dynamics.runs]

    def scope(self, estimator: Estimator, features: Features | None) -> Scope:
        """What the estimator is asked about."""
        return scope_of(self.recording.dynamics, self.recording.aside, estimator, features, self.scored)

    def hold_out(self, split: Split) -> None:
        """Add a division; its test runs are cut to the steps where its average training run is known."""
        anchor = MeanRun()
        anchor.fit(self.data(split, None, anchor))
        low, high = int(anchor.steps_[0]), int(anchor.steps_[-1])
        tests = []
        for run in split.test:
            inside = (run.steps >= low) & (run.steps <= high)
            inside[0] = True
            cut = cut_run(run, np.flatnonzero(inside))
            if len(cut.steps) < len(run.steps):
                self.notes.append(
                    f"{run.name} counts at {len(cut.steps)} of its {len(run.steps)} recorded steps, "
                    f"because the average training run is known from step {low} to {high}"
                )
            if np.isfinite(cut.metrics[self.metric.name][1 + self.observed :]).any():
                tests.append(cut)
        if tests:
            self.splits.append(replace(split, test=tuple(tests)))
            self.tests += [(split.fold, run) for run in tests]
            contender = Contender(get_registry().find("estimator", anchor.name), anchor)
            self.means += predict_runs(contender, tests, self.metric, self.scope(anchor, None))

    def data(self, split: Split, features: Features | None, estimator: Estimator) -> FitData:
        """What an estimator gets to see of a division."""
        requires = estimator.requires
        whole = fit_data(self.recording, split, self.metric, features, self.seed, self.progress, requires)
        data = without(whole, self.recording.aside, estimator)
        self.notes += left_note(whole, data, f" of fold {split.fold + 1}" if len(self.splits) > 1 else "")
        return data

    def held_out(self) -> HeldOut:
        """All test runs of all divisions."""
        runs = [run for _, run in self.tests]
        scored = [self.recording.dynamics.test[place] for place in self.scored]
        steps = np.full((len(runs), max(len(run.steps) for run in runs)), -1, dtype=np.int64)
        for row, run in enumerate(runs):
            steps[row, : len(run.steps)] = run.steps
        recorded = stacked([run.metrics[self.metric.name].astype(np.float64) for run in runs])
        given = stacked([given_part(run, self.metric, self.observed) for run in runs]) if self.observed else None
        return HeldOut(
            names=tuple(run.name for run in runs),
            tests=tuple(example.id for example in scored),
            folds=np.array([fold for fold, _ in self.tests], dtype=np.int64),
            steps=steps,
            recorded=recorded if given is None else np.where(np.isfinite(given), np.nan, recorded),
            mean_run=stacked(self.means),
            tasks=tasks_of(scored),
            given=given,
        )

    @property
    def total(self) -> int:
        """How many fits there are to make."""
        return len(self.splits) * self.estimators

    def outcome(self, entry: Entry) -> Outcome:
        """Fit one estimator on every division and ask it about the runs held out there."""
        registry = get_registry()
        part = registry.find("estimator", entry.name)
        label = entry.label
        answers: list[Answer] = []
        fits: list[Fitted] = []
        for number, split in enumerate(self.splits):
            note = f"{label}, fold {number + 1} of {len(self.splits)}" if len(self.splits) > 1 else label
            self.progress("compare", self.done, self.total, note)
            self.done += 1
            contender = Contender(part, registry.make("estimator", entry.name, **entry.settings))
            estimator = contender.estimator
            features = self.features if self.features_given or "features" in estimator.requires else None
            try:
                problem = refusal(estimator, () if self.recording.aside is None else self.recording.aside.sides)
                if problem is not None:
                    raise problem
                fitted = fit_or_load(contender, self.recording, self.data(split, features, estimator))
                scope = self.scope(fitted.contender.estimator, features)
                answers += ask_runs(fitted.contender, split.test, self.metric, scope, self.observed)
            except (DataError, PluginError) as error:
                self.done += len(self.splits) - number - 1
                self.progress("compare", self.done, self.total, f"{label} failed")
                return Outcome(
                    label,
                    settings=dict(entry.settings),
                    error=str(error),
                    name=entry.name,
                    oracle=is_oracle(estimator),
                    conditions=conditions(estimator),
                )
            fits.append(fitted)
        self.progress("compare", self.done, self.total, label)
        return Outcome(
            label,
            stacked([answer.values for answer in answers]),
            settings=dict(fits[-1].contender.estimator.settings()),
            seconds=sum(fitted.seconds for fitted in fits),
            reused=all(fitted.reused for fitted in fits),
            notes=tuple(dict.fromkeys(note for fitted in fits for note in fitted.notes)),
            name=entry.name,
            oracle=is_oracle(fits[-1].contender.estimator),
            cost=measure_cost(fits[-1].contender, self.splits[-1].test, self.metric, scope) if self.cost else None,
            intervals=_intervals(answers),
            conditions=conditions(fits[-1].contender.estimator),
        )


def _intervals(answers: Sequence[Answer]) -> Intervals:
    """Bounds at the levels that were given for every run."""
    levels = set.intersection(*(set(answer.intervals) for answer in answers))
    return {
        level: (
            stacked([answer.intervals[level][0] for answer in answers]),
            stacked([answer.intervals[level][1] for answer in answers]),
        )
        for level in sorted(levels)
    }


def _write(
    comparison: Comparison, recording: Recording, output: str | Path | None, figure: str | Path | bool
) -> Comparison:
    if output is not None:
        path = Path(output).expanduser()
        write_table(comparison, path)
        comparison = replace(comparison, output=path)
    if figure is not False:
        default = recording.workspace.root / f"{recording.stem}.{comparison.metric.name}.comparison.png"
        path = default if figure is True else Path(figure).expanduser()
        draw_comparison(comparison, path)
        comparison = replace(comparison, figure=path)
    return comparison
