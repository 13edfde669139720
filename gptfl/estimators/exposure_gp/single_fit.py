"""``exposure-gp`` where there is one run to fit: from features to a simulator of it, its answers, and its arrays."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import FitData, Prediction, Query, Run
from gptfl.errors import DataError
from gptfl.estimators.baselines import places_of
from gptfl.estimators.clock import Clock, Span
from gptfl.estimators.exposure_gp.accumulation import Vectors
from gptfl.estimators.exposure_gp.gradient_prior import PriorProducts
from gptfl.estimators.exposure_gp.hyperparameters import CENTRE_SIMILARITY, share_of
from gptfl.estimators.exposure_gp.inference import columns
from gptfl.estimators.exposure_gp.inputs import Sources
from gptfl.estimators.exposure_gp.intervals import LEVELS
from gptfl.estimators.exposure_gp.predictions import at_steps
from gptfl.estimators.exposure_gp.process import Curricula
from gptfl.estimators.exposure_gp.similarity import SimilarityKernel
from gptfl.estimators.exposure_gp.single_run import FREEDOM, OneRun, ScaleFit, SingleRun, UnitEffects

WHO = "exposure-gp"
PREFIX = "single:"
"""What the names of the arrays begin with."""
MORE = "record more runs"
LOSS = "loss"
"""The metric that gradients are of."""


@dataclass(frozen=True, slots=True)
class FittedSingleRun:
    """A simulator of one run, with the bounds of its metric and each training example's product with itself."""

    single: SingleRun
    low: float
    high: float
    itself: Float[np.ndarray, " pool"]

    @classmethod
    def of(cls, run: Run, data: FitData, sources: Sources, products: PriorProducts | None) -> Self:
        """What one run shows of the size of its examples' first-order influences.

        Args:
            run: the run.
            data: that it is part of.
            sources: vectors of its examples.
            products: exact gradient products, None where there are none.

        Raises ``DataError`` without gradients, for another metric than the loss, and where the run has no two steps at
        which it is known of every test example.
        """
        itself = sources.itself()
        if itself is None:
            raise DataError(
                f"{WHO}: there is one run to fit, and without gradients it tells nothing of single examples",
                f"add them (gptfl collect --sketches, sketches_at= of a Recorder) and featurize, or {MORE}",
            )
        if data.metric.name != LOSS:
            raise DataError(
                f"{WHO}: there is one run to fit, and gradients are of the loss alone, not of {data.metric.name}",
                f"give --metric {LOSS}, or {MORE}",
            )
        values = data.recorded(run).astype(np.float64)
        rows = np.flatnonzero(np.isfinite(values).all(axis=1))
        if len(rows) < 2:
            raise DataError(
                f"{WHO}: {run.name} has no two steps at which the loss of every test example is known", MORE
            )
        curriculum = run.curriculum
        one = OneRun(
            Curricula(curriculum.batches[None].astype(np.int64), curriculum.learning_rates[None].astype(np.float64)),
            run.steps[rows].astype(np.int64),
            values[rows],
            len(data.pool),
        )
        found = SingleRun.of(one, unit_effects_of(sources, products))
        return cls(found, data.metric.low, data.metric.high, itself)

    @property
    def steps(self) -> Int[np.ndarray, " recorded"]:
        """The recorded steps."""
        return self.single.run.steps

    def notes(self) -> tuple[str, ...]:
        """What a user should know of such a fit."""
        scale_fit = self.single.scale_fit
        notes: tuple[str, ...] = (
            f"{WHO}: fitted to one run: what gradients foretell, its size told by {len(self.steps) - 1} changes of the run "
            "itself; nothing could be held out, and intervals are wide",
        )
        if scale_fit.scale == 0.0:
            notes += (
                f"{WHO}: the run's losses moved against what its gradients foretell, and no example is told from another",
            )
        return notes

    def predict(self, query: Query) -> Prediction:
        """Runs of the recorded step sizes. Raises ``DataError`` for others, other examples and observed scores."""
        if query.observed is not None:
            raise DataError(
                f"{WHO}: fitted to one run, it can't go on from what was observed of another",
                f"leave --observe out, or {MORE}",
            )
        run = self.single.run
        seen, batches = places_of(query, run.values.shape[1]), query.batches
        if query.unseen is not None:
            pool = query.unseen.pool_seen
            if (seen < 0).any() or (pool[batches[batches >= 0]] < 0).any():
                raise DataError(
                    f"{WHO}: fitted to one run, it knows that run's examples alone", f"ask about these, or {MORE}"
                )
            batches = np.where(batches >= 0, pool[batches], -1)
        if int(batches.max(initial=-1)) >= run.pool:
            raise DataError(
                f"{WHO}: a batch names example {int(batches.max())}, fitted were {run.pool}", "use examples of the pool"
            )
        places = self._clock().place(query, run.steps).check()
        if not places.plain.all():
            raise DataError(
                f"{WHO}: fitted to one run, it knows the step sizes of that run alone",
                f"leave --lr, --steps and --schedule out, or {MORE}",
            )
        mean, spread = self.single.departures(batches, query.learning_rates)
        shown = at_steps(run.steps, run.values + mean, query.steps)[:, :, seen]
        spread = at_steps(run.steps, spread, query.steps)[:, :, seen]
        from scipy.special import stdtrit  # takes as long to load as a simulation

        intervals = {}
        for level in LEVELS:
            half = float(stdtrit(FREEDOM, 0.5 + level / 2)) * spread
            intervals[level] = np.clip(shown - half, self.low, self.high), np.clip(shown + half, self.low, self.high)
        values = np.clip(shown, self.low, self.high)
        for one in (values, *(bound for bounds in intervals.values() for bound in bounds)):
            one[:, 0] = query.first
        return Prediction(values, intervals, np.ones(len(values)))

    def _clock(self) -> Clock:
        curricula = self.single.run.curricula
        first, last = int(self.steps[0]), int(self.steps[-1])
        return Clock.of([Span(curricula.batches[0], curricula.learning_rates[0], first, last)])

    def influence(
        self, places: Int[np.ndarray, " example"], weights: Float[np.ndarray, "target test"]
    ) -> tuple[Float[np.ndarray, "example target"], Float[np.ndarray, "example target"]]:
        """Influence, positive where it lowers the loss. Raises ``DataError`` for examples that aren't the run's."""
        if (places < 0).any():
            raise DataError(
                f"{WHO}: fitted to one run, it knows that run's examples alone", f"ask about these, or {MORE}"
            )
        mean, spread = self.single.influence(places, weights)
        return -mean, spread

    def first_order(
        self, train: Mapping[str, Float[np.ndarray, "example d"]], parts: Mapping[str, Float[np.ndarray, "part d"]]
    ) -> Float[np.ndarray, "example part"]:
        """Influence on parts of a test example whose gradients these are, positive where it lowers their loss."""
        kinds = [
            name for name in ("split", "preconditioned", "raw") if any(one.startswith(f"{name}-") for one in train)
        ]
        points = sorted((int(name.partition("-")[2]), name) for name in train if name.startswith(f"{kinds[0]}-"))
        last = np.asarray(parts[points[-1][1]], np.float32)
        rows = np.stack([-(np.asarray(train[name], np.float32) @ last.T) for _, name in points])
        return -self.single.first_order(Vectors(np.array([step for step, _ in points]), rows))

    def state(self) -> dict[str, np.ndarray]:
        """All of it as arrays."""
        run, unit_effects, scale_fit = self.single.run, self.single.unit_effects, self.single.scale_fit
        arrays = {
            "batches": run.curricula.batches,
            "learning_rates": run.curricula.learning_rates,
            "steps": run.steps,
            "values": run.values,
            "now": unit_effects.now.rows,
            "now_points": unit_effects.now.points,
            "end": unit_effects.end.rows,
            "end_points": unit_effects.end.points,
            "alike": unit_effects.correlation,
            "told": np.array([scale_fit.scale, scale_fit.doubt, scale_fit.own, scale_fit.noise]),
            "bounds": np.array([self.low, self.high]),
            "itself": self.itself,
        }
        return {PREFIX + name: array for name, array in arrays.items()}

    @classmethod
    def from_state(cls, state: Mapping[str, np.ndarray]) -> Self:
        """Take back what ``state`` gave. Raises ``ValueError``, ``TypeError`` or ``KeyError`` for what isn't that."""
        found = {name.removeprefix(PREFIX): array for name, array in state.items() if name.startswith(PREFIX)}
        pool = len(found["itself"])
        now, end = (Vectors(found[f"{name}_points"], found[name]) for name in ("now", "end"))
        run = OneRun(Curricula(found["batches"], found["learning_rates"]), found["steps"], found["values"], pool)
        tests = _checked(run, (now, end), found)
        if found["told"].shape != (4,) or found["bounds"].shape != (2,) or found["alike"].shape != (tests, tests):
            raise ValueError("what was learned is ill-shaped")
        if (found["told"] < 0).any() or not all(np.isfinite(found[name]).all() for name in ("told", "alike", "itself")):
            raise ValueError("what was learned is out of range")
        scale_fit = ScaleFit(*(float(one) for one in found["told"]))
        low, high = (float(one) for one in found["bounds"])
        return cls(SingleRun(run, UnitEffects(now, end, found["alike"]), scale_fit), low, high, found["itself"])


