"""The average training run as a known course: what a recurrence must add up to for the average batch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gptfl.core import Query
from gptfl.errors import DataError
from gptfl.estimators import average
from gptfl.estimators.clock import Places
from gptfl.estimators.gptfluence.batches import IntervalCounts, join
from gptfl.estimators.gptfluence.pool_rows import PoolProjection
from gptfl.estimators.gptfluence.recurrence import sum_over
from gptfl.estimators.gptfluence.trajectory import Trajectory
from gptfl.estimators.gptfluence.update_rule import UpdateRule
from gptfl.estimators.unseen_tests import extrapolated


@dataclass(frozen=True, slots=True)
class MeanTrajectory:
    """The mean trajectory m of the training runs, on the steps ``grid``, and what they saw on average.

    With F(c, phi) for the recurrence, phi_t = F(c_t, phi) + push_t where push_t = m_t - F(mean c_t, m): a run that
    sees what the runs saw on average goes along m, and the deviation from m is driven by the run's batches minus the
    average exposure. To first order, deviation_t = alpha(c_t) deviation_{t-1} + (alpha, beta)(c_t - mean c_t).

    ``sizes`` and ``totals`` tell how many examples the batch of each step counts for on average, and their weights
    together (see ``UpdateRule``).
    """

    grid: Int[np.ndarray, " grid"]
    mean: Float[np.ndarray, "grid test"]
    sizes: Float[Tensor, " step"]
    totals: Float[Tensor, " step"]

    def within(self, runs: Sequence[Trajectory]) -> list[Trajectory]:
        """The runs, cut to the steps at which the average run is known. Raises ``DataError`` where nothing is left."""
        cut = []
        for run in runs:
            there = (run.steps >= self.grid[0]) & (run.steps <= self.grid[-1])
            if there.sum() >= 2:
                cut.append(replace(run, steps=run.steps[there], values=run.values[there]))
        if not cut:
            raise DataError(
                f"no run is recorded at two of steps {int(self.grid[0])} to {int(self.grid[-1])}, where the average "
                "run is known",
                "record more runs of the same length, set fewer examples aside, or leave out around=mean-run",
            )
        return cut

    def at(
        self,
        steps: Int[np.ndarray, " recorded"] | Float[np.ndarray, " recorded"],
        first: Float[np.ndarray, "run asked"],
        seen: Int[np.ndarray, " asked"],
    ) -> Float[np.ndarray, "#run recorded asked"]:
        """The mean trajectory at some steps or places between them, the same for all runs unless a test example is unseen (-1 in ``seen``).

        What an unseen one would do on average is carried over from the others by its first value. Raises
        ``DataError`` for steps at which the average run isn't known, but for the first, which is given.
        """
        inside = np.append(np.clip(steps[:1], self.grid[0], self.grid[-1]), steps[1:])
        known = average.interpolate(self.grid, self.mean, inside)
        if (seen >= 0).all():
            return known[None][:, :, seen]
        values = np.empty((len(first), len(steps), len(seen)))
        values[:, :, seen >= 0] = known[:, seen[seen >= 0]]
        values[:, :, seen < 0] = extrapolated(known, first[:, seen < 0])
        return values

    def push(
        self,
        sums: Float[Tensor, "factor step width"],
        test: Float[Tensor, "factor test width"],
        steps: Int[np.ndarray, " recorded"] | Float[np.ndarray, " recorded"],
        mean: Float[Tensor, "run recorded test"],
        law: UpdateRule,
        amounts: tuple[Float[Tensor, "run interval"], Float[Tensor, "run interval"]] | None = None,
    ) -> Float[Tensor, "run interval test"]:
        """m_t - F(mean c_t, m) for each interval between the steps.

        Args:
            sums: the mean batches' projections, step by step.
            test: projected test examples.
            steps: recorded steps, or places between them, of runs that get along at another pace.
            mean: the mean run there.
            law: how factors enter the recurrence.
            amounts: for how many examples the intervals of each run count, and their weights together, where ``steps``
                are
                places: the mean batch is what the recorded runs saw on average between these, and as much of it.
        """
        pieces = _Pieces.of(steps, len(self.sizes))
        moved = pieces.sums(sums[-1]).to(test.dtype) @ test[-1].T
        if amounts is None:
            motion = law.motion_of(pieces.sums(self.sizes).to(test.dtype), pieces.sums(self.totals).to(test.dtype))
            share = torch.ones(1, 1, dtype=test.dtype)
        else:
            motion = law.motion_of(*amounts)
            total = pieces.sums(self.totals).to(test.dtype)
            share = torch.where(total > 0, amounts[1] / torch.where(total > 0, total, torch.ones_like(total)), total)
            moved = share[..., None] * moved
        at = torch.arange(len(steps) - 1)
        for j in range(len(sums) - 1):
            alpha = (motion.scale * share)[..., None] * (pieces.sums(sums[j]).to(test.dtype) @ test[j].T)
            moved = moved + alpha * mean[:, (at - j).clamp(min=0)]
        if motion.keep is not None:
            moved = moved + motion.keep[..., None] * mean[:, :-1]
        moved = torch.where(motion.idle[..., None], mean[:, :-1], moved)
        return mean[:, 1:] - moved


SHORT = 1e-3
"""Where a run stays at a place, what the recorded runs saw there is that of so much of a step."""


@dataclass(frozen=True, slots=True)
class _Pieces:
    """Intervals between places of some steps: whole steps where they are whole numbers, else also shares of steps."""

    places: Float[Tensor, " recorded"]
    whole: bool

    @classmethod
    def of(cls, steps: Int[np.ndarray, " recorded"] | Float[np.ndarray, " recorded"], count: int) -> "_Pieces":
        """Of so many steps, beyond which there is nothing."""
        return cls(torch.from_numpy(np.minimum(steps, count)), steps.dtype.kind == "i")

    def sums(self, each_step: Float[Tensor, "step ..."]) -> Float[Tensor, "interval ..."]:
        """What each interval comes to, in double precision, since small differences of long sums are taken."""
        ends = torch.cat([each_step.new_zeros(1, *each_step.shape[1:]), each_step]).double().cumsum(0)
        if self.whole:
            spans = self.places.long()
            return ends[spans[1:]] - ends[spans[:-1]]
        last = len(each_step)
        left = self.places[:-1].clamp(max=last - SHORT)
        right = torch.maximum(self.places[1:], left + SHORT).clamp(max=last)
        return _between(ends, right) - _between(ends, left)


def _between(ends: Float[Tensor, "end ..."], places: Float[Tensor, " place"]) -> Float[Tensor, "place ..."]:
    below = places.floor().long().clamp(max=len(ends) - 2)
    share = (places - below).view(-1, *[1] * (ends.ndim - 1))
    return ends[below] + share * (ends[below + 1] - ends[below])


def pushes(
    course: MeanTrajectory,
    sums: Float[Tensor, "factor step width"],
    train: Float[Tensor, "factor pool width"] | PoolProjection,
    test: Float[Tensor, "factor test width"],
    query: Query,
    first: Float[np.ndarray, "run test"],
    places: Places | None,
    law: UpdateRule,
) -> Float[Tensor, "#run interval test"]:
    """What the mean run adds to each step of the requested runs; the same for all where that is so.

    Args:
        course: the mean run.
        sums: projections of the mean batches at each step, by factor.
        train: projected training examples.
        test: projected test examples.
        query: curricula, steps, and which examples weren't fitted.
        first: the runs' first scores on the scale of the course.
        places: where they have come to by its clock (None: each step stands for itself).
        law: how factors enter the recurrence.
    """
    seen = np.arange(test.shape[1]) if query.unseen is None else query.unseen.test_seen

    def pushed(runs: Any, at: np.ndarray, amounts: tuple[Tensor, Tensor] | None = None) -> Tensor:
        mean = torch.from_numpy(course.at(at, first[runs], seen).astype(np.float32))
        return course.push(sums, test, at, mean, law, amounts)

    if places is None or places.plain.all():
        return pushed(slice(None), query.steps)
    counts = law.counts(query.batches, query.learning_rates, query.steps, train.shape[1])
    shape = (len(query.batches), len(query.steps) - 1)
    sizes, totals = (one.to(test.dtype).view(shape) for one in (counts.amount(), counts.totals()))
    found = torch.empty(*shape, len(seen), dtype=test.dtype)
    for runs in places.groups():
        if places.plain[runs[0]]:
            found[runs] = pushed(runs, query.steps)
        else:
            found[runs] = pushed(runs, places.requested[runs[0]], (sizes[runs], totals[runs]))
    return found


@dataclass(frozen=True, slots=True)
class MeanExposure:
    """A course in the making: what the training runs saw on average at every step, as weighted counts.

    Called with both sides' projections and some grids, it gives the push of the grids' intervals, one grid after
    another, with gradients.
    """

    course: MeanTrajectory
    counts: IntervalCounts
    turned: IntervalCounts
    law: UpdateRule

    def sums(self, train: Float[Tensor, "factor pool width"] | PoolProjection) -> Float[Tensor, "factor step width"]:
        """The projections of each step's mean batch."""
        if isinstance(train, PoolProjection):
            return train.summed(self.counts)
        return torch.stack([sum_over(one, self.counts, self.turned) for one in train])

    def __call__(
        self,
        train: Float[Tensor, "factor pool width"],
        test: Float[Tensor, "factor test width"],
        grids: Sequence[Int[np.ndarray, " recorded"]],
    ) -> Float[Tensor, "interval test"]:
        """The push of every interval."""
        sums, every = self.sums(train), np.arange(test.shape[1])
        nothing = np.empty((1, len(every)))
        found = []
        for steps in grids:
            mean = torch.from_numpy(self.course.at(steps, nothing, every).astype(np.float32))
            found.append(self.course.push(sums, test, steps, mean, self.law)[0])
        return torch.cat(found)


