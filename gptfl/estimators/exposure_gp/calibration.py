"""How wide intervals must be, and how errors hang together: told from runs that a model wasn't fitted to."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from gptfl.estimators.exposure_gp.blocked_states import BlockedStates
from gptfl.estimators.exposure_gp.conditioning import TRUST, LeftOut, right_width
from gptfl.estimators.exposure_gp.model import ExposureModel
from gptfl.estimators.exposure_gp.requests import RecordedRuns, RequestedRuns
from gptfl.estimators.exposure_gp.spread import spread_of

ROUNDING, MOVED = 1e-4, 0.1
"""Runs differ at a step by more than rounding if by so much of what they do where they differ most; a part of them is
enough to judge others by if it differs by so much of what all do."""
CALIBRATION_STEPS = 64
"""Errors are judged on this many steps, spread over the run: neighbours tell the same."""
FEW = 5
"""Fewer runs than this tell how wide intervals must be on the mean only (``benchmarks/coverage.py``)."""
REFITS, REFIT_RUNS, REFIT_STEPS = 6, (8, 48), 12
"""From so many to so many runs, the errors judged are those of models fitted without a sixth of the runs, on this many
steps. With fewer runs such a model is too much worse; with more, it hardly matters that hyperparameters have seen a run."""


class Calibration:
    """The errors of a fitted model on its own runs, each as if it had not been among them."""

    def __init__(self, model: ExposureModel, errors: Float[np.ndarray, "run recorded test"] | None = None) -> None:
        """Judge ``model``; nothing is computed before it is asked for. ``errors`` are those found before (None: none)."""
        self.model = model
        self._errors = errors

    @cached_property
    def left_out(self) -> Float[np.ndarray, "run recorded test"]:
        """Errors of predicting each fitted run from the others, in predicted standard deviations; NaN where unknown."""
        return self._left_out(np.arange(len(self.model.recorded.steps)))

    def _left_out(self, rows: Int[np.ndarray, " row"]) -> Float[np.ndarray, "run row test"]:
        model = self.model
        found = np.full((len(model.even), len(rows), model.even.shape[2]), np.nan, dtype=np.float32)
        for place, row in enumerate(rows):
            step, posterior = model.solved[row]
            error, variance = posterior.left_out()
            apart = error / np.sqrt(np.maximum(variance, 1e-300))
            found[step.members, place] = np.where(np.isfinite(model.even[step.members, row]), apart, np.nan)
        return found

    @cached_property
    def left_out_width(self) -> float:
        """What predicted standard deviations would be multiplied by if judged by the runs left out."""
        moved = self.moved
        if not len(moved):
            return 1.0
        return right_width(self._left_out(moved[_evenly(len(moved), CALIBRATION_STEPS)]), len(self.model.even))

    @cached_property
    def interval_scale(self) -> float:
        """By how much intervals must be widened or narrowed, from the errors of predicting each run from others."""
        rows, count = self.refittable, len(self.model.even)
        if len(rows):
            return right_width(self.refitted_errors(rows[_evenly(len(rows), REFIT_STEPS)]), count)
        return self.left_out_width

    @property
    def width_runs(self) -> int:
        """How many runs that don't belong together tell how wide intervals must be."""
        return len(np.unique(self.model.groups))

    @property
    def freedom(self) -> float:
        """The degrees of freedom of intervals: few runs hardly tell how wide they must be."""
        few = len(self.model.even) < REFIT_RUNS[0] and self.model.floor
        return float(self.width_runs) if few else TRUST + self.width_runs - 1.0

    def reach(self, levels: Sequence[float]) -> Float[np.ndarray, " level"]:
        """How many standard deviations intervals of these levels reach to each side: quantiles of Student's t."""
        from scipy.special import stdtrit  # takes as long to load as a simulation

        return np.asarray(stdtrit(self.freedom, 0.5 + np.asarray(levels) / 2))

    def doubts(self, who: str) -> tuple[str, ...]:
        """A line where these are very few."""
        if self.width_runs >= FEW or self.model.binary or not self.model.knows_width:
            return ()
        return (
            f"{who}: how wide intervals must be is told by {self.width_runs} runs: those of 90 % hold about as many points on the "
            "mean over such recordings, and three in four of them or all on single ones",
        )

    @cached_property
    def parts(self) -> Int[np.ndarray, " run"]:
        """Which runs are left out together."""
        return parts_of(self.model.groups)

    @cached_property
    def refittable(self) -> Int[np.ndarray, " row"]:
        """The recorded steps at which models without a part of the runs can be judged; none of too few or many runs."""
        model, rows = self.model, self.moved
        if not REFIT_RUNS[0] <= len(model.even) <= REFIT_RUNS[1]:
            return rows[:0]
        # The runs that are left must differ, or any error is without bounds beside them.
        for part in np.unique(self.parts):
            runs = np.flatnonzero(self.parts != part)
            known = np.isfinite(model.even[np.ix_(runs, rows)]).any(axis=2).sum(axis=0) >= 2
            rows = rows[known]
            enough = MOVED * spread_of(model.even[:, rows])
            rows = rows[spread_of(model.even[np.ix_(runs, rows)]) > enough]
        return rows

    @cached_property
    def moved(self) -> Int[np.ndarray, " row"]:
        """The recorded steps at which runs differ by more than rounding."""
        spread = spread_of(self.model.even)
        return np.flatnonzero(spread > ROUNDING * spread.max(initial=0.0))

    @property
    def begins_apart(self) -> bool:
        """Whether runs differ at the first recorded step already, so that every question goes on from a run's own score."""
        return bool(len(self.moved)) and int(self.moved[0]) == 0 and self.model.floor

    def refitted_errors(self, rows: Int[np.ndarray, " row"]) -> Float[np.ndarray, "run row test"]:
        """Errors at some steps of predicting runs by models that were fitted without them, in standard deviations."""
        model, parts = self.model, self.parts
        runs, tests = model.recorded.curricula, model.even.shape[2]
        found = np.full((len(model.even), len(rows), tests), np.nan, dtype=np.float32)
        for part in np.unique(parts):
            out, kept = np.flatnonzero(parts == part), np.flatnonzero(parts != part)
            recorded = RecordedRuns(
                runs.of(kept),
                model.recorded.steps[rows],
                model.recorded.values[kept][:, rows],
                model.pool,
            )
            blocked = model.states if isinstance(model.states, BlockedStates) else None
            came = None if blocked is None else blocked.came_to(out, kept, rows)
            other = ExposureModel(
                recorded,
                model.sources,
                model.link,
                prior=model.prior,
                higher=model.higher,
                products=model.products,
                read=None if blocked is None else blocked.read.of_runs(kept, rows),
            )
            other.fit_factors()
            centre = np.broadcast_to(other.centre, (len(out), *other.centre.shape))
            look = other.look(runs.of(out), len(rows), RequestedRuns(np.arange(tests), centre), came=came)
            variance = np.maximum(look.signal + look.noise, 1e-300)
            apart = (model.even[out][:, rows] - look.mean) / np.sqrt(variance)
            # Where no other run has a value, there is nothing to predict from.
            known = np.isfinite(recorded.values).any(axis=0)
            found[out] = np.where(known, apart, np.nan)
        return found

    @cached_property
    def errors(self) -> Float[np.ndarray, "run recorded test"]:
        """Errors at all recorded steps of runs left out, in units in which 90 % intervals are right; NaN where unknown.

        Of models that were fitted without these runs, where there are enough.
        """
        if self._errors is not None:
            return self._errors
        found, rows = self.left_out / self.left_out_width, self.refittable
        if len(rows):
            apart = self.refitted_errors(rows)
            found[:, rows] = apart / right_width(apart, len(apart))
        return found

    @cached_property
    def over_steps(self) -> Float[np.ndarray, "recorded recorded"]:
        """How alike a run's errors are at two recorded steps: a correlation matrix."""
        return self.correlation_of(self.errors)

    @cached_property
    def cross_fitted(self) -> tuple[LeftOut, ...]:
        """The errors of each part of the runs, and how alike errors are at two steps by those of the other parts."""
        found = []
        for part in np.unique(self.parts):
            out = self.parts == part
            found.append(LeftOut(self.errors[out], self.correlation_of(self.errors[~out])))
        return tuple(found)

    def correlation_of(self, errors: Float[np.ndarray, "run recorded test"]) -> Float[np.ndarray, "recorded recorded"]:
        """The correlation of errors, drawn towards one that falls exponentially with the distance where runs are few."""
        steps, count = self.model.recorded.steps, len(errors)
        errors = np.nan_to_num(np.moveaxis(errors, 1, 0).reshape(len(steps), -1))
        length = np.sqrt((errors**2).mean(axis=1))
        errors = errors / np.where(length > 0, length, 1.0)[:, None]
        found = errors @ errors.T / max(errors.shape[1], 1)
        np.fill_diagonal(found, 1.0)
        gaps = np.abs(steps[:, None] - steps[None])
        reaches = np.geomspace(1.0, 20.0 * max(float(gaps.max()), 1.0), 60)
        shapes = [np.exp(-gaps / reach) for reach in reaches]
        shape = min(shapes, key=lambda one: float(((one - found) ** 2).sum()))
        weight = TRUST / (TRUST + count)
        return np.asarray(weight * shape + (1.0 - weight) * found)


def parts_of(groups: Int[np.ndarray, " run"]) -> Int[np.ndarray, " run"]:
    """Which refit each run is left out of: runs that belong together are left out together.

    Unless one group has half of the runs or more: little would be left to predict it from.
    """
    numbers, counts = np.unique(groups, return_inverse=True, return_counts=True)[1:]
    if 2 * int(counts.max(initial=0)) >= len(groups):
        return np.arange(len(groups)) % REFITS
    return np.asarray(numbers).reshape(-1) % REFITS


def _evenly(count: int, most: int) -> Int[np.ndarray, " place"]:
    """So many of ``count`` places at most, spread evenly, the last among them."""
    return np.linspace(count - 1, 0, min(most, count)).round().astype(int)[::-1]
