"""The recipe of a recording, and how a chosen subset becomes curricula that follow it."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import Dynamics, MetricInfo, Query, RecordingSettings
from gptfl.core.curriculum import run_seed
from gptfl.core.examples import lengths_of
from gptfl.core.packing import Batching, stacked_batches
from gptfl.core.schedules import SCHEDULES
from gptfl.errors import DataError, UsageError

MAX_NUMBERS = 2**25
"""A question has at most this many batch entries, and as many answers; more are a slip of the finger."""
ROUNDING = 1e-6
"""Step sizes and their sums that differ by less are the same."""


@dataclass(frozen=True, slots=True)
class RunSchedule:
    """Step count, batch size, learning rates and recorded steps: the recording's, unless overridden.

    ``subset`` is how many examples a recorded run saw, where they all saw the same number.
    """

    batch_size: int
    learning_rates: Float[np.ndarray, " step"]
    grid: Int[np.ndarray, " recorded"]
    subset: int | None
    batching: Batching | None = None
    """How batches are made; None: of examples as they are drawn."""
    each: float | None = None
    """How many examples a recorded step had on average, where that isn't the batch size."""

    @property
    def seen(self) -> float:
        """How many examples a run sees, each as often as it does."""
        return self.steps * (self.batch_size if self.each is None else self.each)

    @property
    def steps(self) -> int:
        """How many optimiser steps a run has."""
        return len(self.learning_rates)

    def with_steps(self, steps: int, settings: RecordingSettings) -> "RunSchedule":
        """The same recipe over another number of steps: the schedule that ``settings`` name stretched, the grid as dense.

        Raises ``UsageError`` where the run would end before the first score.
        """
        if steps == self.steps:
            return self
        start = int(self.grid[0])
        if steps <= start:
            raise UsageError(f"{steps} steps end before the first recorded score", f"ask for more than {start} steps")
        if settings.schedule in SCHEDULES:
            peak = float(self.learning_rates[0])
            if not _begins_at_peak(settings) and settings.learning_rate is not None:
                peak = settings.learning_rate
            rates = SCHEDULES[settings.schedule](peak, steps, settings.warmup or 0)
        else:
            at = np.arange(steps) / steps * self.steps
            rates = np.interp(at, np.arange(self.steps), self.learning_rates)
        gaps = np.diff(self.grid)
        every = int(np.bincount(gaps).argmax()) if len(gaps) else 1
        # Where the recorded runs end, a longer one is held against them.
        ends = [min(steps, int(self.grid[-1])), steps]
        grid = np.unique(np.append(np.arange(start, steps + 1, every), ends)).astype(np.int64)
        return replace(self, learning_rates=rates, grid=grid)

    def with_peak(self, learning_rate: float, settings: RecordingSettings) -> "RunSchedule":
        """The same schedule, which ``settings`` name, with another highest learning rate."""
        if settings.schedule in SCHEDULES and not _begins_at_peak(settings):
            rates = SCHEDULES[settings.schedule](learning_rate, self.steps, settings.warmup or 0)
            return replace(self, learning_rates=rates)
        peak = float(self.learning_rates.max())
        if peak <= 0:
            return replace(self, learning_rates=np.full(self.steps, learning_rate))
        return replace(self, learning_rates=self.learning_rates * (learning_rate / peak))

    def orders(self, subset: Int[np.ndarray, " subset"], orders: int, seed: int) -> Int[np.ndarray, "run step batch"]:
        """The curricula of a subset in several random orders."""
        seeds = [run_seed(seed, order) for order in range(orders)]
        return stacked_batches([self.fill(subset, own) for own in seeds])

    def fill(self, subset: Int[np.ndarray, " subset"], seed: int) -> Int[np.ndarray, "step batch"]:
        """The curriculum of a subset in one order; ``seed`` is the run's."""
        return self._batching.fill(subset, self.steps, seed)

    def every_order(self, subset: Int[np.ndarray, " subset"], first: Float[np.ndarray, " test"]) -> Query:
        """Ask for the mean over all random orders of a subset, from these first scores.

        Each place of a batch holds each example equally often over the orders, so that a step is a batch of the whole
        subset. Raises ``UsageError`` where which examples come together depends on their lengths.
        """
        if not self._batching.plain:
            raise UsageError(
                f"--every-order: which examples come together depends on their lengths ({self._batching.flag})",
                "give --orders K for the mean over K random orders",
            )
        whole = np.broadcast_to(subset, (1, self.steps, len(subset)))
        in_turn = np.resize(subset, (1, self.steps, self.batch_size))
        return replace(self.query(whole, first), typical=in_turn)

    def passes(self, subset: Int[np.ndarray, " subset"], epochs: float) -> int:
        """How many steps it takes to see every example of a subset ``epochs`` times."""
        return self._batching.steps(subset, epochs)

    @property
    def _batching(self) -> Batching:
        return Batching(self.batch_size) if self.batching is None else replace(self.batching, size=self.batch_size)

    def query(self, batches: Int[np.ndarray, "run step batch"], first: Float[np.ndarray, " test"]) -> Query:
        """Ask for these curricula, all from the same first scores."""
        runs = len(batches)
        rates = np.broadcast_to(self.learning_rates, (runs, self.steps)).copy()
        return Query(batches, rates, self.grid, np.broadcast_to(first, (runs, len(first))).copy())


def _begins_at_peak(settings: RecordingSettings) -> bool:
    """Whether a run's first step size is its peak, and all are in proportion to it."""
    return not settings.warmup and settings.schedule in ("linear", "constant")


