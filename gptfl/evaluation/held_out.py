"""One comparison on its way: how runs are divided, what is fitted on each division, and what comes of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from gptfl.core import REPEAT, Dynamics, Features, FitData, GradientProducts, MetricInfo, Progress, Run, tasks_of
from gptfl.core.holdout import HeldOutExamples, kept_places
from gptfl.core.queries import given_part, stacked
from gptfl.core.runs import TEST, cut_run, of_tests
from gptfl.core.splits import (
    MORE_RUNS,
    Split,
    check_fit_runs,
    fold_splits,
    most_folds,
    stored_split,
    taught_by_all,
    units_of,
    usable_runs,
)
from gptfl.designs.draws import together_in
from gptfl.errors import DataError, PluginError, ResourceError
from gptfl.estimators.baselines import MeanRun
from gptfl.evaluation.change_spreads import change_spreads
from gptfl.evaluation.cost import measure_cost
from gptfl.evaluation.specs import ComparedEstimator
from gptfl.evaluation.truth import tested
from gptfl.plugins.interfaces import Estimator
from gptfl.recording.recording import OpenedRecording
from gptfl.scores.comparison import Predictions
from gptfl.scores.coverage import Intervals
from gptfl.scores.held_out import HeldOut
from gptfl.scores.removals import ChangeSpreads, Removals, find_removals
from gptfl.simulation.fitting import FittedEstimator, fit_data, fit_or_load
from gptfl.simulation.holdout import left_note, without_held_out
from gptfl.simulation.requirements import NamedEstimator, refusal
from gptfl.simulation.run_predictions import RunPrediction, predict_runs, predict_trajectories
from gptfl.simulation.unseen import Scope, scope_of

Read = TypeVar("Read", Features, GradientProducts)


@dataclass
class HeldOutEvaluation:
    """The divisions of the runs, and what is learned on each; ``fits`` is how many there are to make, for progress.

    With ``truth``, all runs of the recording teach, and those of the other are held out.
    """

    recording: OpenedRecording
    metric: MetricInfo
    seed: int
    progress: Progress
    fits: int = 0
    cost: bool = False
    observed: int = 0
    truth: OpenedRecording | None = None
    splits: list[Split] = field(default_factory=list)
    tests: list[tuple[int, Run]] = field(default_factory=list)
    means: list[np.ndarray] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    done: int = 0
    shared: dict[int, tuple[Any, Any]] = field(default_factory=dict, repr=False)
    """Features and products that are read in blocks, and the same with a memo; by the id of the first."""

    @property
    def scored(self) -> np.ndarray:
        """The places of the test examples that count: the unseen ones where some are set aside, else all."""
        held_out = self.recording.held_out
        return np.array(held_out.test) if held_out and held_out.test else np.arange(len(self.recording.dynamics.test))

    def divide(self, folds: int | None) -> tuple[list[Split], tuple[str, ...]]:
        """The divisions of the usable runs; runs that test are cut to the test examples that count."""
        runs, held_out = self.recording.dynamics.runs, self.recording.held_out
        seen = None if held_out is None else kept_places(len(self.recording.dynamics.test), held_out.test)
        usable, notes = usable_runs(runs, self.metric, seen)
        if self.truth is not None:
            truth_runs, more = usable_runs(tested(self.truth.dynamics.runs), self.metric)
            split = taught_by_all(usable, truth_runs)
            check_fit_runs(split)
            return [split], (*notes, *more)
        splits = divided(self.recording.dynamics, usable, folds)
        if held_out is None:
            return splits, notes
        usable, more = usable_runs(runs, self.metric, self.scored)
        scored = {run.index: of_tests(run, self.scored) for run in usable}
        splits = [
            replace(split, test=tuple(scored[run.index] for run in split.test if run.index in scored))
            for split in splits
        ]
        return splits, tuple(dict.fromkeys(notes + more))

    def all_runs(self) -> list[Run]:
        """Every run of the recording that is scored, cut to the test examples that count."""
        return [of_tests(run, self.scored) for run in self.truth_recording.dynamics.runs]

    @property
    def truth_recording(self) -> OpenedRecording:
        """The recording whose runs are held out."""
        return self.recording if self.truth is None else self.truth

    def scope(self, estimator: Estimator, features: Features | None) -> Scope:
        """What the estimator is asked about."""
        return scope_of(self.recording.dynamics, self.recording.held_out, estimator, features, self.scored)

    def hold_out(self, splits: Sequence[Split]) -> None:
        """Add divisions. Raises ``DataError`` where no test run of them has a score that can be compared."""
        for split in splits:
            self._hold_out(split, len(splits))
        if not self.tests:
            raise DataError(
                f"no held-out run has a {self.metric.name} within the steps at which the average training run is known",
                "record more runs of the same length",
            )

    def _hold_out(self, split: Split, folds: int) -> None:
        """Add a division; its test runs are cut to the steps where its average training run is known."""
        anchor = MeanRun()
        anchor.fit(self.data(split, None, anchor, folds))
        low, high = int(anchor.steps_[0]), int(anchor.steps_[-1])
        tests = []
        for run in split.test:
            inside = anchor.knows(run)
            inside[0] = True
            cut = cut_run(run, np.flatnonzero(inside))
            if len(cut.steps) < len(run.steps):
                self.notes.append(
                    f"{run.name} counts at {len(cut.steps)} of its {len(run.steps)} recorded steps, "
                    f"because the average training run is known from step {low} to {high}, as far as step sizes add up to "
                    "there"
                )
            if np.isfinite(cut.metrics[self.metric.name][1 + self.observed :]).any():
                tests.append(cut)
        if tests:
            self.splits.append(replace(split, test=tuple(tests)))
            self.tests += [(split.fold, run) for run in tests]
            named = NamedEstimator(self.recording.registry.find("estimator", anchor.name), anchor)
            self.means += predict_trajectories(named, tests, self.metric, self.scope(anchor, None))

    def data(self, split: Split, features: Features | None, estimator: Estimator, folds: int = 1) -> FitData:
        """What an estimator gets to see of a division.

        Args:
            split: its runs to fit, to validate and to score.
            features: of the examples, None where it works without.
            estimator: its tags say which gradients it is given.
            folds: how many divisions there are; of several, notes say which one.
        """
        whole = fit_data(self.recording, split, self.metric, features, self.seed, self.progress, estimator)
        whole = replace(whole, gradients=self._shared(whole.gradients))
        data = without_held_out(whole, self.recording.held_out, estimator)
        self.notes += left_note(whole, data, f" of fold {split.fold + 1}" if folds > 1 else "")
        return data

    def held_out(self) -> HeldOut:
        """All test runs of all divisions."""
        runs = [run for _, run in self.tests]
        recorded_runs = [run for run in self.truth_recording.dynamics.runs if run.role != REPEAT]
        numbers = units_of(recorded_runs, together_in(self.truth_recording.dynamics.settings))
        units = dict(zip((run.index for run in recorded_runs), numbers, strict=True))
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
            together=np.array([units[run.index] for run in runs], dtype=np.int64),
            removals=self.removals,
        )

    @cached_property
    def removals(self) -> Removals | None:
        """The pairs among the held-out runs that show what leaving a group of examples out changes; None without some."""
        return find_removals(
            [run.curriculum.batches for _, run in self.tests],
            [run.seed for _, run in self.tests],
            np.array([fold for fold, _ in self.tests]),
        )

    def outcome(self, entry: ComparedEstimator, splits: Sequence[Split] | None = None, note: str = "") -> Predictions:
        """Fit one estimator on every division, or on these, and ask it about the runs held out there.

        ``note`` is what progress says beside the estimator's label.
        """
        splits = self.splits if splits is None else splits
        part = self.recording.registry.find("estimator", entry.name)
        label, features = entry.label, self._shared(entry.feature_choice.features)
        answers: list[RunPrediction] = []
        # Of a fit to a large pool no more is held than is told of it: the next division's takes its room.
        fitted: FittedEstimator | None = None
        seconds, reused, notes = 0.0, True, dict[str, None]()
        for number, split in enumerate(splits):
            fold = note or (f"fold {number + 1} of {len(splits)}" if len(splits) > 1 else "")
            self.progress("compare", self.done, self.fits, f"{label}, {fold}" if fold else label)
            self.done += 1
            named = NamedEstimator(part, self.recording.registry.make("estimator", entry.name, **entry.settings))
            estimator, fitted = named.estimator, None
            try:
                problem = refusal(estimator, () if self.recording.held_out is None else self.recording.held_out.sides)
                if problem is not None:
                    raise problem
                fitted = fit_or_load(named, self.recording, self.data(split, features, estimator, len(splits)))
                scope = self.scope(fitted.named.estimator, features)
                answers += predict_runs(fitted.named, split.test, self.metric, scope, self.observed)
            except (DataError, PluginError, ResourceError) as error:
                self.done += len(splits) - number - 1
                self.progress("compare", self.done, self.fits, f"{label} failed")
                return Predictions(
                    label,
                    settings=dict(entry.settings),
                    error=str(error),
                    name=entry.name,
                    oracle=estimator.tags.oracle,
                    conditions=estimator.tags.conditions,
                    encoder=entry.feature_choice.encoder,
                )
            seconds, reused = seconds + fitted.seconds, reused and fitted.reused
            notes |= dict.fromkeys(fitted.notes)
        self.progress("compare", self.done, self.fits, label)
        assert fitted is not None  # there is a division at least
        return Predictions(
            label,
            stacked([answer.values for answer in answers]),
            settings=dict(fitted.named.estimator.settings()),
            seconds=seconds,
            reused=reused,
            notes=tuple(notes),
            name=entry.name,
            oracle=fitted.named.estimator.tags.oracle,
            cost=measure_cost(fitted.named, splits[-1].test, self.metric, scope) if self.cost else None,
            intervals=_intervals(answers),
            conditions=fitted.named.estimator.tags.conditions,
            encoder=entry.feature_choice.encoder,
            changes=self._changes(fitted.named, splits, scope),
        )

    def _changes(self, named: NamedEstimator, splits: Sequence[Split], scope: Scope) -> ChangeSpreads | None:
        """How sure a fitted estimator is of what leaving groups out changes; None where several divisions have a fit each."""
        if self.removals is None or len(splits) > 1:
            return None
        runs = [run for _, run in self.tests]
        return change_spreads(named, runs, self.removals, self.metric, scope)

    def _shared(self, given: Read | None) -> Read | None:
        """Features or products as every division and row gets them: what is read of a large pool in blocks, once for all."""
        if given is None or not given.in_blocks or len(self.splits) < 2:
            return given
        if id(given) not in self.shared:
            # What was given is held, so that nothing else gets its id.
            self.shared[id(given)] = given, given.remembering()
        found: Read = self.shared[id(given)][1]
        return found


def _intervals(answers: Sequence[RunPrediction]) -> Intervals:
    """Bounds at the levels that were given for every run."""
    levels = set.intersection(*(set(answer.intervals) for answer in answers))
    return {
        level: (
            stacked([answer.intervals[level][0] for answer in answers]),
            stacked([answer.intervals[level][1] for answer in answers]),
        )
        for level in sorted(levels)
    }


def folds_for(
    dynamics: Dynamics, held_out: HeldOutExamples | None, folds: int | None
) -> tuple[int | None, tuple[str, ...]]:
    """The number of folds to take, and what to tell of it.

    Where the recording reserves examples (``collect --reserve-pool``) and these are what is set aside, the runs that
    draw from them are held out and all others teach: folds have nothing to add.
    """
    reserve = dynamics.settings.reserve_pool
    if not reserve:
        return _each_in_turn(dynamics) if folds is None and dynamics.settings.own_run else (folds, ())
    if held_out is not None and held_out.pool and held_out.share is None:
        note = f"held out: the runs that draw from the {len(held_out.pool)} reserved examples, which no run to fit has"
        return None, (note if folds is None else f"{note}; --folds {folds} changes nothing",)
    if folds is None:
        return None, (
            f"the runs held out have examples of a reserve of {reserve} that no run to fit has: "
            "--folds 4 takes every run in turn, --unseen train leaves out who can't answer about these",
        )
    return folds, ()


def _each_in_turn(dynamics: Dynamics) -> tuple[int | None, tuple[str, ...]]:
    """Folds where a recording of somebody's own training has too few runs for one to be set apart."""
    offer = None if any(run.role == TEST for run in dynamics.runs) else most_folds(dynamics.runs)
    if offer is None:
        return None, ()
    return offer, (f"{len(dynamics.runs)} runs are too few to set one apart: took --folds {offer}, each in turn",)


def divided(dynamics: Dynamics, runs: Sequence[Run], folds: int | None) -> list[Split]:
    """The divisions of these runs of a recording: by their stored roles, or into so many folds.

    Runs that belong together, such as a leave-out pair, are in the same fold. Raises ``DataError`` where no run tests
    or too few teach, and ``UsageError`` for a number of folds that can't be.
    """
    if len(runs) == 1:
        raise DataError(
            "there is one usable run, and nothing of it can be held out to compare by",
            f"{MORE_RUNS}; what gradients foretell of one run, gptfl fit and gptfl rank tell",
        )
    together = together_in(dynamics.settings)
    splits = [stored_split(runs)] if folds is None else fold_splits(runs, folds, together)
    if not splits or not any(split.test for split in splits):
        offer = most_folds(runs, together)
        remedy = MORE_RUNS if offer is None else f"{MORE_RUNS} or give --folds {offer}"
        raise DataError("no usable run is held out for testing", remedy)
    for split in splits:
        check_fit_runs(split)
    return splits
