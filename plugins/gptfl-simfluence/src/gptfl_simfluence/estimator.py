"""Simfluence (Guu et al., 2023): one free alpha and beta for each training and test example."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Self

import numpy as np
from jaxtyping import Float

from gptfl.plugins import (
    DataError,
    EstimatorTags,
    FitData,
    Prediction,
    Query,
    UsageError,
    number,
    one_of,
    relative_weights,
)
from gptfl_simfluence.descent import Descent
from gptfl_simfluence.recurrence import Intervals, intervals_of, roll_out, usual_batch, usual_interval
from gptfl_simfluence.ridge import Regression, free_running_errors
from gptfl_simfluence.size import memory_needed, told_size

RIDGE, GRADIENT = "ridge", "gradient"
STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)
LONE_STRENGTH = 1.0
FOLDS = 4


class Simfluence:
    """phi_t = (1 + sum of alpha over the batch) phi_{t-1} + sum of beta over the batch.

    What is trained is the mean over a batch: in one of another size than usual each example counts by the usual size
    over its own.

    ``form`` is ``linear``, ``additive`` (alpha is 0) or ``multiplicative`` (beta is 0).
    ``fit`` is ``ridge``, the closed form, or ``gradient``, Adam on the same errors as in the paper. ``strength`` is
    the ridge's weight relative to how often the average example was seen; None chooses it. The others are the
    gradient fit's: ``epochs`` at most (with 0 nothing ever changes), ``learning_rate``, ``weight_decay`` and
    ``batch_size``, how many recorded intervals a step of Adam takes. A pool example that no fitted run has seen
    changes nothing.
    """

    tags = EstimatorTags(ignores={"learning rates"})
    notes_: tuple[str, ...] = ()

    def __init__(
        self,
        form: str = "linear",
        strength: float | None = None,
        fit: str = RIDGE,
        epochs: int | None = None,
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        batch_size: int | None = None,
    ) -> None:
        self.name = f"simfluence-{form}"
        self.form = form
        who = f"estimator {self.name}"
        self.how = one_of(who, "fit", fit, (RIDGE, GRADIENT))
        given = {
            "epochs": epochs, "learning_rate": learning_rate, "weight_decay": weight_decay, "batch_size": batch_size
        }  # fmt: skip
        for setting, value in ({"strength": strength} if self.how == GRADIENT else given).items():
            if value is not None:
                other = RIDGE if self.how == GRADIENT else GRADIENT
                raise UsageError(
                    f"{who}: {setting} is {value}, but fit is {self.how}", f"set fit={other} or leave it out"
                )
        self.strength = None if strength is None else number(who, "strength", strength, positive=True)
        self.descent = Descent.of(who, **given)

    def settings(self) -> Mapping[str, Any]:
        """The settings of the form's factory; those of the fit that isn't used are None."""
        descent = asdict(self.descent)
        return {
            "strength": self.strength,
            "fit": self.how,
            **(descent if self.how == GRADIENT else dict.fromkeys(descent)),
        }

    def fit(self, data: FitData) -> Self:
        """Find alpha and beta in the way chosen. Raises ``DataError`` if no run has two recorded steps."""
        self.batch_ = usual_batch(data.fit_runs) if data.fit_runs else None
        self.relative_ = relative_weights(data.pool)
        size = self._size(data)
        runs = [intervals_of(data, run, self.batch_) for run in data.fit_runs]
        if not sum(len(run.counts) for run in runs):
            raise DataError(f"{self.name} has no recorded run to learn from", "record runs with at least two steps")
        validation = [intervals_of(data, run, self.batch_) for run in data.validation_runs]
        self.notes_ = ()
        if self.how == GRADIENT:
            self._descend(data, runs, validation)
        else:
            self._solve(data, runs, validation)
        self.notes_ += size
        self.exposures_ = sum(run.counts.sum(axis=0) for run in runs)
        self.interval_ = usual_interval(data.fit_runs)
        return self

    def _size(self, data: FitData) -> tuple[str, ...]:
        """How much memory a fit takes, where that is much. Raises ``ResourceError`` where more is needed than is free."""
        unknowns, gradient = 2 if self.form == "linear" else 1, self.how == GRADIENT
        groups = 1 if data.validation_runs or self.strength else min(FOLDS, len(data.fit_runs))
        strengths = self._candidates(comparable=bool(data.validation_runs) or groups > 1)
        needed = memory_needed(data, len(strengths), groups, unknowns, gradient)
        other = "" if gradient else f"give {self.name} fit={GRADIENT}, which solves no equations, "
        remedy = f"{other or 'ask of fewer examples '}or take an estimator that reads vectors, such as exposure-gp"
        return told_size(self.name, data, needed, remedy)

    def _descend(self, data: FitData, runs: list[Intervals], validation: list[Intervals]) -> None:
        """By gradients; torch is imported only here."""
        from gptfl_simfluence.gradient import descend

        how = self.descent

        def report(epoch: int, error: float) -> None:
            note = f"validation all-steps MSE {error:.4g}" if validation else ""
            data.progress(f"fit {self.name}", epoch, how.epochs, note)

        found = descend(runs, validation, self.form, how, data.seed, report)
        data.progress(f"fit {self.name}", how.epochs, how.epochs)
        self.alpha_, self.beta_, self.strength_ = found.alpha, found.beta, math.nan
        if found.best < found.epochs:
            self.notes_ = (f"{self.name} is taken from epoch {found.best}, the best of {found.epochs} on validation",)
        elif validation and how.epochs:
            self.notes_ = (f"{self.name} was still improving at its last epoch, {how.epochs}: try more epochs",)

    def _solve(self, data: FitData, runs: list[Intervals], validation: list[Intervals]) -> None:
        """One ridge regression a test example."""
        groups = [runs] if validation or self.strength else _folds(runs)
        strengths = self._candidates(comparable=bool(validation) or len(groups) > 1)
        usual = float(sum((run.counts**2).sum(axis=0) for run in runs).mean())
        weights = [strength * (usual or 1.0) for strength in strengths]
        found = np.zeros((len(strengths), 2, len(data.pool), len(data.test)))
        errors = np.zeros(len(strengths))
        for test in range(len(data.test)):
            regression = Regression(groups, test, self.form)
            solved = np.array([regression.solve(weight) for weight in weights])
            found[:, :, :, test] = solved
            if validation:
                errors += free_running_errors(validation, test, solved[:, 0], solved[:, 1])
            elif len(strengths) > 1:
                errors += _left_out_errors(regression, weights, groups, test)
            data.progress(f"fit {self.name}", test + 1, len(data.test))
        best = int(np.argmin(errors))
        self.strength_ = strengths[best]
        self.alpha_, self.beta_ = found[best].copy()

    def _candidates(self, comparable: bool) -> tuple[float, ...]:
        if self.strength is not None:
            return (self.strength,)
        return STRENGTHS if comparable else (LONE_STRENGTH,)

    def predict(self, query: Query) -> Prediction:
        """Roll every curriculum forward from its first values. Raises ``DataError`` for unknown examples."""
        pool, tests = self.alpha_.shape
        if query.first.shape[1] != tests:
            raise DataError(
                f"{self.name} was fitted on {tests} test examples, asked about {query.first.shape[1]}",
                "ask about the recording it was fitted on; it knows no other test examples",
            )
        highest = int(query.batches.max(initial=-1))
        if highest >= pool:
            raise DataError(
                f"{self.name} was fitted on a pool of {pool}, asked about example number {highest}",
                "ask about the recording it was fitted on; it knows no other examples",
            )
        with np.errstate(over="ignore", invalid="ignore"):
            values = roll_out(query, self.interval_, self.alpha_, self.beta_, self.batch_, self.relative_)
        if np.isinf(values).any() or np.isnan(values).sum() > np.isnan(query.first).sum() * len(query.steps):
            raise DataError(
                f"a roll-out of {self.name} leaves all bounds", "ask for fewer steps, or fit with more strength"
            )
        return Prediction(values)

    def flops(self, query: Query) -> float:
        """Adding up A and B of every example seen, then a multiplication and an addition a recorded step."""
        runs, tests = (float(size) for size in query.first.shape)
        return tests * (2.0 * float((query.batches >= 0).sum()) + 2.0 * runs * (len(query.steps) - 1))

    def state(self) -> Mapping[str, np.ndarray]:
        """Alpha and beta, the steps of one interval, the strength taken (NaN by gradients), each example's count.

        ``batch`` is how many examples a batch usually holds.
        """
        return {
            "alpha": self.alpha_,
            "beta": self.beta_,
            "interval": np.array(self.interval_),
            "strength": np.array(self.strength_),
            "exposures": self.exposures_,
            **({} if self.batch_ is None else {"batch": np.array(self.batch_)}),
            **({} if self.relative_ is None else {"relative": self.relative_}),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> Self:
        """Take back what ``state`` gave. Raises ``DataError`` on missing or ill-shaped arrays."""
        missing = {"alpha", "beta", "interval", "strength", "exposures"} - set(state)
        if missing:
            raise DataError(f"a {self.name} simulator lacks {', '.join(sorted(missing))}", "fit it again")
        alpha, beta = state["alpha"], state["beta"]
        fits = alpha.ndim == 2 and alpha.shape == beta.shape and state["exposures"].shape == alpha.shape[:1]
        scalars = state["interval"].shape == state["strength"].shape == () and int(state["interval"]) > 0
        if not fits or not scalars:
            raise DataError(f"the arrays of a {self.name} simulator do not fit each other", "fit it again")
        self.alpha_, self.beta_, self.exposures_ = alpha, beta, state["exposures"]
        self.interval_, self.strength_ = int(state["interval"]), float(state["strength"])
        # Without it, the simulator is from before examples counted by their share of a batch.
        self.batch_ = int(state["batch"]) if "batch" in state else None
        self.relative_ = state.get("relative")
        if self.relative_ is not None and self.relative_.shape != alpha.shape[:1]:
            raise DataError(f"the arrays of a {self.name} simulator do not fit each other", "fit it again")
        if self.batch_ is not None and self.batch_ < 1:
            raise DataError(f"the usual batch of a {self.name} simulator is {self.batch_}", "fit it again")
        return self


def _folds(runs: Sequence[Intervals]) -> list[list[Intervals]]:
    """The runs in as many as four groups, dealt in turn."""
    count = min(FOLDS, len(runs))
    return [list(runs[start::count]) for start in range(count)]


def _left_out_errors(
    regression: Regression, weights: Sequence[float], groups: Sequence[Sequence[Intervals]], test: int
) -> Float[np.ndarray, " candidate"]:
    """Sum of squared errors of one test example over all groups, each predicted from the others."""
    total = np.zeros(len(weights))
    for left_out, runs in enumerate(groups):
        solved = np.array([regression.solve(weight, left_out) for weight in weights])
        total += free_running_errors(runs, test, solved[:, 0], solved[:, 1])
    return total
