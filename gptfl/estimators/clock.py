"""Accumulated step size as the clock of a run: which recorded step a step of another recipe stands for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from jaxtyping import Bool, Float, Int

from gptfl.core import Query
from gptfl.errors import DataError

ROUNDING = 1e-6
"""Sums of step sizes that differ by a smaller share than this are the same."""


@dataclass(frozen=True, slots=True)
class Span:
    """The batches and step sizes of a run, which was recorded from step ``first`` to step ``last``."""

    batches: Int[np.ndarray, "step batch"]
    learning_rates: Float[np.ndarray, " step"]
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Clock:
    """What the step sizes of recorded runs add up to before each step, from 0 on: the least and the most."""

    least: Float[np.ndarray, " step_and_end"]
    most: Float[np.ndarray, " step_and_end"]

    @classmethod
    def of(cls, runs: Sequence[Span]) -> Self:
        """The clock of some runs, each counting along what was recorded of it; steps without examples count 0.

        Along steps of which no run was recorded all runs count, by their step sizes alone: there, pieces of runs have
        empty batches.
        """
        length = max(len(run.learning_rates) for run in runs)
        taken = np.full((len(runs), length), np.nan)
        every = np.full((len(runs), length), np.nan)
        for row, run in enumerate(runs):
            every[row, : len(run.learning_rates)] = run.learning_rates
            along = slice(run.first, min(run.last, len(run.learning_rates)))
            filled = (run.batches[along] >= 0).any(axis=1)
            taken[row, along] = np.where(filled, run.learning_rates[along], 0.0)
        taken = np.where(np.isfinite(taken).any(axis=0), taken, every)
        return cls(*(np.append(0.0, np.cumsum(bound(taken, axis=0))) for bound in (np.nanmin, np.nanmax)))

    def array(self) -> Float[np.ndarray, "bound step_and_end"]:
        """Both as an array of a state."""
        return np.stack([self.least, self.most])

    @classmethod
    def from_array(cls, array: np.ndarray) -> Self:
        """Take back what ``array`` gave. Raises ``ValueError`` where it can't be that."""
        fits = array.ndim == 2 and len(array) == 2 and array.shape[1] > 0 and np.isfinite(array).all()
        if not fits or (np.diff(array, axis=1) < 0).any() or (array[0] > array[1]).any():
            raise ValueError("a clock is two ascending rows, the greater one second")
        return cls(array[0], array[1])

    def place(self, query: Query, grid: Int[np.ndarray, " grid"]) -> "Places":
        """Which recorded step each step of the asked runs stands for; ``grid`` are the steps at which these are known.

        Where a run's step sizes have added up to what recorded runs' had at that step, since the first score, it
        stands for itself; else for the step at which theirs had.
        """
        filled = (query.batches >= 0).any(axis=2)
        first, last = int(query.steps[0]), int(grid[-1])
        taken = np.where(filled, query.learning_rates, 0.0)
        if len(taken) > 1 and (taken == taken[0]).all():
            # Most questions are about many runs of one recipe.
            one = replace(query, batches=query.batches[:1], learning_rates=taken[:1], first=query.first[:1])
            return self.place(one, grid).repeated(len(taken))
        passed = since(taken, first)
        most = float(self._bounds(np.array([last]), first)[1][0])
        usual = np.clip(passed, *self._bounds(np.arange(passed.shape[1]), first))
        pace = np.divide(passed, usual, out=np.ones(passed.shape), where=usual > 0)
        return Places(query.steps, self._at(passed, first, grid), passed, pace, most, grid)

    def passed(self, steps: Int[np.ndarray, " some"]) -> Float[np.ndarray, " some"]:
        """What step sizes have added up to since the first of these ascending steps, in the middle of least and most."""
        low, high = self._bounds(steps, int(steps[0]))
        return np.asarray((low + high) / 2)

    def along(
        self, passed: Float[np.ndarray, "run step_and_end"], first: int, grid: Int[np.ndarray, " grid"]
    ) -> Float[np.ndarray, "run step_and_end"]:
        """The same for runs whose step sizes have added up to ``passed`` since step ``first``, ended where the grid is."""
        return np.asarray(np.minimum(self._at(passed, first, grid), float(grid[-1])))

    def _at(
        self, passed: Float[np.ndarray, "run step_and_end"], first: int, grid: Int[np.ndarray, " grid"]
    ) -> Float[np.ndarray, "run step_and_end"]:
        own = np.minimum(np.arange(passed.shape[1]), len(self.least) - 1)
        low, high = self._bounds(own, first)
        margin = ROUNDING * high
        as_recorded = (passed >= low - margin) & (passed <= high + margin)
        known = np.unique(np.append(grid, min(first, int(grid[0]))))
        bounds = self._bounds(known, first)
        # A slower run stands for an earlier step, a faster one for a later.
        latest, earliest = (np.interp(passed, bound, known) for bound in bounds)
        other = np.clip(own, earliest, latest)
        beyond = passed > bounds[1][-1] * (1.0 + ROUNDING)
        return np.asarray(np.where(as_recorded, own, np.where(beyond, np.inf, other)))

    def _bounds(
        self, steps: Int[np.ndarray, " some"], first: int
    ) -> tuple[Float[np.ndarray, " some"], Float[np.ndarray, " some"]]:
        """The least and the most at some steps, since the first."""
        end = len(self.least) - 1
        own, begin = np.minimum(steps, end), min(first, end)
        low, high = (np.maximum(bound[own] - bound[begin], 0.0) for bound in (self.least, self.most))
        return low, high


