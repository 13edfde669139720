"""How well a design tells the effects of training examples apart, from its batches alone.

The model: a run's deviation from the average run is the sum over examples of (its exposure to the example - the
average exposure) x the example's effect, plus noise. Before anything is recorded the effects are independent, of equal
variance. What is left of an effect's variance afterwards, as a share, depends on the design alone. An effect is that
of an example in place of the average one: runs of one length identify nothing else.

With A the centred exposures (run x pool), G = A A' and s the noise's variance over that of an effect, what runs tell of
a direction c (weights of the effects that sum to 0) is c' A' (G + s I)^-1 A c, as a share of c' c. So everything is
computed between runs, and no array over the pool is held but the exposures themselves, some columns at a time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from gptfl.core.curriculum import presentation_weights

SIGNAL_TO_NOISE = 10.0
"""The variance that its examples give a run of the contrast design's default, over that of noise."""
CONTRAST_SUBSET, CONTRAST_PART = 32, 6
"""That run has 32 examples, or a sixth of the pool where that is less."""
ENTRIES = 2**22
"""How many exposures are held at once (32 MB), unless one column has more."""


@dataclass(frozen=True, slots=True)
class Identification:
    """What is left unknown of effects after ``runs`` runs, as shares of the variance before: 0 known, 1 unknown.

    ``example`` is for one of ``examples`` examples in place of the average one, in the mean over them; it is as much
    for any group drawn at random. ``group`` is for the groups that pairs of runs swap, ``classes`` for each class in
    place of all the others, and ``groups`` so for each group of the design of groups. ``effects`` is the number of effects, of the ``examples - 1`` there are, that are known
    if what is known is put together.
    """

    runs: int
    examples: int
    example: float
    effects: float
    group: float | None = None
    classes: Mapping[str, float] = field(default_factory=dict)
    groups: Mapping[str, float] = field(default_factory=dict)


def contrast_subset(pool: int) -> int:
    """How many examples a run of the contrast design has unless given."""
    return max(1, min(CONTRAST_SUBSET, pool // CONTRAST_PART))


class Exposures:
    """The sum of step size times share of the batch at which each run saw each example, kept by run and example."""

    def __init__(
        self, batches: Sequence[Int[np.ndarray, "step batch"]], learning_rates: Float[np.ndarray, " step"]
    ) -> None:
        self.runs = len(batches)
        found = []
        for run, own in enumerate(batches):
            weights = presentation_weights(own, learning_rates)
            sizes = np.broadcast_to(weights[:, None], own.shape)[own >= 0]
            members, places = np.unique(own[own >= 0], return_inverse=True)
            found.append((np.full(len(members), run), members, np.bincount(places, sizes, len(members))))
        rows, seen, values = (np.concatenate(part) for part in zip(*found, strict=True))
        order = np.argsort(seen, kind="stable")
        self.run, self.member, self.value = rows[order], seen[order], values[order]

    @property
    def total(self) -> float:
        """All step sizes of a run together, in the mean over runs."""
        return float(self.value.sum()) / self.runs

    def gram(self) -> Float[np.ndarray, "run run"]:
        """The products of the runs' exposures with each other."""
        result = np.zeros((self.runs, self.runs))
        for part in self.columns():
            result += part @ part.T
        return result

    def times(self, weights: Float[np.ndarray, " pool"]) -> Float[np.ndarray, " run"]:
        """The sum over examples of exposure times weight."""
        return np.bincount(self.run, self.value * weights[self.member], self.runs)

    def columns(self) -> Iterator[Float[np.ndarray, "run some"]]:
        """The exposures to every example seen, some examples at a time."""
        seen, column = np.unique(self.member, return_inverse=True)
        width = max(1, ENTRIES // self.runs)
        for begin in range(0, len(seen), width):
            part = np.zeros((self.runs, min(width, len(seen) - begin)))
            low, high = np.searchsorted(column, [begin, begin + width])
            part[self.run[low:high], column[low:high] - begin] = self.value[low:high]
            yield part


def noise_to_effect(pool: int, total: float, ratio: float = SIGNAL_TO_NOISE) -> float:
    """The variance of noise over that of an effect.

    It is set such that a run which spreads its ``total`` exposure evenly over the contrast design's default subset
    has ``ratio`` times as much variance from its examples as from noise. A design with larger subsets has as much
    noise, and less to set against it.
    """
    return total**2 * (1 / contrast_subset(pool) - 1 / pool) / ratio


def identification(
    batches: Sequence[Int[np.ndarray, "step batch"]],
    learning_rates: Float[np.ndarray, " step"],
    pool: int,
    *,
    open_: Int[np.ndarray, " examples"] | None = None,
    pairs: Sequence[tuple[Int[np.ndarray, " group"], Int[np.ndarray, " group"]]] = (),
    classes: Mapping[str, Int[np.ndarray, " members"]] | None = None,
    groups: Mapping[str, Int[np.ndarray, " members"]] | None = None,
    ratio: float = SIGNAL_TO_NOISE,
) -> Identification | None:
    """What runs on these batches leave unknown of examples; None for fewer than two runs or two examples.

    Args:
        batches: of each run, places in the pool.
        learning_rates: of each step, the same in all runs.
        pool: how many training examples there are.
        open_: the examples that runs draw from, by default the whole pool.
        pairs: groups of examples that take each other's places in two of the runs.
        classes: the members of each class, among ``open_``.
        groups: those of each group that runs differ by.
        ratio: the size of examples' effects beside the noise of a run.
    """
    open_ = np.arange(pool) if open_ is None else open_
    count = len(open_)
    if len(batches) < 2 or count < 2:
        return None
    exposures = Exposures(batches, learning_rates)
    centring = np.eye(exposures.runs) - 1 / exposures.runs
    gram = centring @ exposures.gram() @ centring
    noise = noise_to_effect(count, exposures.total, ratio)
    if noise <= 0:
        return None
    inverse = np.linalg.inv(gram + noise * np.eye(exposures.runs))

    def left(weights: Float[np.ndarray, " pool"]) -> float:
        centred = centring @ exposures.times(weights)
        return float(1 - centred @ inverse @ centred / (weights @ weights))

    every = np.zeros(pool)
    every[open_] = 1.0
    shared = centring @ exposures.times(every)  # 0 where all runs have the same total exposure
    known = float(np.trace(inverse @ gram) - shared @ inverse @ shared / count)

    def by_name(parts: Mapping[str, Int[np.ndarray, " members"]] | None) -> dict[str, float]:
        return {
            name: left(_contrast(pool, members, np.setdiff1d(open_, members)))
            for name, members in (parts or {}).items()
            if 0 < len(members) < count
        }

    swapped = [left(_contrast(pool, first, second)) for first, second in pairs]
    return Identification(
        runs=exposures.runs,
        examples=count,
        example=1 - known / (count - 1),
        effects=known,
        group=float(np.mean(swapped)) if swapped else None,
        classes=by_name(classes),
        groups=by_name(groups),
    )


def _contrast(
    pool: int, first: Int[np.ndarray, " group"], second: Int[np.ndarray, " group"]
) -> Float[np.ndarray, " pool"]:
    """The mean of one group less that of another."""
    weights = np.zeros(pool)
    weights[first] += 1 / len(first)
    weights[second] -= 1 / len(second)
    return weights
