"""What the fit of a recurrence needs of one run."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import FitData, Run


@dataclass(frozen=True, slots=True)
class Trajectory:
    """A run's batches and what was recorded along it, NaN where nothing was; ``rates`` are its learning rates."""

    batches: Int[np.ndarray, "step batch"]
    steps: Int[np.ndarray, " recorded"]
    values: Float[np.ndarray, "recorded test"]
    rates: Float[np.ndarray, " step"] | None = None


def recorded(run: Run, data: FitData) -> Trajectory | None:
    """The run at those steps at which the metric was recorded at all; None where these are fewer than two."""
    values = data.recorded(run)
    there = np.isfinite(values).any(axis=1)
    if there.sum() < 2:
        return None
    return Trajectory(run.curriculum.batches, run.steps[there], values[there], run.curriculum.learning_rates)


def scaled(runs: Sequence[Trajectory], factor: float) -> list[Trajectory]:
    """The same runs with every value multiplied."""
    return [replace(run, values=run.values * factor) for run in runs]
