"""Subsets that are to tell the most about some rows, given what is known before them: greedy, by exchange.

All is linear and normal. A further run of the subset S observes ``y = level + c * sum of the members' effects + noise``,
and the noise has the variance 1. What it tells of row i's influence is then known before it is trained:

    information_i = -1/2 log(1 - cov(influence_i, y)^2 / (var(influence_i) var(y)))

The sum over the undecided rows is what a subset is chosen by. It has no unit, so that a row of little influence, which is
the one in doubt, counts as much as any; the sum of variances would go to the few rows of which least is known. Rows that
are alike are counted each: every one of them is to be decided.

What tells most by these rules are a few rows of large effect, again and again, and subsets of rows that all do the same.
That holds where the hyperparameters do and effects add up. A few runs hardly tell the hyperparameters, and beyond the
recorded runs effects don't add up. So rows are dealt as in the design contrast: none has been in more than one run more
than any other, and what is chosen is which of those that are due come together. And a subset may depart from the average
run no further than those recorded did, where there are others.

Runs are chosen one after the other. After each, the covariances are what they will be once it was trained, whatever it
will have recorded. A subset begins at random, and members are exchanged for the best row outside that is as due until none gains.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from gptfl.core.curriculum import RunStream, generator, run_seed
from gptfl.core.outlook import RunOutlook
from gptfl.designs.dealing import Dealer

STARTS = 3
"""From so many random subsets an exchange begins; the best of what they come to is taken."""
PASSES = 3
"""Each member is tried so often at most: with ``STARTS``, what bounds the time."""
GAIN = 1e-9
"""An exchange has to tell more than before by that share."""


@dataclass
class Knowledge:
    """What is known of the undecided rows and of a run's members, as further runs are taken to be trained.

    The last row and column of ``members``, and the last column of ``targets``, are those of the level that all runs share.
    """

    targets: Float[np.ndarray, "row member_and_level"]
    members: Float[np.ndarray, "member_and_level member_and_level"]
    variances: Float[np.ndarray, " row"]
    before: Float[np.ndarray, "member member"]
    reach: float

    @classmethod
    def of(cls, outlook: RunOutlook, rows: Int[np.ndarray, " row"], times: float) -> "Knowledge":
        """What is known before any further run, where a run sees each member so many ``times``."""
        count = len(outlook.members)
        members = np.zeros((count + 1, count + 1))
        members[:count, :count] = times**2 * outlook.members
        members[count, count] = outlook.level
        targets = np.zeros((len(rows), count + 1))
        targets[:, :count] = times * outlook.targets[rows]
        return cls(targets, members, outlook.variances[rows].copy(), times**2 * outlook.before, outlook.reach)

    def departure(self, subset: Int[np.ndarray, " subset"]) -> float:
        """The variance that a run of the subset had before any run: how far it may depart from the average one."""
        return float(self.before[np.ix_(subset, subset)].sum())

    def _run(self, subset: Int[np.ndarray, " subset"]) -> Float[np.ndarray, " member_and_level"]:
        """The weights by which a run of the subset observes members and level."""
        found = np.zeros(len(self.members))
        found[subset] = 1.0
        found[-1] = 1.0
        return found

    def information(self, subset: Int[np.ndarray, " subset"]) -> float:
        """What a run of the subset tells of the rows, in nats, summed over them."""
        run = self._run(subset)
        return float(_told(self.targets @ run, run @ self.members @ run + 1.0, self.variances))

    def learn(self, subset: Int[np.ndarray, " subset"]) -> None:
        """Take a run of the subset as trained."""
        run = self._run(subset)
        moved, seen = self.members @ run, self.targets @ run
        variance = float(run @ moved) + 1.0
        self.variances -= seen**2 / variance
        self.targets -= np.outer(seen, moved) / variance
        self.members -= np.outer(moved, moved) / variance

    def exchanged(
        self,
        subset: Int[np.ndarray, " subset"],
        groups: Int[np.ndarray, " member"] | None,
        random: np.random.Generator,
    ) -> tuple[Int[np.ndarray, " subset"], float]:
        """The subset after members were exchanged for others while that tells more, and what it then tells.

        Args:
            subset: to begin with.
            groups: a member is exchanged for one of its own group only; None for any.
            random: orders the members that are tried.
        """
        members, best = subset.copy(), self.information(subset)
        diagonal, own = self.members.diagonal(), self.before.diagonal()
        for _ in range(PASSES):
            before = best
            for place in random.permutation(len(members)):
                rest = self._run(np.delete(members, place))
                outside = rest[:-1] == 0.0
                if groups is not None:
                    outside &= groups == groups[members[place]]
                others = np.flatnonzero(outside)
                moved = self.members @ rest
                variances = float(rest @ moved) + 2.0 * moved[others] + diagonal[others] + 1.0
                seen = (self.targets @ rest)[:, None] + self.targets[:, others]
                told = _told(seen, variances, self.variances[:, None])
                departure = float(self.before[rest[:-1] > 0.0][:, rest[:-1] > 0.0].sum())
                departure = departure + 2.0 * (self.before[others] @ rest[:-1]) + own[others]
                told[departure > max(self.reach, self.departure(members))] = -np.inf
                found = int(np.argmax(told)) if len(told) else -1
                if found >= 0 and told[found] > best * (1.0 + GAIN):
                    members[place], best = others[found], float(told[found])
            if best == before:
                break
        return np.sort(members), best


def _told(
    seen: Float[np.ndarray, "*all"], variances: Float[np.ndarray, "*subset"] | float, known: Float[np.ndarray, "*row"]
) -> np.ndarray:
    """The information about all rows, of covariances ``seen`` with runs of these ``variances``."""
    share = np.divide(seen**2, variances * known, out=np.zeros_like(seen), where=known > 0.0)
    return np.asarray(-0.5 * np.log1p(-np.minimum(share, 1.0 - 1e-12)).sum(axis=0))


def choose_subsets(
    outlook: RunOutlook,
    rows: Int[np.ndarray, " row"],
    *,
    count: int,
    size: int,
    times: float,
    seed: int,
    first: int = 0,
    dealt: Int[np.ndarray, " member"] | None = None,
    groups: Int[np.ndarray, " member"] | None = None,
    allowed: Int[np.ndarray, " allowed"] | None = None,
) -> list[Int[np.ndarray, " subset"]]:
    """The subsets of ``count`` further runs that tell the most about some rows, each given those before it.

    Args:
        outlook: what is known before them.
        rows: the undecided ones, as places in the outlook.
        count: how many runs.
        size: members of each.
        times: how often a run sees a member.
        seed: of the recording; with the number of each run it draws the random beginnings.
        first: number of the first of them.
        dealt: in how many runs each example has been; None for none.
        groups: of each example, where every subset has equal parts of all.
        allowed: the places that runs may have; None for all.

    Places are in ascending order.
    """
    allowed = np.arange(len(outlook.variances)) if allowed is None else np.asarray(allowed)
    square = np.ix_(allowed, allowed)
    inside = replace(
        outlook, targets=outlook.targets[:, allowed], members=outlook.members[square], before=outlook.before[square]
    )
    knowledge, kinds = Knowledge.of(inside, rows, times), None if groups is None else groups[allowed]
    counts, places = (
        np.zeros(len(allowed), dtype=np.int64) if dealt is None else dealt[allowed],
        np.arange(len(allowed)),
    )
    found: list[Int[np.ndarray, " subset"]] = []
    for number in range(first, first + count):
        random = generator(run_seed(seed, number), RunStream.NEXT)
        due = counts if kinds is None else np.unique(np.stack([counts, kinds]), axis=1, return_inverse=True)[1].ravel()
        ended = []
        for _ in range(STARTS):
            dealer = Dealer(len(allowed), kinds)
            dealer.counts = counts.copy()
            ended.append(knowledge.exchanged(dealer.deal(places, size, random), due, random))
        # All may depart further than those recorded, for what is due is given.
        subset, _ = max(ended, key=lambda one: (knowledge.departure(one[0]) <= knowledge.reach, one[1]))
        knowledge.learn(subset)
        counts[subset] += 1
        found.append(allowed[subset])
    return found


__all__: Sequence[str] = ("Knowledge", "choose_subsets")
