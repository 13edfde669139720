"""Linear datamodels (Ilyas et al., 2022): each test example's metric, regressed on what the run has seen."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from jaxtyping import Float, Int

from gptfl.estimators import average
from gptfl.estimators.baselines import average_run, begun, clock_arrays, clock_from, clock_of, timed, training_runs
from gptfl.estimators.clock import Clock
from gptfl.estimators.left_out import cut_notes, named
from gptfl.estimators.ridge import STRENGTHS
from gptfl.plugins import (
    DataError,
    EstimatorTags,
    FitData,
    Prediction,
    Query,
    Run,
    check_memory,
    flag,
    free_memory,
    gigabytes,
    number,
    one_of,
    presentation_weights,
    relative_weights,
)
from gptfl_datamodels.dual import least_error, pieces_of
from gptfl_datamodels.tally import Tally, columns_of

FINAL, EVERY = "final", "every"
ENTRIES = 8_000_000
"""How many places in batches of asked runs are gone through at once, unless a single run has more."""
ARRAYS = {"steps": 1, "intercept": 2, "weights": 3, "batches": 3, "rates": 2, "pool": 0, "sign": 0}


class Datamodels:
    """A linear function of how much of each training example the run has seen so far.

    Seeing one once counts by its share of the batch, 1 over the number of examples there, since the loss of a batch is
    the mean over them. Steps of other sizes than recorded count for as many recorded ones as their sizes add up to. With ``steps="final"`` it is fitted to the final values; on the way there the average run is followed, and what
    was seen so far counts as it does at the end. With ``"every"`` each recorded step has a function of its own.
    ``weighted`` counts by step size besides. ``strength`` is the ridge penalty in multiples of the exposures' variance over
    runs; None takes the one with the least leave-one-run-out error, infinity (mean-run itself) among the candidates.
    """

    name = "datamodels"
    tags = EstimatorTags()

    # The functions are kept in their dual form: training runs (batches, rates) and a weight for each of them.
    steps_: Int[np.ndarray, " grid"]
    intercept_: Float[np.ndarray, "grid test"]
    weights_: Float[np.ndarray, "function run test"]
    batches_: Int[np.ndarray, "run step batch"]
    rates_: Float[np.ndarray, "run step"]
    pool_: int
    sign_: int
    clock_: Clock | None = None
    relative_: Float[np.ndarray, " pool"] | None = None
    presentations_: bool = False
    """Whether it was fitted when each place in a batch counted alike, to batches of several sizes."""
    notes_: tuple[str, ...] = ()

    def __init__(self, steps: str = FINAL, weighted: bool = False, strength: float | None = None) -> None:
        who = f"estimator {self.name}"
        self.steps = one_of(who, "steps", steps, (FINAL, EVERY))
        self.weighted = flag(who, "weighted", weighted)
        self.strength = None if strength is None else number(who, "strength", strength, positive=True)

    def settings(self) -> Mapping[str, Any]:
        """All three."""
        return {"steps": self.steps, "weighted": self.weighted, "strength": self.strength}

    def fit(self, data: FitData) -> Self:
        """Regress on the runs to fit and to validate. Raises ``DataError`` where no step is known for all tests."""
        runs = training_runs(data)
        self.steps_, self.intercept_ = average_run(runs, data.metric.name)
        self.batches_, self.rates_ = _stacked(runs)
        self.clock_, self.presentations_ = clock_of(runs), False
        self.relative_ = relative_weights(data.pool)
        self.pool_, self.sign_ = len(data.pool), 1 if data.metric.higher_is_better else -1
        recorded = np.stack([average.resample(run.steps, data.recorded(run), self.steps_) for run in runs])
        rows = np.arange(len(self.steps_)) if self.steps == EVERY else np.array([len(self.steps_) - 1])
        tally = self.learned_exposures()
        problems = []
        for row in rows:
            tally.forward(int(self.steps_[row]))
            problems.append(pieces_of(tally.products(tally.seen), recorded[:, row]))
        strength = least_error(problems, STRENGTHS) if self.strength is None else self.strength
        self.weights_ = np.zeros((len(rows), len(runs), recorded.shape[2]))
        for place, pieces in enumerate(problems):
            for piece in pieces:
                intercept, weights = piece.spectrum.solve(piece.values, strength)
                self.weights_[place][np.ix_(piece.rows, piece.columns)] = weights
                if self.steps == EVERY:
                    self.intercept_[place, piece.columns] = intercept
        if self.steps == FINAL:
            self._follow_the_average()
        self.notes_ = () if np.isfinite(strength) else (f"{self.name}: no more than the average run was found",)
        self.notes_ += cut_notes(self.name, runs, data.metric.name, self.steps_)
        if self.steps == FINAL:
            self.notes_ += self._ended(runs, recorded[:, -1])
        return self

    def _ended(self, runs: Sequence[Run], final: Float[np.ndarray, "run test"]) -> tuple[str, ...]:
        """A note on the runs that have no final value."""
        short = [run.name for run, there in zip(runs, np.isfinite(final).any(axis=1), strict=True) if not there]
        if not short:
            return ()
        return (
            f"{self.name}: {len(short)} of {len(runs)} runs have no score at step {int(self.steps_[-1])}, and count for the "
            f"average run alone ({named(short)})",
        )

    def _follow_the_average(self) -> None:
        """Make the intercepts such that a run which has seen what the runs did on average goes as they did."""
        end = self.learned_exposures().forward(int(self.steps_[-1])).seen
        tally = self.learned_exposures()
        for row, step in enumerate(self.steps_):
            usual = tally.forward(int(step)).products(end).mean(axis=0)
            self.intercept_[row] -= usual @ self.weights_[0]

    def learned_exposures(self) -> Tally:
        """The exposures of the training runs, from the start; examples that none of them saw are left out."""
        return self._tally(self.batches_, self.rates_)

    def _tally(
        self,
        batches: Int[np.ndarray, "run step batch"],
        rates: Float[np.ndarray, "run step"],
        steps: Float[np.ndarray, "run step"] | None = None,
    ) -> Tally:
        """``steps`` are for how many recorded ones each step counts (None: 1)."""
        each = rates if self.weighted else np.ones(rates.shape) if steps is None else steps
        weights = each if self.presentations_ else presentation_weights(batches, each, self.relative_)
        if self.relative_ is not None:
            weights = weights[:, :, None] * self.relative_[batches]
        return Tally(batches, weights, columns_of(self.batches_, self.pool_))

    def predict(self, query: Query) -> Prediction:
        """The function's value at each asked step. Raises ``DataError`` beyond the recorded steps.

        Between recorded steps, functions are interpolated. An example that no training run saw counts for nothing.
        """
        self._check(query)
        values = np.empty((len(query.first), len(query.steps), query.first.shape[1]))
        passed = None if self.clock_ is None else self.clock_.place(query, self.steps_).at
        size = max(1, ENTRIES // max(1, math.prod(query.batches.shape[1:])))
        for runs, places in timed(self.clock_, query, self.steps_):
            values[runs, 1:] = average.interpolate(self.steps_, self.intercept_, places[1:])
            for part in np.array_split(runs, -(-len(runs) // size)):
                steps = None if passed is None else np.diff(np.minimum(passed[part], self.steps_[-1]))
                tally = self._tally(query.batches[part], query.learning_rates[part], steps)
                values[part, 1:] += self._deviations(tally, query.steps[1:], places[1:])
        return Prediction(begun(values, self.clock_, query, self.steps_))

    def flops(self, query: Query) -> float:
        """Products of exposures with those of every training run, then with the weights, at each asked step."""
        runs, tests = (float(size) for size in query.first.shape)
        learned, pool = (float(size) for size in self.learned_exposures().seen.shape)
        recorded = len(query.steps) - 1
        return 2.0 * runs * recorded * learned * (pool + tests) + average.FLOPS * recorded * tests

    def _deviations(
        self, tally: Tally, steps: Int[np.ndarray, " recorded"], places: Float[np.ndarray, " recorded"]
    ) -> Float[np.ndarray, "run recorded test"]:
        """At some steps, by the functions of the recorded steps that they stand for."""
        result = np.zeros((tally.seen.shape[0], len(steps), self.weights_.shape[2]))
        if self.steps == FINAL:
            end = self.learned_exposures().forward(int(self.steps_[-1])).seen
            for row, step in enumerate(steps):
                result[:, row] = tally.forward(int(step)).products(end) @ self.weights_[0]
            return result
        before, after = self.learned_exposures(), self.learned_exposures()
        for row, (step, at) in enumerate(zip(steps, places, strict=True)):
            left = max(0, min(int(np.searchsorted(self.steps_, at, side="right")) - 1, len(self.steps_) - 2))
            right = min(left + 1, len(self.steps_) - 1)
            low, high = int(self.steps_[left]), int(self.steps_[right])
            share = (at - low) / max(high - low, 1)
            tally.forward(int(step))
            for learned, place, weight in ((before, left, 1.0 - share), (after, right, share)):
                if weight:
                    ours = learned.forward(int(self.steps_[place])).seen
                    result[:, row] += weight * (tally.products(ours) @ self.weights_[place])
        return result

    def _check(self, query: Query) -> None:
        if not hasattr(self, "weights_"):
            raise DataError(f"{self.name} isn't fitted", "call fit or restore first")
        tests = self.weights_.shape[2]
        if query.first.shape[1] != tests:
            raise DataError(
                f"{self.name} was fitted on {tests} test examples, asked about {query.first.shape[1]}",
                "ask about the recording it was fitted on; it knows no other test examples",
            )
        highest = int(query.batches.max(initial=-1))
        if highest >= self.pool_:
            raise DataError(
                f"{self.name} was fitted on a pool of {self.pool_}, asked about example number {highest}",
                "ask about the recording it was fitted on; it knows no other examples",
            )

    def influence(self) -> Float[np.ndarray, "pool test"]:
        """What seeing an example once more adds to each final value, positive where it makes the metric better.

        In a batch of the usual size; 0 for an example that no training run saw. In units of the metric a time seen, or,
        where that counts, a unit of step size. Raises ``ResourceError`` where there is too little memory for all pairs.
        """
        tests = self.weights_.shape[2]
        needed = 8 * self.pool_ * tests
        takes = f"{self.name}: influence on each of {tests} test examples takes {gigabytes(needed)} of memory"
        check_memory(takes, needed, free_memory(), "ask about their mean, or one at a time")
        return self._influence(self.weights_[-1])

    def mean_influence(self, tests: Int[np.ndarray, " chosen"]) -> Float[np.ndarray, " pool"]:
        """``influence`` on the mean of some test examples, without an array of all pairs."""
        return self._influence(self.weights_[-1][:, tests].mean(axis=1, keepdims=True))[:, 0]

    def _influence(self, weights: Float[np.ndarray, "run target"]) -> Float[np.ndarray, "pool target"]:
        """What seeing an example once more adds to sums of final values, which have these weights."""
        end = self.learned_exposures().forward(int(self.steps_[-1])).seen
        columns = columns_of(self.batches_, self.pool_)
        result = np.zeros((self.pool_, weights.shape[1]))
        taken = (self.batches_ >= 0).any(axis=2)
        share, each = 1.0, taken.astype(float)
        if not self.presentations_:
            share = presentation_weights(self.batches_, each, self.relative_)[taken].mean()
        result[columns >= 0] = self.sign_ * share * (end.T @ weights)
        return result if self.relative_ is None else result * self.relative_[:, None]

    def state(self) -> Mapping[str, np.ndarray]:
        """Everything in the class's annotations; ``pool`` is its size, ``sign`` 1 where more is better, else -1.

        ``clock`` is as in mean-run.
        """
        return {
            "steps": self.steps_,
            "intercept": self.intercept_,
            "weights": self.weights_,
            "batches": self.batches_,
            "rates": self.rates_,
            "pool": np.array(self.pool_),
            "sign": np.array(self.sign_),
            "presentations": np.array(self.presentations_),
            **({} if self.relative_ is None else {"relative": self.relative_}),
            **clock_arrays(self.clock_),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> Self:
        """Take back what ``state`` gave. Raises ``DataError`` on missing or ill-shaped arrays."""
        missing = [name for name, axes in ARRAYS.items() if name not in state or np.ndim(state[name]) != axes]
        if missing:
            raise DataError(
                f"{self.name}: its array {missing[0]!r} is missing or ill-shaped", "fit it again (gptfl fit)"
            )
        steps, intercept, weights = state["steps"], state["intercept"], state["weights"]
        batches, rates, pool = state["batches"], state["rates"], int(state["pool"])
        functions = len(steps) if self.steps == EVERY else 1
        if (
            len(steps) == 0
            or len(intercept) != len(steps)
            or weights.shape != (functions, len(batches), intercept.shape[1])
            or rates.shape != batches.shape[:2]
            or int(batches.max(initial=-1)) >= pool
        ):
            raise DataError(f"{self.name}: the shapes of its arrays don't agree", "fit it again (gptfl fit)")
        self.steps_, self.intercept_, self.weights_ = steps, intercept, weights
        self.batches_, self.rates_, self.pool_, self.sign_ = batches, rates, pool, int(state["sign"])
        self.clock_ = clock_from(self.name, state)
        self.relative_ = state.get("relative")
        if self.relative_ is not None and self.relative_.shape != (pool,):
            raise DataError(f"{self.name}: its array 'relative' is not of the pool", "fit it again (gptfl fit)")
        if "presentations" in state:
            self.presentations_ = bool(state["presentations"])
            return self
        # Fitted when each place in a batch counted alike: with one size of batch, exposures were so many times as large.
        filled = (batches >= 0).sum(axis=2)
        sizes = np.unique(filled[filled > 0])
        self.presentations_ = len(sizes) > 1
        if len(sizes) == 1:
            self.weights_ = weights * float(sizes[0]) ** 2
        return self


def _stacked(runs: Sequence[Run]) -> tuple[Int[np.ndarray, "run step batch"], Float[np.ndarray, "run step"]]:
    """The curricula of runs in one array each, padded with -1 and 0."""
    longest = max(run.curriculum.steps for run in runs)
    widest = max(run.curriculum.batches.shape[1] for run in runs)
    batches, rates = np.full((len(runs), longest, widest), -1, dtype=np.int64), np.zeros((len(runs), longest))
    for row, run in enumerate(runs):
        steps, width = run.curriculum.batches.shape
        batches[row, :steps, :width] = run.curriculum.batches
        rates[row, :steps] = run.curriculum.learning_rates
    return batches, rates
