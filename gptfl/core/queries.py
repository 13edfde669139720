"""What an estimator learns from, what it is asked, and what it answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gptfl.core.blocked_rows import BlockedRows, chosen
from gptfl.core.examples import Example, examples_fingerprint
from gptfl.core.gradients import GradientProducts
from gptfl.core.runs import MetricInfo, Run
from gptfl.core.values import Progress, fingerprint, silent


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """One vector for each pool and test example; ``kind`` says what they are (embedding, gradient).

    ``train`` is ``BlockedRows`` where a pool has more than fit into memory; only estimators whose tag ``blocks`` is true
    are given that.
    """

    train: Float[np.ndarray, "pool d"]
    test: Float[np.ndarray, "test d"]
    kind: str = "embedding"


@dataclass(frozen=True, slots=True)
class Features:
    """What one encoder says of the examples of a recording, in one or more named sets.

    ``examples`` is the fingerprint of the pool and test set they belong to;
    ``identity`` is what determines the vectors: encoder, weights, settings. ``seconds``, where known, is what it took
    to make them, as part of a recording's cost; no fingerprint has it.
    """

    encoder: str
    identity: Mapping[str, Any]
    examples: str
    sets: Mapping[str, FeatureSet]
    seconds: float | None = None
    _known: list[str] = field(default_factory=list, init=False, repr=False, compare=False)
    """The fingerprint, once it was computed."""
    memo: dict[str, Any] | None = field(default=None, init=False, repr=False, compare=False)
    """What fits worked out of the vectors and the next ones to the same vectors may take; None where nothing is kept."""

    def remembering(self) -> "Features":
        """The same, with a memo that estimators fitted to it share."""
        found = replace(self)
        object.__setattr__(found, "_known", self._known)
        object.__setattr__(found, "memo", {})
        return found

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the encoder, the examples and every vector."""
        if not self._known:
            arrays = [x for name in sorted(self.sets) for x in (name, self.sets[name].train, self.sets[name].test)]
            self._known.append(fingerprint(self.encoder, dict(self.identity), self.examples, *arrays))
        return self._known[0]

    @property
    def in_blocks(self) -> bool:
        """Whether the pool's vectors are read some at a time."""
        return any(isinstance(one.train, BlockedRows) for one in self.sets.values())

    def in_memory(self) -> "Features":
        """The same with all vectors in memory."""
        if not self.in_blocks:
            return self
        return replace(self, sets={name: replace(one, train=np.asarray(one.train)) for name, one in self.sets.items()})


@dataclass(frozen=True, slots=True)
class FitData:
    """All that an estimator may learn from: nothing of a test run is in here.

    ``fit_runs`` and ``validation_runs`` carry the metric named by ``metric`` among others;
    ``features`` is None unless the estimator requires it or the user gave it, and ``gradients`` unless it
    requires them or takes them where they are.
    """

    pool: tuple[Example, ...]
    test: tuple[Example, ...]
    metric: MetricInfo
    fit_runs: tuple[Run, ...]
    validation_runs: tuple[Run, ...] = ()
    features: Features | None = None
    seed: int = 0
    progress: Progress = silent
    gradients: GradientProducts | None = None

    def recorded(self, run: Run) -> Float[np.ndarray, "recorded test"]:
        """The recorded values of the metric that is being fitted."""
        return run.metrics[self.metric.name]


@dataclass(frozen=True, slots=True)
class Query:
    """What an estimator is asked: the trajectories that these curricula would give.

    All curricula share the ``steps`` to predict at; ``steps[0]`` is where ``first`` was recorded
    (0 unless imported). Shorter runs are padded with batches of -1 and learning rate 0.

    ``unseen`` is there where the question is about examples that the estimator was not fitted to.
    ``derivatives`` are those of the asked runs (see ``Run``), for estimators that require them.
    ``observed`` holds what was recorded of the asked runs themselves after their first scores, NaN where nothing was
    (and in the first row, which ``first`` has): an estimator whose ``conditions`` is true goes on from there, others
    ignore it.
    ``typical`` is there where each run stands for the mean over all random orders: ``batches`` then hold at each step all
    examples that may be in it, each of which counts as often as it is there on average, and ``typical`` has the batches
    of one order. Only estimators whose tag ``every_order`` is true are asked so.
    """

    batches: Int[np.ndarray, "run step batch"]
    learning_rates: Float[np.ndarray, "run step"]
    steps: Int[np.ndarray, " recorded"]
    first: Float[np.ndarray, "run test"]
    unseen: "Unseen | None" = None
    derivatives: Mapping[str, Float[np.ndarray, "run recorded test"]] = field(default_factory=dict)
    observed: Float[np.ndarray, "run recorded test"] | None = None
    typical: Int[np.ndarray, "run step typical_batch"] | None = None

    @property
    def drawn(self) -> Int[np.ndarray, "run step batch"]:
        """The batches of one order of each run: its own, or the typical ones where it stands for every order."""
        return self.batches if self.typical is None else self.typical


