"""The step sizes of a run: how a schedule makes them of the peak learning rate.

They are those of transformers' schedulers to the last bit, by the same operations in the same order, and need neither
transformers nor torch: what simulates a run loads none of them. Tests hold them against the schedulers. Linear decay
and a constant rate without warm-up are computed as recordings have had them before there was any other schedule.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float

from gptfl.errors import UsageError

POLYNOMIAL_END = 1e-7
"""The learning rate that polynomial decay, of power 1, ends at: the scheduler's own default."""
TIMESCALE = 10_000
"""Of the inverse square root, in steps, where there is no warm-up: the scheduler's own default."""

Rates = Float[np.ndarray, " step"]
Decay = Callable[[int, int, int], float]
"""The share of the peak at a step, from the step, the steps of warm-up and those of the run."""


def warmup_steps(warmup: float, steps: int) -> int:
    """How many steps a warm-up has: ``warmup`` itself, or below 1 that share of the run's steps, rounded up."""
    return int(warmup) if warmup >= 1 else math.ceil(steps * warmup)


def linear_decay(learning_rate: float, steps: int, warmup: float = 0) -> Rates:
    """Linear decay to zero: without warm-up step t of T, from 0, takes ``lr * (1 - t / T)``."""
    if not warmup:
        return learning_rate * (1.0 - np.arange(steps) / steps)
    return _followed(
        learning_rate, steps, warmup, lambda step, warm, total: max(0.0, float(total - step) / max(1, total - warm))
    )


def constant(learning_rate: float, steps: int, warmup: float = 0) -> Rates:
    """The same learning rate at every step after the warm-up."""
    return _followed(learning_rate, steps, warmup, lambda step, warm, total: 1.0)


def cosine(learning_rate: float, steps: int, warmup: float = 0) -> Rates:
    """Half a cosine, from the peak down to zero."""

    def decay(step: int, warm: int, total: int) -> float:
        progress = float(step - warm) / float(max(1, total - warm))
        return max(0.0, 0.5 * (1.0 + math.cos(math.pi * 0.5 * 2.0 * progress)))

    return _followed(learning_rate, steps, warmup, decay)


def polynomial(learning_rate: float, steps: int, warmup: float = 0) -> Rates:
    """Polynomial decay of power 1 to 1e-7. Raises ``UsageError`` for a peak that isn't above that."""
    if learning_rate <= POLYNOMIAL_END:
        raise UsageError(
            f"--schedule polynomial decays to {POLYNOMIAL_END:g}, and --lr is {learning_rate:g}",
            "raise --lr, or use --schedule linear",
        )

    def decay(step: int, warm: int, total: int) -> float:
        remaining: float = 1 - (step - warm) / (total - warm)
        return ((learning_rate - POLYNOMIAL_END) * remaining + POLYNOMIAL_END) / learning_rate

    return _followed(learning_rate, steps, warmup, decay)


def inverse_sqrt(learning_rate: float, steps: int, warmup: float = 0) -> Rates:
    """As one over the root of the step; the warm-up is the time scale, or 10,000 steps without one."""

    def decay(step: int, warm: int, total: int) -> float:
        scale = warm or TIMESCALE
        return 1.0 / math.sqrt((step + (scale - warm)) / scale)

    return _followed(learning_rate, steps, warmup, decay)


def _followed(learning_rate: float, steps: int, warmup: float, decay: Decay) -> Rates:
    warm = warmup_steps(warmup, steps)
    shares = [step / float(max(1, warm)) if step < warm else decay(step, warm, steps) for step in range(steps)]
    return np.array([learning_rate * share for share in shares])


SCHEDULES: Mapping[str, Callable[..., Rates]] = {
    "linear": linear_decay,
    "cosine": cosine,
    "constant": constant,
    "polynomial": polynomial,
    "inverse_sqrt": inverse_sqrt,
}
"""How a run's step sizes come of the peak learning rate, the number of steps and the warm-up."""


def check_schedule(schedule: str) -> None:
    """Raise ``UsageError`` for a schedule that isn't known."""
    if schedule not in SCHEDULES:
        known = ", ".join(list(SCHEDULES)[:-1]) + f" or {list(SCHEDULES)[-1]}"
        raise UsageError(f"{schedule!r} is unknown", f"use {known}", option="schedule")


def check_warmup(warmup: float, steps: int) -> None:
    """Raise ``UsageError`` where a run ends before its warm-up does."""
    warm = warmup_steps(warmup, steps)
    if warm and warm >= steps:
        raise UsageError(
            f"--warmup {warmup:g} is {warm} steps, and a run has {steps}",
            f"give at most {steps - 1}, or a share below 1",
        )