def unit_effects_of(sources: Sources, products: PriorProducts | None) -> UnitEffects:
    """What gradients predict, divided as the optimiser does where that was recorded; more precise ``products`` first."""
    kind = "preconditioned" if "preconditioned" in sources.estimable else "raw"
    path = sources.standing_in(kind)
    steps = np.array([step for step, _ in path], dtype=np.int64)
    train, test = (
        [np.asarray(getattr(sources.sets[name], side), np.float32) for _, name in path] for side in ("train", "test")
    )
    now = Vectors(steps, np.stack([-(ours @ theirs.T) for ours, theirs in zip(train, test, strict=True)]))
    end = Vectors(steps, np.stack([-(ours @ test[-1].T) for ours in train]))
    known = None if products is None else products.kinds.get(kind)
    if known is not None and known.points[-1] == steps[-1]:
        end.rows[-1] = known.rows[-1]
    kernel = SimilarityKernel.of(sources.test_vectors(sources.test_sides), test[-1].shape[0])
    cols = columns(kernel.values, kernel.vectors, share_of(CENTRE_SIMILARITY), 0.0)
    return UnitEffects(known or now, end, np.asarray(cols.vectors * cols.signal) @ np.asarray(cols.vectors).T)


def _checked(run: OneRun, vectors: tuple[Vectors, ...], found: Mapping[str, np.ndarray]) -> int:
    """How many test examples there are. Raises ``ValueError`` or ``TypeError`` unless arrays are those of a run."""
    batches, rates, steps, values = (found[name] for name in ("batches", "learning_rates", "steps", "values"))
    if batches.dtype.kind != "i" or steps.dtype.kind != "i":
        raise TypeError("batches and steps are not whole numbers")
    if (
        batches.ndim != 3
        or len(batches) != 1
        or not batches.shape[2]
        or rates.shape != batches.shape[:2]
        or values.ndim != 2
    ):
        raise ValueError("batches are not of one run")
    if len(steps) < 2 or steps.shape != values.shape[:1] or steps[0] < 0 or (np.diff(steps) <= 0).any():
        raise ValueError("steps don't ascend")
    if batches.max(initial=-1) >= run.pool or batches.min(initial=0) < -1:
        raise ValueError("batches name examples that aren't there")
    if not np.isfinite(values).all() or not np.isfinite(rates).all():
        raise ValueError("values are not finite")
    for one in vectors:
        if one.points.dtype.kind != "i" or not len(one.points) or (np.diff(one.points) <= 0).any():
            raise ValueError("points of gradients don't ascend")
        if one.rows.shape != (len(one.points), run.pool, values.shape[1]) or not np.isfinite(one.rows).all():
            raise ValueError("gradient products are not of the examples")
    return int(values.shape[1])