@dataclass(frozen=True, slots=True)
class Unseen:
    """The examples that a question is about, where they are others than those fitted.

    ``batches`` of the query then index ``pool`` and ``first`` belongs to ``test``; ``pool_seen`` and ``test_seen``
    give each one's place among the examples fitted, -1 where it was not. ``features`` are of these examples, in
    the same sets as those fitted; ``gradients`` are of these examples, where they were recorded.
    """

    pool: tuple[Example, ...]
    test: tuple[Example, ...]
    pool_seen: Int[np.ndarray, " pool"]
    test_seen: Int[np.ndarray, " test"]
    features: Features | None = None
    gradients: GradientProducts | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """Predicted trajectories; ``values[:, 0]`` repeats the given first value.

    ``intervals`` maps a level such as 0.9 to its lower and upper bounds on what would be recorded, where offered.
    ``novelty``, where offered, tells how far each asked run lies from those fitted: the variance that is left of
    what the run's own examples may do, as a share of what it was before anything was recorded (0 known, 1 unknown).
    """

    values: Float[np.ndarray, "run recorded test"]
    intervals: Mapping[float, tuple[Float[np.ndarray, "run recorded test"], Float[np.ndarray, "run recorded test"]]] = (
        field(default_factory=dict)
    )
    novelty: Float[np.ndarray, " run"] | None = None


def query_for(runs: Sequence[Run], metric: MetricInfo, observed: int = 0) -> Query:
    """What an estimator is asked about runs that were recorded at the same steps.

    It is told the first ``observed`` recorded scores after the start of each.
    """
    longest = max(run.curriculum.steps for run in runs)
    widest = max(run.curriculum.batches.shape[1] for run in runs)
    batches = np.full((len(runs), longest, widest), -1, dtype=np.int64)
    rates = np.zeros((len(runs), longest))
    for row, run in enumerate(runs):
        steps, width = run.curriculum.batches.shape
        batches[row, :steps, :width] = run.curriculum.batches
        rates[row, :steps] = run.curriculum.learning_rates
    first = np.stack([run.metrics[metric.name][0] for run in runs]).astype(np.float64)
    directions = sorted(set.intersection(*(set(run.derivatives) for run in runs)))
    derivatives = {name: np.stack([run.derivatives[name] for run in runs]) for name in directions}
    known = np.stack([given_part(run, metric, observed) for run in runs]) if observed else None
    return Query(batches, rates, runs[0].steps, first, derivatives=derivatives, observed=known)


def given_part(run: Run, metric: MetricInfo, observed: int) -> Float[np.ndarray, "recorded test"]:
    """The first ``observed`` recorded scores after a run's start, NaN elsewhere."""
    values = run.metrics[metric.name].astype(np.float64)
    given = np.full(values.shape, np.nan)
    given[1 : observed + 1] = values[1 : observed + 1]
    return given


def same_steps(runs: Sequence[Run]) -> list[list[int]]:
    """Places of runs, grouped by the steps they were recorded at."""
    groups: dict[bytes, list[int]] = {}
    for place, run in enumerate(runs):
        groups.setdefault(run.steps.astype(np.int64).tobytes(), []).append(place)
    return list(groups.values())


def stacked(arrays: Sequence[Float[np.ndarray, "recorded test"]]) -> Float[np.ndarray, "run recorded test"]:
    """Runs of different length in one array, padded with NaN at the end."""
    longest = max(len(array) for array in arrays)
    result = np.full((len(arrays), longest, arrays[0].shape[1]), np.nan)
    for row, array in enumerate(arrays):
        result[row, : len(array)] = array
    return result


def features_at(
    features: Features,
    pool: tuple[Example, ...],
    test: tuple[Example, ...],
    pool_rows: Int[np.ndarray, " kept"],
    test_rows: Int[np.ndarray, " chosen"],
) -> Features:
    """The features of some of the examples.

    Args:
        features: of all examples.
        pool: the training examples that are kept, in order.
        test: the test examples that are kept, in order.
        pool_rows: the row in ``features`` of each example of ``pool``.
        test_rows: the row in ``features`` of each example of ``test``.
    """
    sets = {
        name: FeatureSet(chosen(one.train, pool_rows), one.test[test_rows], one.kind)
        for name, one in features.sets.items()
    }
    return Features(features.encoder, features.identity, examples_fingerprint(pool, test), sets)
