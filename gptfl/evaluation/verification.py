"""What a prediction comes to when it is carried out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import MetricInfo, Run
from gptfl.core.display import Displayed
from gptfl.scores.coverage import Coverage, Intervals

LEVEL = 0.9
"""Of the interval of what pairs of trainings differ in."""


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """What training on a set changed against another one, ``against``, in pairs of trainings of the same orders.

    ``recorded``, ``predicted`` and ``batches`` are of the other side's trainings, as in ``Verification``, and ``mean`` is
    where these ended, in the mean over test examples. ``changes`` are the recorded differences at the end, pair by pair;
    ``change`` is their mean, with its ``standard_error`` and its ``interval`` of ``LEVEL`` (None for one pair).
    ``verdict`` is ``better`` or ``worse`` where that interval doesn't hold 0, else ``not clear``, and ``one pair`` where
    nothing tells the noise. ``predicted_change`` is what the simulator says of these very batches, and
    ``predicted_intervals`` by level the bounds of that, where they are known.
    """

    against: str
    labels: tuple[str, ...]
    recorded: Float[np.ndarray, "run recorded test"]
    predicted: Float[np.ndarray, "run recorded test"]
    batches: tuple[tuple[tuple[str, ...], ...], ...]
    mean: float
    changes: tuple[float, ...]
    change: float
    standard_error: float | None
    interval: tuple[float, float] | None
    verdict: str
    predicted_change: float
    predicted_intervals: Mapping[float, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Verification(Displayed):
    """Curricula that were predicted first and carried out then.

    ``recorded`` is what the real trainings came to at ``steps``, NaN where the recording's own settings measure
    nothing; ``reference`` is the average recorded run, NaN where it isn't known. MSE, rho (of the final step) and
    coverage are means over the curricula in ``labels``; ``skill`` is against ``reference``, None where that isn't
    known. ``batches`` name the examples trained on, step by step. ``seconds`` is what the trainings took. A ``binary``
    metric is 0 or 1 wherever it was recorded: what is predicted is the probability of 1.
    """

    recording: str
    estimator: str
    metric: MetricInfo
    what: str
    labels: tuple[str, ...]
    tests: tuple[str, ...]
    steps: Int[np.ndarray, " recorded"]
    predicted: Float[np.ndarray, "run recorded test"]
    recorded: Float[np.ndarray, "run recorded test"]
    reference: Float[np.ndarray, "recorded test"]
    batches: tuple[tuple[tuple[str, ...], ...], ...]
    mse: float
    rho: float
    skill: float | None
    coverage: Mapping[float, Coverage]
    seconds: float
    output: Path | None = None
    figure: Path | None = None
    intervals: Intervals = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    binary: bool = False
    paired: PairedDifference | None = None
    """The same orders trained on another set, where the question is held against one."""
    unkept: tuple[str, ...] = ()
    """What couldn't be written beside the result, and why."""

    @property
    def last(self) -> int:
        """The place of the last step at which something was recorded."""
        return int(np.flatnonzero(np.isfinite(self.recorded).any(axis=(0, 2)))[-1])

    def finals(self) -> tuple[Float[np.ndarray, " test"], Float[np.ndarray, " test"], Float[np.ndarray, " test"]]:
        """Each test example at the end, means over curricula: predicted, recorded, and in the average recorded run."""
        return (
            self.predicted[:, self.last].mean(axis=0),
            self.recorded[:, self.last].mean(axis=0),
            self.reference[self.last],
        )

    def compared(self) -> tuple[str, Float[np.ndarray, "recorded test"]]:
        """What the question is held against, and its recorded trajectories: the other set, else the average recorded run."""
        if self.paired is None:
            return "the average recorded run", self.reference
        return self.paired.against, self.paired.recorded.mean(axis=0)

    def means(self) -> tuple[float | None, ...]:
        """The means of ``finals`` over the test examples; None where nothing is known."""
        return tuple(_mean(values) for values in self.finals())


def values_at(run: Run, metric: str, steps: Int[np.ndarray, " asked"]) -> Float[np.ndarray, "asked test"]:
    """What a run recorded at these steps, NaN where it didn't."""
    values = run.metrics[metric].astype(np.float64)
    result = np.full((len(steps), values.shape[1]), np.nan)
    places = {int(step): place for place, step in enumerate(run.steps)}
    for row, step in enumerate(steps):
        if int(step) in places:
            result[row] = values[places[int(step)]]
    return result


def named_batches(runs: Sequence[Run], ids: Sequence[str]) -> tuple[tuple[tuple[str, ...], ...], ...]:
    """The ids of every batch of every run."""
    return tuple(
        tuple(tuple(ids[place] for place in batch if place >= 0) for batch in run.curriculum.batches) for run in runs
    )


def _mean(values: Float[np.ndarray, " test"]) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None
