"""What the fit of a recurrence needs of one run."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import FitData, Run
from gptfl.errors import DataError


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


def divided_runs(data: FitData) -> tuple[list[Trajectory], list[Trajectory], list[str]]:
    """The runs to fit and those to stop by; and a note of what is chosen for want of validation runs.

    Raises ``DataError`` where there is nothing to learn from.
    """
    fit_runs = [(run.index, kept) for run in data.fit_runs if (kept := recorded(run, data)) is not None]
    validation = [kept for run in data.validation_runs if (kept := recorded(run, data)) is not None]
    validation = [run for run in validation if np.isfinite(run.values[1:, np.isfinite(run.values[0])]).any()]
    if not fit_runs:
        raise DataError(
            f"no run to fit has {data.metric.name!r} recorded at two steps", "record more runs or more steps"
        )
    if validation:
        return [run for _, run in fit_runs], validation, []
    # Pieces of one run share its index.
    last = fit_runs[-1][0]
    rest, held = ([run for index, run in fit_runs if (index == last) == side] for side in (False, True))
    if not rest:
        return held, held, ["no validation run: gptfluence stopped by the only run it was fitted to"]
    return rest, held, ["no validation run: gptfluence held out the last run to fit and stopped by it"]