@dataclass(frozen=True, slots=True)
class Places:
    """Which recorded step each step of some runs stands for (``at``; infinite beyond what was recorded).

    ``steps`` are those asked about, ``passed`` is what step sizes have added up to since the first of them, ``pace``
    that as a multiple of what those of recorded runs had after as many steps, ``most`` what theirs do in the end.
    """

    steps: Int[np.ndarray, " asked"]
    at: Float[np.ndarray, "run step_and_end"]
    passed: Float[np.ndarray, "run step_and_end"]
    pace: Float[np.ndarray, "run step_and_end"]
    most: float
    grid: Int[np.ndarray, " grid"]

    @property
    def requested(self) -> Float[np.ndarray, "run asked"]:
        """The places of the steps asked about."""
        return self.of(self.at)

    @property
    def plain(self) -> Bool[np.ndarray, " run"]:
        """Whether each run's step sizes are those recorded: each step asked about stands for itself."""
        return np.asarray((self.requested == self.steps).all(axis=1))

    @property
    def still(self) -> Bool[np.ndarray, "run asked"]:
        """Where a run of other step sizes than recorded hasn't taken any yet."""
        return np.asarray((self.of(self.passed) == 0.0) & ~self.plain[:, None])

    def groups(self) -> list[Int[np.ndarray, " run"]]:
        """The runs, those together that stand for the same places at the steps asked about."""
        requested = self.requested
        if len(requested) and (requested == requested[0]).all():
            return [np.arange(len(requested))]
        _, group = np.unique(requested, axis=0, return_inverse=True)
        return [np.flatnonzero(group.ravel() == number) for number in range(int(group.max(initial=-1)) + 1)]

    def repeated(self, runs: int) -> "Places":
        """Those of so many runs like this one."""
        at, passed, pace = (np.broadcast_to(one, (runs, one.shape[1])) for one in (self.at, self.passed, self.pace))
        return replace(self, at=at, passed=passed, pace=pace)

    def check(self) -> "Places":
        """Raise ``DataError`` for what lies beyond the recorded steps, or beyond what step sizes add up to there."""
        length, last = self.at.shape[1] - 1, int(self.grid[-1])
        over = np.argwhere(np.isinf(self.requested))
        if len(over) and int(self.steps[-1]) <= max(length, last):
            run, place = over[0]
            step = int(self.steps[place])
            raise DataError(
                f"step sizes add up to {self.of(self.passed)[run, place]:.4g} by step {step}, those of the recorded "
                f"runs to at most {self.most:.4g}, and the average run is known no farther",
                "ask for smaller step sizes (--lr) or fewer steps (--steps, --epochs), or record such runs",
            )
        requested = self.requested[:, 1:]
        outside = (requested < self.grid[0]) | (requested > last) | (self.steps[1:] > max(length, last))
        for step in self.steps[1:][outside.any(axis=0)]:
            raise DataError(
                f"step {step} is outside steps {int(self.grid[0])} to {last}, where the average run is known",
                f"ask for at most {last} steps, or record longer runs (gptfl collect --steps)",
            )
        return self

    def of(self, values: Float[np.ndarray, "run step_and_end"]) -> Float[np.ndarray, "run asked"]:
        """What holds at the steps asked about, of what is known of every step."""
        return np.asarray(values[:, np.minimum(self.steps, values.shape[1] - 1)])


def since(learning_rates: Float[np.ndarray, "run step"], first: int) -> Float[np.ndarray, "run step_and_end"]:
    """What step sizes have added up to since step ``first``, before each step and in the end; 0 before it."""
    sums = np.concatenate([np.zeros((len(learning_rates), 1)), np.cumsum(learning_rates, axis=1)], axis=1)
    return np.asarray(np.maximum(sums - sums[:, [min(first, sums.shape[1] - 1)]], 0.0))