def mean_exposure(runs: Sequence[Trajectory], law: UpdateRule, pool: int) -> MeanExposure:
    """The course of the average of some runs.

    At each step, batches are averaged over the runs that were recorded before and after it. Raises ``DataError`` where
    there is no step at which every test example is known.
    """
    grid, mean = average.average([run.steps for run in runs], [run.values for run in runs])
    if len(grid) == 0:
        raise DataError(
            "there is no step at which every test example's score is known in the runs to fit",
            "record more runs, or leave out around=mean-run",
        )
    horizon = max(int(run.steps[-1]) for run in runs)
    covered = np.zeros(horizon)
    for run in runs:
        covered[int(run.steps[0]) : int(run.steps[-1])] += 1
    share = torch.from_numpy(1.0 / np.maximum(covered, 1))
    every = [_each_step(run, law, pool, horizon) for run in runs]
    sizes = share * torch.stack([one.amount() for one in every]).sum(0)
    totals = share * torch.stack([one.totals() for one in every]).sum(0)
    counts = _by_step(every, share)
    return MeanExposure(MeanTrajectory(grid, mean, sizes.float(), totals.float()), counts, counts.turned(pool), law)


def _each_step(run: Trajectory, law: UpdateRule, pool: int, horizon: int) -> IntervalCounts:
    """What each step of a run saw, of those that it was recorded along; nothing at the others."""
    batches, rates = np.full((1, horizon, run.batches.shape[1]), -1), np.zeros((1, horizon))
    span = slice(int(run.steps[0]), int(run.steps[-1]))
    batches[0, span] = run.batches[span]
    if run.rates is not None:
        rates[0, span] = run.rates[span]
    return law.counts(batches, rates, np.arange(horizon + 1), pool)


def _by_step(every: Sequence[IntervalCounts], share: Float[Tensor, " step"]) -> IntervalCounts:
    """One count matrix of all runs, a row for each step, each run counting its share."""
    joined = join(list(every))
    step = torch.arange(len(share)).repeat(len(every))
    rows = torch.repeat_interleave(step, joined.sizes)
    order = torch.argsort(rows, stable=True)
    weights = torch.ones(len(rows), dtype=share.dtype) if joined.weights is None else joined.weights
    sizes = torch.bincount(rows, minlength=len(share))
    return IntervalCounts(joined.members[order], torch.cumsum(sizes, 0) - sizes, sizes, (weights * share[rows])[order])
