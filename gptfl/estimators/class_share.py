"""Mean-run and the classes: what much of the influence in a classification task comes to."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import (
    Class,
    Classes,
    FitData,
    Prediction,
    Query,
    Run,
    Unseen,
    class_numbers,
    classes_of,
    lack_of_classes,
)
from gptfl.core.examples import classes_among, weights_of
from gptfl.errors import DataError
from gptfl.estimators import average
from gptfl.estimators.baselines import (
    MeanRun,
    array_of,
    begun,
    check_fitted,
    clock_arrays,
    clock_from,
    places_of,
    timed,
    training_runs,
)
from gptfl.estimators.clock import Clock
from gptfl.estimators.exposures import exposures, shares
from gptfl.estimators.left_out import cut_notes
from gptfl.estimators.ridge import STRENGTHS, fit_ridge, leave_one_out_error
from gptfl.estimators.unseen_tests import extrapolated
from gptfl.plugins.interfaces import EstimatorTags
from gptfl.plugins.settings import number


class ClassShare:
    """Mean-run plus what each class's share of the examples seen so far explains.

    In a mixture of tasks, each class of each task is one, and a task without classes is one by itself. At every
    step, the deviation of each test example is regressed on the share of each class, examples weighted by the step
    size and the share of the batch at which they were seen. Steps of other sizes than recorded stand for others, as in
    mean-run. ``strength`` is the ridge penalty in multiples of the shares' variance; None takes
    the one with the least leave-one-run-out error over all steps and test examples, infinity (mean-run itself) among
    the candidates.

    A training example that it wasn't fitted to counts for its class. Such a test example starts from what mean-run
    says of it and moves with the shares as those of its class do on average, or as all do where none is of its class.
    """

    name = "class-share"
    tags = EstimatorTags(requires={"classes"}, unseen={"train", "test"}, blind=True)

    steps_: Int[np.ndarray, " grid"]
    intercept_: Float[np.ndarray, "grid test"]
    slope_: Float[np.ndarray, "grid class test"]
    classes_: Int[np.ndarray, " pool"]
    share_: Float[np.ndarray, "grid class"] | None = None
    test_classes_: Int[np.ndarray, " test"] | None = None
    notes_: tuple[str, ...] = ()
    clock_: Clock | None = None
    counts_: Float[np.ndarray, " pool"] | None = None

    def __init__(self, strength: float | None = None) -> None:
        self.strength = (
            None if strength is None else number(f"estimator {self.name}", "strength", strength, positive=True)
        )

    def settings(self) -> Mapping[str, Any]:
        """The ridge penalty, or None where it is chosen."""
        return {"strength": self.strength}

    def fit(self, data: FitData) -> Self:
        """Regress each deviation on the class shares, at every step of the average run's grid."""
        runs = training_runs(data)
        anchor = MeanRun().fit(data)
        self.steps_, self.clock_ = anchor.steps_, anchor.clock_
        self.notes_ = cut_notes(self.name, runs, data.metric.name, self.steps_)
        self.classes_ = _class_indices(data)
        weights = weights_of(data.pool)
        self.counts_ = None if weights is None else weights.astype(np.float64)
        share = np.concatenate([self.shares_of(run) for run in runs])
        self.share_ = share.mean(axis=0)
        classes, each = classes_among(data.pool), classes_of(data.pool) or ()
        known: dict[Class | None, int] = dict(zip(each, self.classes_.tolist(), strict=True))
        self.test_classes_ = np.array([known.get(classes.of(example), -1) for example in data.test], dtype=np.int64)
        recorded = np.stack([average.resample(run.steps, data.recorded(run), self.steps_) for run in runs])
        strength = _choose_strength(share, recorded) if self.strength is None else self.strength
        self.intercept_ = anchor.mean_.copy()
        self.slope_ = np.zeros((len(self.steps_), share.shape[2], recorded.shape[2]))
        for step in range(len(self.steps_)):
            for rows, tests in _complete_blocks(recorded[:, step]):
                block = recorded[:, step][np.ix_(rows, tests)]
                intercept, slope = fit_ridge(share[rows, step], block, strength)
                self.intercept_[step, tests], self.slope_[step][:, tests] = intercept, slope
        return self

    def shares_of(self, run: Run) -> Float[np.ndarray, "1 grid class"]:
        """The share of each class in what a run has seen by each step of the grid."""
        curriculum = run.curriculum
        batches, rates = curriculum.batches[None], curriculum.learning_rates[None]
        return shares(exposures(batches, rates, self.steps_, len(self.classes_), self.classes_, self.counts_))

    def _queried_shares(
        self, query: Query, runs: Int[np.ndarray, " some"], classes: Int[np.ndarray, " pool"]
    ) -> Float[np.ndarray, "some recorded class"]:
        # One entry more, which no batch names, keeps every class in even where no asked example is of it.
        groups = np.append(classes, self.slope_.shape[1] - 1)
        batches, rates = query.batches[runs], query.learning_rates[runs]
        if self.clock_ is None:  # fitted when each place in a batch counted alike, however many there were
            rates = rates * (batches >= 0).sum(axis=2)
        return shares(exposures(batches, rates, query.steps, len(classes), groups, self._queried_counts(query)))

    def predict(self, query: Query) -> Prediction:
        """Mean-run plus the shares' part. Raises ``DataError`` beyond the recorded steps."""
        check_fitted(self)
        seen = places_of(query, self.intercept_.shape[1])
        classes = self._queried_classes(query)
        if int(query.batches.max(initial=-1)) >= len(classes):
            raise DataError(
                "class-share: a batch holds an example whose class it doesn't know", "use examples of the pool"
            )
        values, there = np.empty((len(query.first), len(query.steps), len(seen))), seen[seen >= 0]
        every = np.arange(len(query.steps))
        for runs, steps in timed(self.clock_, query, self.steps_):
            share = self._queried_shares(query, runs, classes)
            intercept = average.interpolate(self.steps_, self.intercept_, steps)
            slope = average.interpolate(self.steps_, self.slope_, steps)
            predicted = intercept[:, there] + np.einsum("rsc,sct->rst", share, slope[:, :, there])
            values[np.ix_(runs, every, seen >= 0)] = predicted
            if query.unseen is not None and (seen < 0).any():
                part = replace(query, steps=steps, first=query.first[runs])
                extrapolated = self._extrapolated(part, query.unseen, share, intercept, slope)
                values[np.ix_(runs, every, seen < 0)] = extrapolated
        return Prediction(begun(values, self.clock_, query, self.steps_))

    def _queried_counts(self, query: Query) -> Float[np.ndarray, " pool"] | None:
        """How much each training example asked about counts in a batch; one of which that isn't known as the mean."""
        unseen = query.unseen
        if unseen is None or self.counts_ is None:
            return self.counts_
        usual = float(self.counts_.mean())
        return np.array([usual if one.weight is None else one.weight for one in unseen.pool], dtype=np.float64)

    def _queried_classes(self, query: Query) -> Int[np.ndarray, " pool"]:
        """The class of every training example asked about. Raises ``DataError`` for one of no known class."""
        unseen = query.unseen
        if unseen is None:
            return self.classes_
        named, known = self._known(unseen)
        classes = np.array([known.get(named.of(one), -1) for one in unseen.pool], dtype=np.int64)
        used = np.unique(query.batches[query.batches >= 0])
        for place in used[classes[used] < 0]:
            raise DataError(
                f"class-share: training example {unseen.pool[place].id!r} is of no class that it was fitted to",
                "give it choices and a label as the recording's, or use another estimator",
            )
        return np.maximum(classes, 0)

    def _known(self, unseen: Unseen) -> tuple[Classes, dict[Class | None, int]]:
        """The classes of the training examples fitted, and the number of each."""
        fitted = [(one, place) for one, place in zip(unseen.pool, unseen.pool_seen, strict=True) if place >= 0]
        named = Classes(one for one, _ in fitted)
        return named, {named.of(one): int(self.classes_[place]) for one, place in fitted}

    def _extrapolated(
        self,
        query: Query,
        unseen: Unseen,
        share: Float[np.ndarray, "run recorded class"],
        intercept: Float[np.ndarray, "recorded test"],
        slope: Float[np.ndarray, "recorded class test"],
    ) -> Float[np.ndarray, "run recorded new"]:
        if self.share_ is None or self.test_classes_ is None:
            raise DataError(
                "this class-share simulator was fitted before there were unseen test examples", "run gptfl fit again"
            )
        usual = average.interpolate(self.steps_, self.share_, query.steps)
        new = np.flatnonzero(unseen.test_seen < 0)
        base = extrapolated(intercept + np.einsum("sc,sct->st", usual, slope), query.first[:, new])
        named, known = self._known(unseen)
        for column, place in enumerate(new):
            kin = self.test_classes_ == known.get(named.of(unseen.test[place]), -2)
            own = slope[:, :, kin if kin.any() else slice(None)].mean(axis=2)
            base[:, :, column] += np.einsum("rsc,sc->rs", share - usual, own)
        return base

    def flops(self, query: Query) -> float:
        """Interpolating slopes and intercepts, counting shares, and a product with each class's slope."""
        runs, tests = (float(size) for size in query.first.shape)
        recorded, classes = len(query.steps), float(self.slope_.shape[1])
        seen = float((query.batches >= 0).sum())
        return average.FLOPS * recorded * tests * (classes + 1) + 2 * seen + 2 * runs * recorded * tests * classes

    def state(self) -> Mapping[str, np.ndarray]:
        """``steps`` [grid], ``intercept`` [grid, test], ``slope`` [grid, class, test], ``classes`` [pool].

        For unseen test examples ``share`` [grid, class], that of the average run, and ``test_classes`` [test];
        ``clock`` as in mean-run, and ``counts`` [pool], the weights of examples that don't count alike.
        """
        check_fitted(self)
        more = {"share": self.share_, "test_classes": self.test_classes_}
        return {
            "steps": self.steps_,
            "intercept": self.intercept_,
            "slope": self.slope_,
            "classes": self.classes_,
            **{name: array for name, array in more.items() if array is not None},
            **clock_arrays(self.clock_),
            **({} if self.counts_ is None else {"counts": self.counts_}),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> Self:
        """Take back what ``state`` gave."""
        self.steps_ = array_of(self.name, state, "steps", 1)
        self.intercept_ = array_of(self.name, state, "intercept", 2)
        self.slope_ = array_of(self.name, state, "slope", 3)
        self.classes_ = array_of(self.name, state, "classes", 1)
        self.clock_ = clock_from(self.name, state)
        self.counts_ = array_of(self.name, state, "counts", 1) if "counts" in state else None
        grid, classes, test = self.slope_.shape
        if (
            len(self.steps_) != grid
            or grid == 0
            or self.intercept_.shape != (grid, test)
            or (self.counts_ is not None and self.counts_.shape != self.classes_.shape)
            or int(self.classes_.max(initial=-1)) + 1 != classes
        ):
            raise DataError(f"{self.name}: the shapes of its arrays don't agree", "fit it again (gptfl fit)")
        # Simulators from before there were unseen examples lack these.
        if "share" in state or "test_classes" in state:
            self.share_ = array_of(self.name, state, "share", 2)
            self.test_classes_ = array_of(self.name, state, "test_classes", 1)
            if self.share_.shape != (grid, classes) or len(self.test_classes_) != test:
                raise DataError(f"{self.name}: the shapes of its arrays don't agree", "fit it again (gptfl fit)")
        return self


def _class_indices(data: FitData) -> Int[np.ndarray, " pool"]:
    numbers = class_numbers(data.pool)
    if numbers is None or not len(numbers):
        raise DataError(
            f"class-share needs the class of every pool example, and there are none{lack_of_classes(data.pool)}",
            "use a task with classes",
        )
    return numbers


def _complete_blocks(
    values: Float[np.ndarray, "run test"],
) -> list[tuple[Int[np.ndarray, " row"], Int[np.ndarray, " column"]]]:
    """Group the test examples by the runs that have a value for them; each group is complete."""
    patterns, group = np.unique(np.isfinite(values), axis=1, return_inverse=True)
    columns = [np.flatnonzero(group.ravel() == k) for k in range(patterns.shape[1])]
    rows = [np.flatnonzero(patterns[:, k]) for k in range(patterns.shape[1])]
    return [(r, c) for r, c in zip(rows, columns, strict=True) if len(r)]


def _choose_strength(share: Float[np.ndarray, "run grid class"], recorded: Float[np.ndarray, "run grid test"]) -> float:
    errors = np.zeros(len(STRENGTHS))
    for step in range(recorded.shape[1]):
        for rows, tests in _complete_blocks(recorded[:, step]):
            if len(rows) < 2:
                continue
            block = recorded[:, step][np.ix_(rows, tests)]
            errors += [leave_one_out_error(share[rows, step], block, strength) for strength in STRENGTHS]
    # With a single run every error is 0; the last of the least is the strongest penalty.
    return STRENGTHS[int(np.flatnonzero(errors == errors.min())[-1])]
