"""The error of roll-outs over several recorded steps, instead of one-step-ahead errors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gptfl.estimators.gptfluence.batches import IntervalCounts, join
from gptfl.estimators.gptfluence.recurrence import factors, recur
from gptfl.estimators.gptfluence.trajectory import Trajectory
from gptfl.estimators.gptfluence.update_rule import Coefficients, UpdateRule

Grid = Int[np.ndarray, " recorded"]


@dataclass(frozen=True, slots=True)
class Windows:
    """Some runs cut into windows of ``length`` recorded steps, each of which is rolled out from its recorded start.

    A run's windows follow one another; its last is filled up with intervals that hold nothing. ``known`` is 1 where
    the target and the whole history of the window's start were recorded and the interval saw an example, else 0.
    ``grids`` are the different steps that runs were recorded at, and ``place`` is each interval's row in the
    intervals of all grids one after another.
    """

    counts: IntervalCounts
    turned: IntervalCounts
    motion: Coefficients
    past: Float[Tensor, "order window test"]
    target: Float[Tensor, "window length test"]
    known: Float[Tensor, "window length test"]
    grids: tuple[Grid, ...]
    place: Int[Tensor, "window length"]


def cut_windows(runs: Sequence[Trajectory], order: int, law: UpdateRule, pool: int, length: int | None) -> Windows:
    """The roll-out objective of all runs, in windows. Before a run's first score the history repeats it.

    Args:
        runs: batches and values of each run, on the scale of the fit.
        order: how many earlier values a step goes by.
        law: how batches count.
        pool: how many training examples there are.
        length: recorded steps of a window, None for the whole of each run.
    """
    longest = max(len(run.steps) - 1 for run in runs)
    length = longest if length is None else min(length, longest)
    grids: dict[bytes, Grid] = {}
    for run in runs:
        grids.setdefault(np.asarray(run.steps, dtype=np.int64).tobytes(), run.steps)
    offsets = dict(zip(grids, np.cumsum([0, *[len(grid) - 1 for grid in grids.values()]]).tolist(), strict=False))
    counts, past, target, place = [], [], [], []
    for run in runs:
        intervals = len(run.steps) - 1
        windows = -(-intervals // length)
        spare = windows * length - intervals
        counts.append(_filled_up(law.counts(run.batches[None], _rates(run), run.steps, pool), spare))
        values = torch.from_numpy(np.array(run.values, dtype=np.float32))
        starts = torch.arange(windows) * length
        past.append(torch.stack([values[(starts - j).clamp(min=0)] for j in range(order)]))
        beyond = values.new_full((spare, values.shape[1]), torch.nan)
        target.append(torch.cat([values[1:], beyond]).view(windows, length, -1))
        at = torch.arange(windows * length).clamp(max=intervals - 1)
        place.append((at + offsets[np.asarray(run.steps, dtype=np.int64).tobytes()]).view(windows, length))
    joined, begin, following = join(counts), torch.cat(past, 1), torch.cat(target)
    motion = law.motion(joined).view(*following.shape[:2])
    known = begin.isfinite().all(0)[:, None] & following.isfinite() & ~motion.idle[:, :, None]
    return Windows(
        joined,
        joined.turned(pool),
        motion=motion,
        past=torch.where(begin.isfinite(), begin, 0.0),
        target=torch.where(known, following, 0.0),
        known=known.to(torch.float32),
        grids=tuple(grids.values()),
        place=torch.cat(place),
    )


def rolled_error(
    train: Float[Tensor, "factor pool rank"],
    test: Float[Tensor, "factor test rank"],
    windows: Windows,
    push: Float[Tensor, "interval test"] | None = None,
) -> Float[Tensor, ""]:
    """The sum of the squared errors of all windows' roll-outs.

    Args:
        train: projected training examples.
        test: projected test examples.
        windows: what each begins from, sees and must come to.
        push: what every grid's intervals add to theirs.
    """
    shape = windows.target.shape
    factor = [one.view(shape) for one in factors(train, test, windows.counts, windows.turned)]
    if push is not None:
        factor[-1] = factor[-1] + push[windows.place]
    rolled = recur(factor, windows.motion, list(windows.past))[:, 1:]
    return ((rolled - windows.target) * windows.known).square().sum()


def _rates(run: Trajectory) -> Float[np.ndarray, "one step"] | None:
    return None if run.rates is None else run.rates[None]


def _filled_up(counts: IntervalCounts, spare: int) -> IntervalCounts:
    more = counts.sizes.new_zeros(spare)
    return IntervalCounts(
        counts.members,
        torch.cat([counts.starts, more + len(counts.members)]),
        torch.cat([counts.sizes, more]),
        counts.weights,
        None if counts.amounts is None else torch.cat([counts.amounts, counts.amounts.new_zeros(spare)]),
    )
