"""What the studies come to."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from gptfl.core import MetricInfo
from gptfl.core.display import Displayed
from gptfl.evaluation.paired import noise_of
from gptfl.scores.bootstrap import unpaired_difference

HARMFUL, HELPFUL, RANDOM = "most harmful", "most helpful", "random"
DIVERGED = "diverged"
"""The verdict on sets of which a training gave no finite score."""


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


@dataclass(frozen=True, slots=True)
class PredictedChange:
    """What a simulator says of the very batches that were trained, and between which bounds of 90 %, where it tells any."""

    change: float
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class DroppedSets:
    """Sets of ``size`` rows that were left out, each by itself, and what that changed.

    ``kind`` is ``most harmful`` or ``most helpful`` by the ``ranking`` of that label, one set; or ``random``, several sets
    of no ranking. ``sets`` are ids. ``values`` is the mean over the target test examples at the end of each training, and
    ``changes`` that less what the whole pool came to in the same order. ``change`` is their mean, with its
    ``standard_error`` and 90 % ``interval`` (None of one order, or where a training diverged). ``verdict`` is ``better`` or
    ``worse`` where the interval doesn't hold 0, ``not clear`` where it does, else ``one pair`` or ``diverged``.
    ``predicted`` has what simulators say, by the label of the ranking.
    """

    kind: str
    ranking: str | None
    size: int
    sets: tuple[tuple[str, ...], ...]
    values: Float[np.ndarray, "set order"]
    changes: Float[np.ndarray, "set order"]
    change: float
    standard_error: float | None
    interval: tuple[float, float] | None
    verdict: str
    predicted: Mapping[str, PredictedChange]


@dataclass(frozen=True, slots=True)
class RankingGap:
    """By how much better the metric ends without the most harmful rows than without the most helpful ones.

    Positive where the ranking is right, 0 in the mean of rankings that know nothing. ``verdict`` is ``right`` or
    ``wrong`` where the 90 % ``interval`` doesn't hold 0, else as in ``DroppedSets``. ``chance`` is what two random sets
    of that size differ by: the root mean square, None of a single one.
    """

    ranking: str
    size: int
    gap: float
    interval: tuple[float, float] | None
    verdict: str
    predicted: float | None
    chance: float | None


@dataclass(frozen=True, slots=True)
class RemovalStudy(Displayed):
    """Removal curves: trainings on the pool less the most harmful, the most helpful and random rows, and on all of it.

    Rows are ranked for the target test examples that ``on`` names and ``subject`` says in words, and trainings are scored
    on the same. ``whole`` is what the whole pool came to in each order. ``drops`` are by size, and for each size those of
    each of ``rankings``, then the random ones. ``trained`` counts the trainings that differ, ``trained_now`` those of
    them that this call carried out.
    """

    recording: str
    metric: MetricInfo
    on: str
    subject: str
    tests: int
    pool: int
    rankings: tuple[str, ...]
    sizes: tuple[int, ...]
    whole: Float[np.ndarray, " order"]
    drops: tuple[DroppedSets, ...]
    steps: int
    seed: int
    trained: int
    trained_now: int
    output: Path | None
    figure: Path | None
    notes: tuple[str, ...] = ()
    unkept: tuple[str, ...] = ()
    """What couldn't be written beside the result, and why."""

    def curve(self, kind: str, ranking: str | None) -> tuple[DroppedSets, ...]:
        """The sets of a kind, by size; those that are random are of no ranking."""
        return tuple(one for one in self.drops if one.kind == kind and one.ranking == ranking)

    def gap(self, ranking: str, size: int) -> RankingGap:
        """What a ranking is worth at a size. Raises ``KeyError`` for another ranking or size."""
        found = {(one.kind, one.ranking): one for one in self.drops if one.size == size}
        harmful, helpful, chance = found[HARMFUL, ranking], found[HELPFUL, ranking], found[RANDOM, None]
        sign = 1.0 if self.metric.higher_is_better else -1.0
        gaps = sign * (harmful.values[0] - helpful.values[0])
        ours, theirs = (one.predicted.get(ranking) for one in (harmful, helpful))
        interval, verdict = None, DIVERGED
        if np.isfinite(gaps).all():
            _, interval, said = noise_of(gaps, MetricInfo("gap", higher_is_better=True))
            verdict = {"better": "right", "worse": "wrong"}.get(said, said)
        means = chance.values.mean(axis=1)
        return RankingGap(
            ranking,
            size,
            float(gaps.mean()),
            interval,
            verdict,
            None if ours is None or theirs is None else sign * (ours.change - theirs.change),
            float(np.sqrt(2.0) * means.std(ddof=1)) if len(means) > 1 and np.isfinite(means).all() else None,
        )
