"""The paper's simulator: an n-order Markov recurrence whose factors come from example vectors."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from gptfl import settings
from gptfl.builtin.vectors import Standard, chosen_set
from gptfl.errors import DataError
from gptfl.records import FitData, Prediction, Query, Run, Unseen
from gptfl.simulator.intervals import interval_counts, join, modal_size
from gptfl.simulator.numerics import flushed_denormals, one_thread
from gptfl.simulator.projection import Form, fresh, uninformed
from gptfl.simulator.recurrence import rollout
from gptfl.simulator.start import start
from gptfl.simulator.training import (
    Fitted,
    FreeRunning,
    Rows,
    Schedule,
    Sides,
    Trajectory,
    fit,
    parts_within,
    teacher_rows,
)

PACE = 0.005
"""The learning rate is this over the number of inputs: a step then moves a factor alike, however many there are."""
SMALL = 10_000_000
"""Multiplications in the largest matrix product of a fit below which it runs on one thread."""
MOST_ORDER, MOST_WIDTH = 64, 65_536
"""Beyond these a fit fills the memory of most machines before it learns anything."""
STARTS: Mapping[str, Callable[[Sides, Sequence[Rows], int, torch.Generator], dict[str, Tensor]]] = {
    "average": start,
    "persistence": lambda sides, parts, modal, random: fresh(sides.form, modal, random),
    "random": lambda sides, parts, modal, random: uninformed(sides.form, random),
}
SETTINGS = (
    "order",
    "projection",
    "shared",
    "width",
    "weight_decay",
    "learning_rate",
    "epochs",
    "patience",
    "feature_set",
    "start",
)


class GPTfluence:
    """phi_t(z') = sum_j alpha_j(c_t, z') phi_{t-j}(z') + beta(c_t, z') (Chai et al., 2024, arXiv 2404.07840).

    A factor is the sum over the batch of <P(h_i), Q(h')>, where h are the vectors of ``featurize``, centred
    on the pool and divided by one number, their root mean square.

    ``order``: n, how many earlier scores the next one depends on. In the first n - 1 steps, where fewer are known,
    the first score stands for those before it, in the fit and in the roll-out alike; nothing is padded with zeros.
    ``projection``: "mlp" (Linear-ReLU-Linear, as in the paper's public code) or "linear" (an affine map).
    ``shared``: whether the training side and the test side share P = Q, as in the paper's public code. Apart,
    as in the paper's equations, is the default: a shared map gives an example a positive effect on whatever
    resembles it, and fits worse.
    ``width``: of the projections; that of the vectors unless given.
    ``weight_decay``: lambda of the paper's lambda * ||parameters||^2, added to the mean squared error.
    ``learning_rate``: of Adam, which takes one step an epoch, over the whole recording; 0.005 over the number of
    a vector's entries unless given. It rises over 20 epochs, then falls linearly to 0.
    ``epochs``, ``patience``: an upper bound, and how many may pass without the roll-out of the validation runs
    gaining 0.5 %.
    ``start``: where the fit begins. "average", each test example's average recurrence, found in closed form;
    "persistence", small random parameters around "nothing changes"; "random", PyTorch's own filling of a linear
    layer, as in the paper's public code.
    ``feature_set``: which of the features' named sets to use; needed only where there are several.

    The metric is divided by its root mean square for the fit (alpha stays as it is, beta scales along), so
    that settings mean the same for a loss near 1 and a BLEU near 50. Predictions are not clipped to the
    metric's range: the paper's form is not. Learning rates are not looked at. Where recorded points lie
    several steps apart, one step of the recurrence goes from one to the next and the batch is all examples in
    between; where it holds another number of examples than usual, alpha is scaled by usual / number. Runs may begin
    at any step: before a run's first score the history repeats it.

    Examples that it wasn't fitted to are projected from their own vectors.
    """

    name = "gptfluence"
    requires = frozenset({"features"})
    prefers = ("minilm", "causal-lm", "tfidf-svd", "answer-state")
    generalises = frozenset({"train", "test"})
    ignores = frozenset({"learning rates"})
    """What a query may hold that doesn't change the answer."""

    def __init__(
        self,
        *,
        order: int = 1,
        projection: str = "mlp",
        shared: bool = False,
        width: int | None = None,
        weight_decay: float = 1e-5,
        learning_rate: float | None = None,
        epochs: int = 2000,
        patience: int = 300,
        feature_set: str | None = None,
        start: str = "average",
    ) -> None:
        who = f"estimator {self.name}"
        self.order = settings.whole(who, "order", order, 1, MOST_ORDER)
        self.projection = settings.one_of(who, "projection", projection, ("mlp", "linear"))
        self.shared = settings.flag(who, "shared", shared)
        self.width = None if width is None else settings.whole(who, "width", width, 1, MOST_WIDTH)
        self.weight_decay = settings.number(who, "weight_decay", weight_decay, low=0)
        self.learning_rate = (
            None if learning_rate is None else settings.number(who, "learning_rate", learning_rate, positive=True)
        )
        self.epochs = settings.whole(who, "epochs", epochs, low=0)
        self.patience = settings.whole(who, "patience", patience, low=1)
        self.feature_set = None if feature_set is None else settings.text(who, "feature_set", feature_set)
        self.start = settings.one_of(who, "start", start, tuple(STARTS))
        self.notes_: list[str] = []
        self.standard_: Standard | None = None

    def settings(self) -> Mapping[str, Any]:
        """Every setting, as given or by default."""
        return {name: getattr(self, name) for name in SETTINGS}

    def fit(self, data: FitData) -> Self:
        """Learn the projections from the runs to fit and stop by the validation runs.

        Without a validation run, the last run to fit is held out for stopping (the only one serves for
        both); ``notes_`` says so. Learns ``parameters_``, ``sides_``, ``standard_``, ``scale_``, ``modal_`` and
        ``checks_``, the (epoch, validation MSE) pairs. Raises ``DataError`` where there is nothing to
        learn from.
        """
        self.notes_ = []
        vectors = chosen_set(data.features, self.feature_set, len(data.pool), len(data.test))
        fit_runs, validation_runs = self._split(data)
        pool = len(vectors.train)
        counts = join([interval_counts(run.batches[None], run.steps, pool) for run in fit_runs])
        self.modal_ = modal_size(counts)
        seen = np.concatenate([run.values[np.isfinite(run.values)] for run in fit_runs])
        self.scale_ = float(np.float32(np.sqrt(np.mean(np.square(seen, dtype=np.float64))))) or 1.0
        fit_runs, validation_runs = (scaled(runs, 1 / self.scale_) for runs in (fit_runs, validation_runs))
        self.standard_ = Standard.of_pool(vectors.train)
        self.sides_ = self._sides(self.standard_(vectors.train), self.standard_(vectors.test))
        form = self.sides_.form
        with flushed_denormals(), one_thread((pool + len(vectors.test)) * form.inputs * form.width < SMALL):
            fitted = self._train(fit_runs, validation_runs, data)
        self.parameters_, self.checks_ = fitted.parameters, fitted.checks
        return self

    def _split(self, data: FitData) -> tuple[list[Trajectory], list[Trajectory]]:
        """The runs to fit and those to stop by; what is chosen for want of validation runs goes to notes_."""
        fit_runs = [(run.index, kept) for run in data.fit_runs if (kept := recorded(run, data)) is not None]
        validation = [kept for run in data.validation_runs if (kept := recorded(run, data)) is not None]
        validation = [run for run in validation if np.isfinite(run.values[1:, np.isfinite(run.values[0])]).any()]
        if not fit_runs:
            raise DataError(
                f"no run to fit has {data.metric.name!r} recorded at two steps", "record more runs or more steps"
            )
        if validation:
            return [run for _, run in fit_runs], validation
        # Pieces of one run share its index.
        last = fit_runs[-1][0]
        rest, held = ([run for index, run in fit_runs if (index == last) == side] for side in (False, True))
        if not rest:
            self.notes_.append("no validation run: gptfluence stopped by the only run it was fitted to")
            return held, held
        self.notes_.append("no validation run: gptfluence held out the last run to fit and stopped by it")
        return rest, held

    def _train(self, fit_runs: Sequence[Trajectory], validation: Sequence[Trajectory], data: FitData) -> Fitted:
        pool = len(self.sides_.train)

        def on_check(epoch: int, error: float) -> None:
            error *= self.scale_**2
            data.progress("fit gptfluence", epoch, self.epochs, f"validation all-steps MSE {error:.4g}")

        parts = [teacher_rows(part, self.order, self.modal_, pool) for part in parts_within(fit_runs, self.order)]
        fitted = fit(
            self.sides_,
            parts,
            FreeRunning(validation, self.modal_, pool),
            Schedule(
                self.learning_rate or PACE / self.sides_.form.inputs, self.weight_decay, self.epochs, self.patience
            ),
            STARTS[self.start](self.sides_, parts, self.modal_, torch.Generator().manual_seed(data.seed)),
            on_check,
        )
        stopped = fitted.checks[-1][0]
        if stopped < self.epochs:
            data.progress("fit gptfluence", stopped, stopped, "stopped early")
        if fitted.gained == self.epochs:
            self.notes_.append(f"gptfluence was still improving at its last epoch, {self.epochs}: try more epochs")
        return Fitted(fitted.parameters, fitted.gained, [(at, mse * self.scale_**2) for at, mse in fitted.checks])

    def predict(self, query: Query) -> Prediction:
        """Roll every curriculum forward from its first scores; can go past the recorded horizon.

        One step of the recurrence goes from one asked step to the next, so a query should ask for steps
        as far apart as the recorded ones: a finer or coarser grid is another roll-out, with other values.

        Raises ``DataError`` before a fit, on batches or first scores that don't fit the pool or the test
        examples, for unseen examples without vectors, and where a roll-out leaves the range of numbers.
        """
        if not hasattr(self, "parameters_"):
            raise DataError("gptfluence isn't fitted", "call fit or restore first")
        sides = self.sides_ if query.unseen is None else self._asked(query.unseen)
        with torch.inference_mode():
            train, test = sides.project(self.parameters_)
        values = rollout(train, test, query.batches, query.steps, query.first / self.scale_, self.modal_)
        values *= self.scale_
        values[:, 0] = query.first
        return Prediction(values)

    def _asked(self, asked: Unseen) -> Sides:
        if self.standard_ is None:
            raise DataError(
                "this gptfluence simulator was fitted before there were unseen examples and can't place their vectors",
                "run gptfl fit again",
            )
        vectors = chosen_set(asked.features, self.feature_set, len(asked.pool), len(asked.test))
        train = self.standard_.beside(self.sides_.train, vectors.train, asked.pool_seen)
        return replace(
            self.sides_, train=train, test=self.standard_.beside(self.sides_.test, vectors.test, asked.test_seen)
        )

    def state(self) -> Mapping[str, np.ndarray]:
        """Parameters, standardised vectors, the metric's scale and the modal batch, as float32 arrays.

        The mean and the scale of the pool's vectors, in double precision, place those of other examples.
        """
        if not hasattr(self, "parameters_"):
            raise DataError("gptfluence isn't fitted", "call fit or restore first")
        return {
            **{name: value.numpy() for name, value in self.parameters_.items()},
            "vectors.train": self.sides_.train.numpy(),
            "vectors.test": self.sides_.test.numpy(),
            "scale": np.array(self.scale_, dtype=np.float32),
            "modal": np.array(self.modal_, dtype=np.float32),
            **(
                {}
                if self.standard_ is None
                else {"vectors.mean": self.standard_.mean, "vectors.scale": np.array(self.standard_.scale)}
            ),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> Self:
        """Take back what ``state`` gave. Raises ``DataError`` on missing, ill-shaped or non-finite arrays."""
        sides = self._sides(array_of(state, "vectors.train", 2), array_of(state, "vectors.test", 2))
        parameters = {}
        for name, shape in sides.form.shapes().items():
            parameters[name] = array_of(state, name, len(shape))
            if tuple(parameters[name].shape) != shape:
                raise DataError(
                    f"gptfluence's array {name!r} is {tuple(parameters[name].shape)}, not {shape}",
                    "fit the simulator again",
                )
        scale, modal = (float(array_of(state, name, 0)) for name in ("scale", "modal"))
        if scale <= 0 or modal < 1 or modal != int(modal):
            raise DataError(f"gptfluence's scale {scale} or modal batch {modal} is out of range", "fit it again")
        self.sides_, self.parameters_, self.scale_, self.modal_ = sides, parameters, scale, int(modal)
        self.standard_ = standard_of(state, sides.form.inputs)
        return self

    def _sides(self, train: Tensor, test: Tensor) -> Sides:
        if train.shape[1] != test.shape[1]:
            raise DataError(f"vectors of {train.shape[1]} and {test.shape[1]} numbers don't match", "featurize again")
        inputs = train.shape[1]
        form = Form(self.order + 1, self.projection, self.shared, inputs, self.width or inputs)
        return Sides(form, train, test)


def recorded(run: Run, data: FitData) -> Trajectory | None:
    """The run at those steps at which the metric was recorded at all; None where these are fewer than two."""
    values = data.recorded(run)
    there = np.isfinite(values).any(axis=1)
    if there.sum() < 2:
        return None
    return Trajectory(run.curriculum.batches, run.steps[there], values[there])


def scaled(runs: Sequence[Trajectory], factor: float) -> list[Trajectory]:
    """The same runs with every value multiplied."""
    return [replace(run, values=run.values * factor) for run in runs]


def array_of(state: Mapping[str, np.ndarray], name: str, ndim: int) -> Tensor:
    """One array of a state as float32. Raises ``DataError`` where it is missing or not an array of numbers."""
    if name not in state:
        raise DataError(f"gptfluence's state lacks array {name!r}", "fit the simulator again")
    found = np.asarray(state[name])
    if found.ndim != ndim or found.dtype.kind != "f" or not np.isfinite(found).all():
        raise DataError(
            f"gptfluence's array {name!r} is not a finite {ndim}-dimensional array of numbers",
            "fit the simulator again",
        )
    return torch.from_numpy(np.array(found, dtype=np.float32))


def standard_of(state: Mapping[str, np.ndarray], inputs: int) -> Standard | None:
    """Where vectors lay before they were standardised; None for a simulator from before that was kept."""
    if "vectors.mean" not in state and "vectors.scale" not in state:
        return None
    for name, ndim in (("vectors.mean", 1), ("vectors.scale", 0)):
        array_of(state, name, ndim)
    mean, scale = np.asarray(state["vectors.mean"], dtype=np.float64), float(state["vectors.scale"])
    if len(mean) != inputs or scale <= 0:
        raise DataError("gptfluence's vectors.mean and vectors.scale don't fit its vectors", "fit the simulator again")
    return Standard(mean, scale)
