"""What a prediction comes to when it is carried out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import MetricInfo
from gptfl.core.display import Displayed
from gptfl.scores.coverage import Coverage, Intervals


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

    def means(self) -> tuple[float | None, ...]:
        """The means of ``finals`` over the test examples; None where nothing is known."""
        return tuple(_mean(values) for values in self.finals())


def _mean(values: Float[np.ndarray, " test"]) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None
