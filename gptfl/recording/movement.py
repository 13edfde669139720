"""How far the recorded runs moved the loss, and what that means for what can be learned from them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gptfl.core import Run

LOSS = "loss"
STILL = 0.01
"""Below this share of its first value, a loss has hardly moved."""
HARDLY = 1 / 3
"""A loss that has fallen by less than this share of its first value may have further to fall."""
PACE = 0.5
"""It has, where at the end it falls at more than this share of its pace at the beginning."""
THIRDS = np.array([0.0, 1 / 3, 2 / 3, 1.0])


@dataclass(frozen=True, slots=True)
class Movement:
    """How the mean over test examples moved, in the mean over runs.

    ``first`` and ``last`` are the loss at the ends; ``shift`` is the mean size of the change of a test example's, as a share
    of what it began with. ``pace`` is how fast it fell over the last third of all step sizes, as a share of how fast over the
    first; None where it didn't fall there, or too little was recorded to tell. ``apart`` is the standard deviation of the
    last loss over runs, 0 for a single one.
    """

    first: float
    last: float
    shift: float
    pace: float | None
    apart: float

    @property
    def fell(self) -> float:
        """By which share of its first value the loss fell."""
        return 1 - self.last / self.first if self.first > 0 else 0.0

    @property
    def notes(self) -> tuple[str, ...]:
        """What to tell of runs that moved little; nothing where they moved."""
        longer = "record with a larger --lr, or more --steps"
        if self.shift < STILL:
            return (
                f"the loss hardly moved ({self.shift:.1%} on average): such runs differ by little, so that what single "
                f"examples do can't be told from chance, and nothing is said of trainings that do move it; {longer}",
            )
        if self.pace is None or self.pace <= PACE or self.fell >= HARDLY:
            return ()
        return (
            f"the loss has barely moved for what is possible: it fell by {self.fell:.0%} ({self.first:.4g} to {self.last:.4g}), "
            f"and at the end still at {self.pace:.0%} of its pace at the beginning. What is learned from such runs holds for "
            f"this beginning of a training (they end {self.apart:.2g} apart), not for one that goes on; {longer}",
        )


def movement_of(runs: Sequence[Run]) -> Movement | None:
    """How the loss moved in some runs; None where none has a whole row of losses at two steps."""
    curves = [curve for run in runs if (curve := _curve(run)) is not None]
    if not curves:
        return None
    means = np.mean([mean for mean, _ in curves], axis=0)
    early, late = float(means[0] - means[1]), float(means[2] - means[3])
    has_pace = early > 0 and late > 0 and min(len(run.steps) for run in runs) > len(THIRDS)
    ends = [float(mean[-1]) for mean, _ in curves]
    return Movement(
        first=float(means[0]),
        last=float(means[-1]),
        shift=float(np.mean([shift for _, shift in curves])),
        pace=late / early if has_pace else None,
        apart=float(np.std(ends, ddof=1)) if len(ends) > 1 else 0.0,
    )


def _curve(run: Run) -> tuple[Float[np.ndarray, " 4"], float] | None:
    """The mean loss where no third, one, two and all of the run's step sizes are through, and the shift of single ones."""
    losses = run.metrics.get(LOSS)
    if losses is None:
        return None
    whole = np.flatnonzero(np.isfinite(losses).all(axis=1)) if losses.size else np.empty(0, dtype=np.int64)
    if len(whole) < 2:
        return None
    values = losses[whole].astype(np.float64)
    passed = np.append(0.0, np.cumsum(run.curriculum.learning_rates))[run.steps[whole]]
    passed = passed - passed[0]
    # Steps of size 0 at either end, as a warm-up's first, add nothing.
    means = (
        np.interp(THIRDS * passed[-1], passed, values.mean(axis=1)) if passed[-1] > 0 else values.mean(axis=1)[[0] * 4]
    )
    means[0], means[-1] = values[0].mean(), values[-1].mean()
    scale = float(np.abs(values[0]).mean())
    return means, float(np.abs(values[-1] - values[0]).mean()) / scale if scale > 0 else 0.0
