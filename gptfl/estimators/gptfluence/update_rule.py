"""How the factors of a step move the metric: the paper's form, and the forms anchored at "nothing changes"."""

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gptfl.core import Unseen
from gptfl.errors import DataError
from gptfl.estimators.gptfluence.batches import IntervalCounts, interval_counts


@dataclass(frozen=True, slots=True)
class Coefficients:
    """phi_t = keep_t phi_{t-1} + scale_t sum_j alpha_j phi_{t-j} + beta, and phi_{t-1} where a step is ``idle``.

    Without ``keep`` nothing of the last score stays but through its alpha.
    """

    scale: Float[Tensor, "*interval"]
    keep: Float[Tensor, "*interval"] | None
    idle: Bool[Tensor, "*interval"]

    def view(self, *shape: int) -> "Coefficients":
        """The same with the intervals laid out in another shape."""
        keep = None if self.keep is None else self.keep.view(*shape)
        return Coefficients(self.scale.view(*shape), keep, self.idle.view(*shape))


@dataclass(frozen=True, slots=True)
class UpdateRule:
    """What a recurrence does with the factors that its batches add up to.

    ``modal`` is the usual number of examples in an interval, and ``batch`` that in a batch: since the loss of a batch is
    the mean over its examples, each counts by this over their number, so that the same batch written twice over is the
    same. None where all count alike, as they once did. ``relative`` is how much each example counts in the loss of a batch
    beside the others, where that isn't the same. The paper's form multiplies the last scores by alpha;
    where an interval counts for another number of examples than usual, alpha is scaled by modal / number, so that a
    shorter one doesn't shrink the metric. ``anchored``, alpha and beta are what an example changes: the last score
    stays, alpha_1 is the deviation from 1, and a shorter interval just changes less.

    ``rate`` is the learning rate of a step that counts 1; None where all steps count alike. With it, what a step
    changes is multiplied by its own rate over this one. In the paper's form that is the difference between what the
    step would give and the last score.
    """

    modal: int
    anchored: bool = False
    rate: float | None = None
    batch: int | None = None
    relative: Float[np.ndarray, " pool"] | None = field(default=None, compare=False)

    def for_query(self, unseen: Unseen | None) -> "UpdateRule":
        """The law for the examples asked about; one that wasn't fitted counts as the mean of those that were."""
        if unseen is None or self.relative is None:
            return self
        seen = unseen.pool_seen
        return replace(self, relative=np.where(seen >= 0, self.relative[np.maximum(seen, 0)], 1.0))

    def counts(
        self,
        batches: Int[np.ndarray, "run step batch"],
        rates: Float[np.ndarray, "run step"] | None,
        steps: Int[np.ndarray, " recorded"],
        pool: int,
    ) -> IntervalCounts:
        """What every interval of every run saw, weighted by step sizes where the rule looks at them.

        Args:
            batches: places in the pool; -1 is padding.
            rates: learning rates, which a rule that ignores them does without.
            steps: recorded steps, ascending.
            pool: how many training examples there are.

        Raises ``DataError`` where it needs ``rates`` and they aren't one finite number for each batch.
        """
        if self.rate is None:
            return interval_counts(batches, steps, pool, None, self.batch, self.relative)
        if rates is None or rates.shape != batches.shape[:2] or not np.isfinite(rates).all():
            raise DataError("a step lacks its learning rate", "give a learning rate for every batch")
        return interval_counts(batches, steps, pool, rates / self.rate, self.batch, self.relative)

    def motion(self, counts: IntervalCounts, dtype: torch.dtype = torch.float32) -> Coefficients:
        """The motion of each interval of these counts."""
        return self.motion_of(counts.amount().to(dtype), counts.totals().to(dtype))

    def motion_of(self, sizes: Float[Tensor, "*interval"], totals: Float[Tensor, "*interval"]) -> Coefficients:
        """The motion of intervals that count for so many examples, whose weights add up to the totals."""
        idle = sizes <= 0
        if self.anchored:
            return Coefficients(torch.ones_like(sizes), torch.ones_like(sizes), idle)
        each = torch.where(idle, torch.ones_like(sizes), sizes)
        scale = torch.where(idle, torch.zeros_like(sizes), self.modal / each)
        return Coefficients(scale, None if self.rate is None else 1.0 - totals / each, idle)


def mean_rate(
    batches: list[Int[np.ndarray, "step batch"]],
    rates: list[Float[np.ndarray, " step"]],
    steps: list[Int[np.ndarray, " recorded"]],
) -> float:
    """The mean learning rate of all batches between the recorded steps of some runs, empty ones aside.

    Raises ``DataError`` unless it is a positive number.
    """
    between = [slice(int(one[0]), int(one[-1])) for one in steps]
    found = np.concatenate(
        [rate[span][(seen[span] >= 0).any(axis=1)] for seen, rate, span in zip(batches, rates, between, strict=True)]
    )
    mean = float(np.float32(found.mean())) if len(found) else 0.0
    if not (np.isfinite(mean) and mean > 0):
        raise DataError(
            f"the mean learning rate of the runs to fit is {mean:g}",
            "leave out step_size, or give the recording's learning rates (gptfl import --lr)",
        )
    return mean