def recorded_schedule(dynamics: Dynamics, metric: MetricInfo) -> RunSchedule:
    """The recipe that most runs followed. Raises ``DataError`` where there is no run with the metric."""
    runs = [run for run in dynamics.runs if np.isfinite(run.metrics[metric.name]).any(axis=1).sum() > 1]
    if not runs:
        raise DataError(f"no run of the recording has {metric.name} at two steps", "record some (gptfl collect)")
    forms: dict[tuple[int, bytes], list[int]] = {}
    for place, run in enumerate(runs):
        forms.setdefault((run.curriculum.steps, run.steps.tobytes()), []).append(place)
    typical = runs[max(forms.values(), key=len)[0]]
    sizes = np.concatenate([(run.curriculum.batches >= 0).sum(axis=1) for run in runs])
    subsets = {len(np.unique(run.curriculum.batches[run.curriculum.batches >= 0])) for run in runs}
    batching = batching_in(dynamics)
    return RunSchedule(
        batch_size=int(dynamics.settings.batch_size or np.bincount(sizes).argmax()),
        learning_rates=typical.curriculum.learning_rates,
        grid=typical.steps,
        subset=subsets.pop() if len(subsets) == 1 else None,
        batching=batching,
        each=None if batching is None else float(sizes.mean()),
    )


def batching_in(dynamics: Dynamics) -> Batching | None:
    """How the batches of a recording were made; None: of examples as they were drawn."""
    settings = dynamics.settings
    if settings.packing is None and not settings.group_by_length:
        return None
    width = settings.max_length or 0
    return Batching(settings.batch_size, settings.packing, settings.group_by_length, width, lengths_of(dynamics.pool))


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the user wants other than recorded; None is as recorded."""

    epochs: float | None = None
    steps: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None

    def flags(self) -> dict[str, float | None]:
        """The values by the options that set them."""
        return {
            "--epochs": self.epochs,
            "--steps": self.steps,
            "--batch-size": self.batch_size,
            "--lr": self.learning_rate,
        }

    def check(self) -> None:
        """Raise ``UsageError`` for values that make no sense."""
        if self.epochs is not None and self.steps is not None:
            raise UsageError("--epochs and --steps both say how long to train", "give one of them")
        for flag, value in self.flags().items():
            if value is not None and not 0 < value < float("inf"):
                name = flag.removeprefix("--").replace("-", "_")
                raise UsageError(f"is {value}", "give a positive number", option=name, flag=flag)


def adjusted(
    recipe: RunSchedule,
    dynamics: Dynamics,
    subset: int,
    overrides: Overrides,
    orders: int = 1,
    members: Int[np.ndarray, " subset"] | None = None,
) -> RunSchedule:
    """The recipe with the user's overrides.

    Args:
        recipe: of the recorded runs.
        dynamics: the recording, with new examples where there are some.
        subset: how many examples a run is to draw from.
        overrides: learning rate, batch size, steps or epochs that differ.
        orders: in so many orders the subset is asked about, which bounds the size.
        members: the subset's places in the pool, where batches go by the lengths of its texts.

    Raises ``UsageError``, before anything of that size is made, where that is more than ``MAX_NUMBERS``, and
    ``DataError`` for a learning rate where those of the recording are not known.
    """
    if overrides.learning_rate is not None and dynamics.settings.lacks_rates:
        raise DataError(
            f"--lr {overrides.learning_rate:g}: the learning rates of the recording are not known",
            "leave out --lr, or import it again with --lr and --schedule",
        )
    if recipe.batching is not None:
        recipe = replace(recipe, batching=batching_in(dynamics))  # of examples that are new, too
    if overrides.batch_size is not None:
        recipe = replace(recipe, batch_size=overrides.batch_size)
    _check_size(orders * recipe.batch_size, "batch entries", overrides, orders)
    steps = recipe.steps if overrides.steps is None else overrides.steps
    if overrides.epochs is not None:
        _check_size(orders * subset * overrides.epochs, "batch entries", overrides, orders)
        steps = recipe.passes(np.arange(subset) if members is None else members, overrides.epochs)
    _check_size(orders * steps * recipe.batch_size, "batch entries", overrides, orders)
    recipe = recipe.with_steps(steps, dynamics.settings)
    _check_size(orders * len(recipe.grid) * len(dynamics.test), "predicted values", overrides, orders)
    return recipe if overrides.learning_rate is None else recipe.with_peak(overrides.learning_rate, dynamics.settings)


def _check_size(count: float, what: str, overrides: Overrides, orders: int) -> None:
    if count <= MAX_NUMBERS:
        return
    sizes = {**overrides.flags(), "--orders": orders if orders > 1 else None}
    del sizes["--lr"]
    named = " ".join(f"{flag} {value}" for flag, value in sizes.items() if value is not None) or "this question"
    raise UsageError(
        f"{named} comes to {min(count, 1e99):.3g} {what}, over {MAX_NUMBERS:.3g}", "ask for less at a time"
    )


def first_scores(dynamics: Dynamics, metric: MetricInfo, step: int) -> Float[np.ndarray, " test"]:
    """What every run starts from: the mean over the runs recorded at that step.

    Raises ``DataError`` where a test example has none.
    """
    found = [run.metrics[metric.name][run.steps == step] for run in dynamics.runs]
    values = np.concatenate(found).astype(np.float64)
    known = np.isfinite(values)
    if not known.any(axis=0).all():
        missing = dynamics.test[int(np.argmin(known.any(axis=0)))].id
        raise DataError(f"test example {missing!r} has no {metric.name} at step {step}", "record it, or another metric")
    return np.asarray(np.where(known, values, 0.0).sum(axis=0) / known.sum(axis=0))
