"""Steps of the recurrence composed: where the last scores come to is an affine map of where they were."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Passage:
    """Some steps, one after another: scores, latest first, become ``gain`` times themselves plus ``shift``.

    Both are None where there is no step.
    """

    gain: Float[Tensor, "later earlier test"] | None
    shift: Float[Tensor, "later test"] | None

    def carry(self, past: Sequence[Float[Tensor, "*pair"]], at: Tensor | slice) -> list[Float[Tensor, "*pair"]]:
        """The scores of test examples ``at`` after these steps."""
        if self.gain is None or self.shift is None:
            return list(past)
        found = []
        for gain, shift in zip(self.gain[:, :, at], self.shift[:, at], strict=True):
            carried = shift
            for one, score in zip(gain, past, strict=True):
                carried = torch.addcmul(carried, one, score)
            found.append(carried)
        return found


def passage(
    factor: Float[Tensor, "factor interval test"],
    scale: Sequence[float],
    keep: Sequence[float],
    idle: Sequence[bool],
    begin: int,
    end: int,
) -> Passage:
    """The steps from interval ``begin`` to ``end``.

    Args:
        factor: alphas and beta of every interval.
        scale: what the alphas are multiplied by, and so on as in ``Coefficients``.
        keep: what of the last score stays beside.
        idle: where nothing changes.
        begin: the first interval.
        end: that after the last.
    """
    if begin >= end:
        return Passage(None, None)
    order, tests = len(factor) - 1, factor.shape[2]
    gain = torch.eye(order, dtype=factor.dtype)[:, :, None].repeat(1, 1, tests)
    shift = factor.new_zeros(order, tests)
    for t in range(begin, end):
        if idle[t]:
            latest, added = gain[0], shift[0]
        else:
            alphas = scale[t] * factor[:-1, t]
            alphas[0] += keep[t]
            latest = (alphas[:, None] * gain).sum(dim=0)
            added = factor[-1, t] + (alphas * shift).sum(dim=0)
        gain = torch.cat([latest[None], gain[:-1]])
        shift = torch.cat([added[None], shift[:-1]])
    return Passage(gain, shift)
