"""The paper's simulator: an n-order Markov recurrence whose factors come from example vectors."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from gptfl.core import Features, FitData, Prediction, Query, Unseen
from gptfl.core.blocked_rows import Elsewhere
from gptfl.core.examples import relative_weights
from gptfl.errors import DataError
from gptfl.estimators.baselines import clock_arrays, clock_from, clock_of, training_runs
from gptfl.estimators.clock import Clock
from gptfl.estimators.gptfluence.asked import AskedRuns, asked_of
from gptfl.estimators.gptfluence.batches import interval_counts, join, modal_size, usual_batch
from gptfl.estimators.gptfluence.initialisation import STARTS
from gptfl.estimators.gptfluence.mean_run import MeanTrajectory, mean_exposure
from gptfl.estimators.gptfluence.numerics import flushed_denormals, one_thread
from gptfl.estimators.gptfluence.pool_rows import PoolRows, standardised
from gptfl.estimators.gptfluence.projection import Form
from gptfl.estimators.gptfluence.replacements import Replacements, replacements_of
from gptfl.estimators.gptfluence.sides import StreamedSides, VectorSides, asked_sides
from gptfl.estimators.gptfluence.state import (
    array_of,
    course_arrays,
    course_of,
    law_of,
    parameters_of,
    pool_arrays,
    pool_of,
    standard_arrays,
    standards_of,
)
from gptfl.estimators.gptfluence.training import (
    FreeRunning,
    Schedule,
    TrainedRecurrence,
    fit,
    in_reach,
    parts_within,
    teacher_rows,
)
from gptfl.estimators.gptfluence.trajectory import Trajectory, divided_runs, scaled
from gptfl.estimators.gptfluence.update_rule import UpdateRule, mean_rate
from gptfl.estimators.gptfluence.vectors import Standard, check_beside, chosen_set, standards
from gptfl.estimators.gptfluence.windows import cut_windows
from gptfl.plugins import settings
from gptfl.plugins.interfaces import EstimatorTags

PACE = 0.005
"""The learning rate is this over the number of inputs: a step then moves a factor alike, however many there are."""
SMALL = 10_000_000
"""Multiplications in the largest matrix product of a fit below which it runs on one thread."""
MOST_ORDER, MOST_WIDTH = 64, 65_536
"""Beyond these a fit fills the memory of most machines before it learns anything."""
WHOLE = "all"
"""The value of ``rollout`` that rolls out the whole of each run."""
NOTHING, MEAN_RUN = "nothing", "mean-run"
"""The values of ``around``."""
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
    "anchored",
    "step_size",
    "rollout",
    "around",
)


class GPTfluence:
    """phi_t(z') = sum_j alpha_j(c_t, z') phi_{t-j}(z') + beta(c_t, z') (Chai et al., 2024, arXiv 2404.07840).

    A factor is the sum over the batch of <P(h_i), Q(h')>, where h are the vectors of ``featurize``, centred
    on the pool and divided by one number, their root mean square (gradients: each side by its own). What is trained is
    the mean over a batch: in one of another size than usual each example counts by the usual size over its own.

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

    Four settings leave the paper's form, and combine:

    ``anchored``: the factors say what an example changes, phi_t = phi_{t-1} + sum_j alpha_j phi_{t-j} + beta, so that
    ``weight_decay`` draws to "nothing changes"; intervals of more or fewer steps than usual change more or less.
    ``step_size``: what a step changes is multiplied by its learning rate over the mean one of the runs to fit.
    ``rollout``: K, how many recorded steps are rolled out from a recorded score before their errors count. Runs are cut
    into such windows, one after another; "all" rolls out the whole of each run. 1 is the paper's objective.
    ``around``: "mean-run" has the recurrence predict how a run deviates from the average one, which it repeats
    exactly for the average batches; it then knows nothing beyond the recorded horizon. A run of other step sizes is held
    against the average one where its step sizes had added up to as much. See ``MeanTrajectory`` and ``Clock``.

    The metric is divided by its root mean square for the fit (alpha stays as it is, beta scales along), so
    that settings mean the same for a loss near 1 and a BLEU near 50. Predictions are not clipped to the
    metric's range: the paper's form is not. Learning rates are not looked at without ``step_size`` or ``around``. Where recorded points lie
    several steps apart, one step of the recurrence goes from one to the next and the batch is all examples in
    between; where it counts for another number of examples than usual, alpha is scaled by usual / number. Runs may begin
    at any step: before a run's first score the history repeats it.

    Examples that it wasn't fitted to are projected from their own vectors.
    """

    name = "gptfluence"
    tags = EstimatorTags(
        requires={"features"},
        unseen={"train", "test"},
        prefers=("minilm", "causal-lm", "tfidf-svd", "answer-state"),
        blocks=True,
    )

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
        anchored: bool = False,
        step_size: bool = False,
        rollout: int | str = 1,
        around: str = NOTHING,
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
        self.anchored = settings.flag(who, "anchored", anchored)
        self.step_size = settings.flag(who, "step_size", step_size)
        self.rollout = rollout if rollout == WHOLE else settings.whole(who, "rollout", rollout, 1, also=WHOLE)
        self.around = settings.one_of(who, "around", around, (NOTHING, MEAN_RUN))
        uses_rates = self.step_size or self.around == MEAN_RUN
        self.tags = replace(type(self).tags, ignores=set() if uses_rates else {"learning rates"})
        self.notes_: list[str] = []
        self.standards_: tuple[Standard, Standard] | None = None
        self.course_: tuple[MeanTrajectory, Tensor] | None = None
        self.clock_: Clock | None = None

    def settings(self) -> Mapping[str, Any]:
        """Every setting, as given or by default."""
        return {name: getattr(self, name) for name in SETTINGS}

    def fit(self, data: FitData) -> Self:
        """Learn the projections from the runs to fit and stop by the validation runs.

        Without a validation run, the last run to fit is held out for stopping (the only one serves for
        both); ``notes_`` says so. Learns ``parameters_``, ``sides_``, ``standards_``, ``scale_``, ``law_``, ``course_`` and
        ``checks_``, the (epoch, validation MSE) pairs. Raises ``DataError`` where there is nothing to
        learn from.
        """
        vectors = chosen_set(data.features, self.feature_set, len(data.pool), len(data.test))
        fit_runs, validation_runs, self.notes_ = divided_runs(data)
        pool = len(vectors.train)
        batch = usual_batch([run.batches[int(run.steps[0]) : int(run.steps[-1])] for run in fit_runs])
        counts = join([interval_counts(run.batches[None], run.steps, pool, None, batch) for run in fit_runs])
        rate = None
        if self.step_size:
            rates = [np.asarray(run.rates) for run in fit_runs]
            rate = mean_rate([run.batches for run in fit_runs], rates, [run.steps for run in fit_runs])
        self.law_ = UpdateRule(modal_size(counts), self.anchored, rate, batch, relative_weights(data.pool))
        seen = np.concatenate([run.values[np.isfinite(run.values)] for run in fit_runs])
        self.scale_ = float(np.float32(np.sqrt(np.mean(np.square(seen, dtype=np.float64))))) or 1.0
        fit_runs, validation_runs = (scaled(runs, 1 / self.scale_) for runs in (fit_runs, validation_runs))
        self.standards_ = standards(vectors)
        self.sides_ = self._sides(standardised(vectors.train, self.standards_[0]), self.standards_[1](vectors.test))
        form = self.sides_.form
        with flushed_denormals(), one_thread((pool + len(vectors.test)) * form.inputs * form.width < SMALL):
            fitted = self._train(fit_runs, validation_runs, data)
        self.parameters_, self.checks_ = fitted.parameters, fitted.checks
        return self

    def _train(
        self, fit_runs: Sequence[Trajectory], validation: Sequence[Trajectory], data: FitData
    ) -> TrainedRecurrence:
        pool = len(self.sides_.train)

        # A mean over the validation runs as well would tell the sum of their deviations to the fit.
        charted = mean_exposure(fit_runs, self.law_, pool) if self.around == MEAN_RUN else None
        every = [*fit_runs, *validation]
        if charted is not None:
            fit_runs, validation = (charted.course.within(runs) for runs in (fit_runs, validation))

        def on_check(epoch: int, error: float) -> None:
            error *= self.scale_**2
            data.progress("fit gptfluence", epoch, self.epochs, f"validation all-steps MSE {error:.4g}")

        split = parts_within(fit_runs, self.order)
        rows = [teacher_rows(part, self.order, self.law_, pool) for part in split]
        random = torch.Generator().manual_seed(data.seed)
        # Around the mean run, what runs share is known already, and a fit begins where they don't deviate.
        begin = "persistence" if charted and self.start == "average" else self.start
        length = None if self.rollout == WHOLE else int(self.rollout)
        paper = self.rollout == 1 and charted is None
        cut = [] if paper else [cut_windows(part, self.order, self.law_, pool, length) for part in split]
        free = FreeRunning(validation, self.law_, pool, charted)
        parameters = STARTS[begin](self.sides_, rows, self.law_, random)
        sides, parts = in_reach(self.sides_, rows if paper else cut, free)
        fitted = fit(
            sides,
            parts,
            free,
            Schedule(
                self.learning_rate or PACE / self.sides_.form.inputs, self.weight_decay, self.epochs, self.patience
            ),
            parameters,
            on_check,
        )
        if charted is not None:
            with torch.inference_mode():
                whole = mean_exposure(every, self.law_, pool)
                self.course_ = whole.course, whole.sums(self.sides_.project(fitted.parameters)[0])
            self.clock_ = clock_of(training_runs(data))
        stopped = fitted.checks[-1][0]
        if stopped < self.epochs:
            data.progress("fit gptfluence", stopped, stopped, "stopped early")
        if fitted.gained == self.epochs:
            self.notes_.append(f"gptfluence was still improving at its last epoch, {self.epochs}: try more epochs")
        return TrainedRecurrence(
            fitted.parameters, fitted.gained, [(at, mse * self.scale_**2) for at, mse in fitted.checks]
        )

    def predict(self, query: Query) -> Prediction:
        """Roll every curriculum forward from its first scores; can go past the recorded horizon.

        One step of the recurrence goes from one asked step to the next, so a query should ask for steps
        as far apart as the recorded ones: a finer or coarser grid is another roll-out, with other values.

        Raises ``DataError`` before a fit, on batches or first scores that don't fit the pool or the test
        examples, for unseen examples without vectors, and where a roll-out leaves the range of numbers.
        """
        return Prediction(self._asked(query).values())

    def replacement_form(self, query: Query, replaced: Int[np.ndarray, " run"]) -> Replacements | None:
        """Where a query's runs end with others in the places of an example of each (``optional.HasReplacementForm``).

        Raises ``DataError`` as ``predict`` does.
        """
        return replacements_of(self._asked(query), replaced)

    def _asked(self, query: Query) -> AskedRuns:
        if not hasattr(self, "parameters_"):
            raise DataError("gptfluence isn't fitted", "call fit or restore first")
        sides = self.sides_ if query.unseen is None else self._sides_of(query.unseen)
        return asked_of(query, sides, self.parameters_, self.law_, self.scale_, self.course_, self.clock_)

    def _sides_of(self, unseen: Unseen) -> VectorSides | StreamedSides:
        if self.standards_ is None:
            raise DataError(
                "this gptfluence simulator was fitted before there were unseen examples and can't place their vectors",
                "run gptfl fit again",
            )
        vectors = chosen_set(unseen.features, self.feature_set, len(unseen.pool), len(unseen.test))
        return asked_sides(self.sides_, self.standards_, vectors, unseen)

    @property
    def lacks_vectors(self) -> bool:
        """Whether it was restored without the vectors of the pool."""
        train = self.sides_.train if hasattr(self, "sides_") else None
        return isinstance(train, PoolRows) and isinstance(train.rows, Elsewhere)

    def use_vectors(self, features: Features) -> None:
        """Take the vectors of the pool that it was fitted to. Raises ``DataError`` where they aren't of these examples."""
        assert self.standards_ is not None  # a state without vectors has them
        vectors = chosen_set(features, self.feature_set, len(self.sides_.train), len(self.sides_.test))
        check_beside(self.sides_.train.shape, vectors.train.shape[1], np.zeros(0, np.int64))
        self.sides_ = StreamedSides(self.sides_.form, PoolRows(vectors.train, self.standards_[0]), self.sides_.test)

    def state(self) -> Mapping[str, np.ndarray]:
        """Parameters, standardised vectors, the metric's scale and the modal batch, as float32 arrays.

        The mean and the scale of the pool's vectors, in double precision, place those of other examples.
        """
        if not hasattr(self, "parameters_"):
            raise DataError("gptfluence isn't fitted", "call fit or restore first")
        return {
            **{name: value.numpy() for name, value in self.parameters_.items()},
            **pool_arrays(self.sides_.train),
            "vectors.test": self.sides_.test.numpy(),
            "scale": np.array(self.scale_, dtype=np.float32),
            "modal": np.array(self.law_.modal, dtype=np.float32),
            **({} if self.law_.batch is None else {"batch": np.array(self.law_.batch, dtype=np.float32)}),
            **({} if self.law_.relative is None else {"relative": self.law_.relative}),
            **({} if self.law_.rate is None else {"rate": np.array(self.law_.rate, dtype=np.float32)}),
            **({} if self.course_ is None else {**course_arrays(*self.course_), **clock_arrays(self.clock_)}),
            **({} if self.standards_ is None else standard_arrays(*self.standards_)),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> Self:
        """Take back what ``state`` gave. Raises ``DataError`` on missing, ill-shaped or non-finite arrays."""
        test = array_of(state, "vectors.test", 2)
        sides = self._sides(pool_of(state, test.shape[1]), test)
        parameters = parameters_of(state, sides.form)
        scale, law = law_of(state, self.anchored, self.step_size, len(sides.train))
        self.course_ = course_of(state, sides.form, len(sides.test)) if self.around == MEAN_RUN else None
        self.clock_ = clock_from(self.name, state) if self.around == MEAN_RUN else None
        self.sides_, self.parameters_, self.scale_, self.law_ = sides, parameters, scale, law
        self.standards_ = standards_of(state, sides.form.inputs)
        return self

    def _sides(self, train: Tensor | PoolRows, test: Tensor) -> VectorSides | StreamedSides:
        if train.shape[1] != test.shape[1]:
            raise DataError(f"vectors of {train.shape[1]} and {test.shape[1]} numbers don't match", "featurize again")
        inputs = train.shape[1]
        form = Form(self.order + 1, self.projection, self.shared, inputs, self.width or inputs)
        return VectorSides(form, train, test) if isinstance(train, Tensor) else StreamedSides(form, train, test)
