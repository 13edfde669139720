"""What seeing every example of a group once more does: means add up, and spreads are of the sum and not sums of spreads.

What the examples of a group have in common, such as that a source answers badly, needn't show in their vectors. Each
group has an effect that its examples share beside their own, of a variance that the runs tell as far as they differ by groups.
Runs that hardly do leave it open, and then it is as wide as before any run.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gptfl.estimators.exposure_gp.influence import OwnEffects, Presentations, presentations
from gptfl.estimators.exposure_gp.model import ExposureModel
from gptfl.estimators.exposure_gp.target import TargetPosterior

Part = tuple[Int[np.ndarray, " example"], Mapping[str, Float[np.ndarray, "example d"]], Int[np.ndarray, " example"]]
"""Some examples: their places among those fitted, their vectors, and the number of each one's group (-1: none)."""


@dataclass
class _Sums:
    """What presentations of examples come to by group, in the units of ``influence.Presentations``.

    ``effect`` is the variance of one example's effect of a unit of exposure beforehand, summed over ``rows`` examples.
    """

    count: int
    cross: Float[np.ndarray, "source group run"]
    expected: Float[np.ndarray, " group"]
    sizes: Float[np.ndarray, " group"]
    squares: Float[np.ndarray, " group"]
    shares: Float[np.ndarray, " group"]
    shared: list[tuple[float, Float[np.ndarray, "group d"]]]
    fitted: Float[np.ndarray, " group"]
    seen: Float[np.ndarray, "group run"]
    own: OwnEffects
    rate: float
    effect: float = 0.0
    rows: int = 0

    @classmethod
    def nothing(cls, count: int, like: Presentations) -> "_Sums":
        """No example yet, of so many groups."""
        runs = like.cross.shape[2]
        return cls(
            count,
            cross=np.zeros((len(like.cross), count, runs)),
            expected=np.zeros(count),
            sizes=np.zeros(count),
            squares=np.zeros(count),
            shares=np.zeros(count),
            shared=[(one, np.zeros((count, rows.shape[1]))) for one, rows in like.shared],
            fitted=np.zeros(count),
            seen=np.zeros((count, runs)),
            own=like.own,
            rate=like.rate,
        )

    def add(
        self, asked: Presentations, places: Int[np.ndarray, " example"], groups: Int[np.ndarray, " example"]
    ) -> None:
        """Some more examples."""
        from scipy.sparse import csr_array  # takes as long to load as a simulation

        of = np.flatnonzero(groups >= 0)
        # Sparse: a field may make as many groups as there are examples.
        member = csr_array((np.ones(len(of)), (groups[of], of)), shape=(self.count, len(groups)))
        for total, one in zip(self.cross, asked.cross, strict=True):
            total += member @ one
        self.expected += member @ asked.expected[:, 0]
        self.sizes += member @ asked.own.sizes
        self.squares += member @ asked.own.squares
        self.shares += member @ asked.own.shares
        self.fitted += member @ np.where(places >= 0, asked.own.sizes, 0.0)
        self.seen += member @ asked.seen.T
        self.effect += float(asked.distance.sum()) / self.rate**2
        self.rows += len(places)
        for (_, total), (_, rows) in zip(self.shared, asked.shared, strict=True):
            total += member @ rows

    @property
    def prior(self) -> Float[np.ndarray, "source group"]:
        """The variances of the groups' effects beforehand, of what their examples do each by itself."""
        prior = np.zeros((len(self.cross), self.count))
        prior[0] = self.own.of_sums(self.sizes, self.squares, self.shares)
        for one, total in self.shared:
            prior[1] += one * (total**2).sum(axis=1)
        return prior

    def common(
        self,
    ) -> tuple[Float[np.ndarray, "run run"], Float[np.ndarray, "group run"], Float[np.ndarray, " group"]]:
        """Covariances of the runs, of groups with runs, and variances, if groups' effects varied as one example's does.

        As with an example's own effect, that of the average example is taken off, which has a share of every group.
        """
        effect = self.effect / max(self.rows, 1)
        share = self.fitted / self.own.pool
        with_runs = self.sizes[:, None] * (self.seen - share @ self.seen)
        variances = self.sizes**2 * (1.0 - 2.0 * share + (share**2).sum())
        return effect * self.seen.T @ self.seen, effect * self.rate * with_runs, effect * self.rate**2 * variances


def influence_of_groups(
    model: ExposureModel,
    parts: Iterable[Part],
    count: int,
    weights: Float[np.ndarray, " test"],
    tokens: Float[np.ndarray, " example"] | None = None,
) -> tuple[Float[np.ndarray, " group"], Float[np.ndarray, " group"], Float[np.ndarray, " group"]]:
    """The mean effect of each group on a weighted sum of the test examples, its spread, and the spread before any run.

    One group by itself, with which no other is compared, has nothing in common but what its examples do each by itself.

    Args:
        model: the runs fitted.
        parts: all examples, some at a time.
        count: how many groups there are.
        weights: of the test examples in the sum, shape ``[test]``.
        tokens: how many each example of all parts is trained on, in their order (see ``presentations``).

    All three have the shape ``[group]`` and the metric's units. Raises ``ValueError`` where there are no examples.
    """
    sums: _Sums | None = None
    begin = 0
    for places, train, groups in parts:
        some = None if tokens is None else tokens[begin : begin + len(places)]
        begin += len(places)
        asked = presentations(model, places, train, weights[None], some)
        sums = sums or _Sums.nothing(count, asked)
        sums.add(asked, places, groups)
    if sums is None:
        raise ValueError("there are no examples")
    cross, prior = sums.cross, sums.prior
    if count == 1:
        posterior = TargetPosterior.of(model, weights)
    else:
        between, with_runs, alone = sums.common()
        posterior = TargetPosterior.of(model, weights, between)
        cross, prior = np.concatenate([cross, with_runs[None]]), np.concatenate([prior, alone[None]])
    variance, before = posterior.variance(cross, prior), posterior.before(prior)
    return posterior.mean(cross) + sums.expected, np.sqrt(variance), np.sqrt(np.maximum(before, 0.0))
