"""What the studies come to."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from gptfl.core import MetricInfo
from gptfl.core.display import Displayed
from gptfl.scores.bootstrap import unpaired_difference


@dataclass(frozen=True, slots=True)
class RelabelStudy(Displayed):
    """A pool retrained on after checking and correcting the first part of it, by several orders of checking.

    ``shares`` are the parts of the pool checked, 0 and 1 among them; ``found`` are the shares of flips thereby
    corrected, and ``values`` maps each metric to its mean over the test examples at the end of each training. In
    each repeat all trainings go through the same examples in the same batches. ``trained`` counts the trainings that
    differ, ``trained_now`` those of them that this call carried out.
    """

    recording: str
    on: str
    orders: tuple[str, ...]
    shares: tuple[float, ...]
    found: Float[np.ndarray, "order share repeat"]
    values: Mapping[str, Float[np.ndarray, "order share repeat"]]
    metrics: Mapping[str, MetricInfo]
    flips: int
    pool: int
    test: int
    steps: int
    trained: int
    trained_now: int
    output: Path | None
    figure: Path | None
    notes: tuple[str, ...] = ()
    unkept: tuple[str, ...] = ()
    """What couldn't be written beside the result, and why."""

    @property
    def repeats(self) -> int:
        """How often each point was trained."""
        return int(self.found.shape[2])


@dataclass(frozen=True, slots=True)
class SelectorResult:
    """Subsets that were chosen in one way, and what trainings on them came to.

    ``subsets`` are ids; ``values`` maps each metric to its mean over the scored test examples at the end of each
    training. The trainings of a single subset differ in their order; random subsets are trained on once each.
    """

    name: str
    subsets: tuple[tuple[str, ...], ...]
    values: Mapping[str, Float[np.ndarray, " training"]]


@dataclass(frozen=True, slots=True)
class SelectionStudy(Displayed):
    """Trainings on selected subsets, scored on test examples that no selection looked at.

    The first of ``kinds`` is the selection studied, the last one random. ``targets`` counts the test examples selected
    for; ``scored`` are the ids of those scored on, of which no estimator saw a recorded score. ``trained`` counts
    the trainings that differ, ``trained_now`` those of them that this call carried out.
    """

    recording: str
    on: str
    size: int
    kinds: tuple[SelectorResult, ...]
    metrics: Mapping[str, MetricInfo]
    targets: int
    scored: tuple[str, ...]
    steps: int
    trained: int
    trained_now: int
    seed: int
    output: Path | None
    figure: Path | None
    notes: tuple[str, ...] = ()
    unkept: tuple[str, ...] = ()
    """What couldn't be written beside the result, and why."""

    def better(self, metric: str, kind: SelectorResult, than: SelectorResult) -> tuple[float, tuple[float, float]]:
        """By how much better the metric ends with one kind than with another, and the 95 % bootstrap interval.

        Trainings are resampled, and never test examples.
        """
        mean, (low, high) = unpaired_difference(kind.values[metric], than.values[metric], self.seed)
        return (mean, (low, high)) if self.metrics[metric].higher_is_better else (-mean, (-high, -low))
