"""The subset that a search is at, and how good it would be with others in the place of one of its members."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float, Int

from gptfl.core.presentation_form import PresentationForm

ROUND = 64
"""At most so many examples are tried in the place of another at once."""
REFRESHED = 16
"""What exchanges do to first order is told anew when one member in so many was exchanged."""

Objective = Callable[[Int[np.ndarray, "subset size"], Int[np.ndarray, "subset order step batch"]], np.ndarray]
"""How good each of some subsets is: members of each, and their curricula."""


class Exchanges(Protocol):
    """A subset, how good it is ``now``, and how good exchanges of a member (``turn``) would make it."""

    members: Int[np.ndarray, " size"]
    now: float
    orders: int

    def tried(
        self, turn: int, others: Int[np.ndarray, " other"], left: int, random: np.random.Generator
    ) -> tuple[Int[np.ndarray, " tried"], int]:
        """Which of some others to try in a member's place, and how many curricula that counts as.

        Args:
            turn: which member.
            others: places of those that may come in.
            left: of the budget; at least as many as there are ``orders``.
            random: what draws.
        """
        ...

    def values(self, turn: int, others: Int[np.ndarray, " tried"]) -> Float[np.ndarray, " tried"]:
        """How good the subset would be with each of them in the member's place."""
        ...

    def take(self, turn: int, other: int, value: float) -> None:
        """Exchange a member, which makes the subset as good as ``value``."""
        ...


class PredictedExchanges:
    """Every exchange is judged by a prediction of the whole subset, which any simulator can make."""

    def __init__(
        self,
        objective: Objective,
        members: Int[np.ndarray, " size"],
        batches: Int[np.ndarray, "order step batch"],
    ) -> None:
        """Of a subset and its curricula, one an order."""
        self.objective, self.members, self.batches, self.orders = objective, np.array(members), batches, len(batches)
        self.now = float(objective(self.members[None], batches[None])[0])

    def tried(
        self, turn: int, others: Int[np.ndarray, " other"], left: int, random: np.random.Generator
    ) -> tuple[Int[np.ndarray, " tried"], int]:
        """Random ones, as many as the budget is enough for.

        Args:
            turn: which member.
            others: places of those that may come in.
            left: of the budget.
            random: what draws.
        """
        others = random.permutation(others)[: min(ROUND, left // self.orders)]
        return others, len(others) * self.orders

    def values(self, turn: int, others: Int[np.ndarray, " tried"]) -> Float[np.ndarray, " tried"]:
        """Predicted for each; an example that takes a member's place takes its places in the batches."""
        tried = np.repeat(self.members[None], len(others), axis=0)
        tried[:, turn] = others
        return self.objective(tried, self._with(turn, others[:, None, None, None]))

    def take(self, turn: int, other: int, value: float) -> None:
        """Exchange a member."""
        self.batches = self._with(turn, other)
        self.members[turn], self.now = other, value

    def _with(self, turn: int, other: Int[np.ndarray, "..."] | int) -> Int[np.ndarray, "..."]:
        return np.asarray(np.where(self.batches == self.members[turn], other, self.batches))


@dataclass(frozen=True, slots=True)
class Worth:
    """What makes a subset good: a weighted sum of the metric over test examples, less ``times`` the costs of members.

    ``weights`` are signed so that more is better. ``cost`` is what each example of the pool costs; ``overlap`` has for each two of the
    ``eligible`` places what they cost together, of which each member costs the greatest; None where likeness costs nothing.
    """

    weights: Float[np.ndarray, " test"]
    times: float
    cost: Float[np.ndarray, " pool"]
    eligible: Int[np.ndarray, " eligible"]
    overlap: Float[np.ndarray, "eligible eligible"] | None = None


class SummedExchanges:
    """Exchanges are judged by what they change, all of a turn at once: predictions are sums over what places hold.

    Of more than ``ROUND`` others those are tried that promise most to first order. A turn counts as one curriculum an order.
    """

    def __init__(
        self,
        form: PresentationForm,
        worth: Worth,
        members: Int[np.ndarray, " size"],
        batches: Int[np.ndarray, "order step batch"],
    ) -> None:
        """Of a subset and its curricula, one an order; the form has all members, and ``worth`` is of its test examples."""
        self.form, self.worth, self.members, self.orders = form, worth, np.array(members), len(batches)
        self._row_of = np.full(int(form.examples.max()) + 1, -1)
        self._row_of[form.examples] = np.arange(len(form.examples))
        self._counts = form.counts(batches, members)
        self._even = form.ends(self._counts, self._rows(members))
        self._likeness = None if worth.overlap is None else Likeness(worth, members)
        cost = worth.cost[members].sum() + (0.0 if self._likeness is None else self._likeness.total)
        self.now = float(self._ends(self._even).mean() - worth.times * cost)
        self._along: Float[np.ndarray, "order example channel"] | None = None
        self._taken = 0

    def tried(
        self, turn: int, others: Int[np.ndarray, " other"], left: int, random: np.random.Generator
    ) -> tuple[Int[np.ndarray, " tried"], int]:
        """Those that promise most, or all where these are few.

        Args:
            turn: which member.
            others: places of those that may come in.
            left: of the budget.
            random: what draws.
        """
        if len(others) <= ROUND:
            return random.permutation(others), self.orders
        if self._along is None or self._taken * REFRESHED >= len(self.members):
            slopes = self.worth.weights * self.form.slopes(self._even) / self.orders
            self._along, self._taken = self.form.along(slopes), 0
        promise = sum(along @ counts for along, counts in zip(self._along, self._counts[:, turn], strict=True))
        worth = promise[self._rows(others)] - self._costs(turn, others)
        return others[np.sort(np.argpartition(-worth, ROUND)[:ROUND])], self.orders

    def values(self, turn: int, others: Int[np.ndarray, " tried"]) -> Float[np.ndarray, " tried"]:
        """By what they change of where the runs end."""
        member = self.members[turn]
        effects = self.form.effects(self._counts[:, turn], self._rows(np.append(member, others)))
        ends = self._ends(self._even[:, None] + effects[:, 1:] - effects[:, :1]).mean(axis=0)
        return np.asarray(ends - self._costs(turn, others))

    def take(self, turn: int, other: int, value: float) -> None:
        """Exchange a member."""
        effects = self.form.effects(self._counts[:, turn], self._rows(np.array([self.members[turn], other])))
        self._even = self._even + effects[:, 1] - effects[:, 0]
        self.members[turn], self.now = other, value
        self._taken += 1
        if self._likeness is not None:
            self._likeness = Likeness(self.worth, self.members)

    def _ends(self, even: Float[np.ndarray, "*any test"]) -> Float[np.ndarray, "*any"]:
        return np.asarray(self.form.values(even) @ self.worth.weights)

    def _costs(self, turn: int, others: Int[np.ndarray, " other"]) -> Float[np.ndarray, " other"]:
        """What all members cost after each exchange."""
        cost = self.worth.cost
        alone = cost[self.members].sum() - cost[self.members[turn]] + cost[others]
        alike = 0.0 if self._likeness is None else self._likeness.costs(turn, others)
        return np.asarray(self.worth.times * (alone + alike))

    def _rows(self, places: Int[np.ndarray, " some"]) -> Int[np.ndarray, " some"]:
        return np.asarray(self._row_of[places])


class Likeness:
    """What members of a subset cost by being like one another, and what exchanges make of that."""

    def __init__(self, worth: Worth, members: Int[np.ndarray, " size"]) -> None:
        """Of these members, all of them eligible."""
        assert worth.overlap is not None  # as the caller knows
        self.overlap, self.eligible, self.rows = worth.overlap, worth.eligible, np.searchsorted(worth.eligible, members)
        among = self.overlap[np.ix_(self.rows, self.rows)]
        self.nearest, self.first = among.argmax(axis=1), among.max(axis=1).astype(np.float64)
        among[np.arange(len(among)), self.nearest] = 0.0
        self.second = among.max(axis=1).astype(np.float64)

    @property
    def total(self) -> float:
        """What they cost now."""
        return float(self.first.sum())

    def costs(self, turn: int, others: Int[np.ndarray, " other"]) -> Float[np.ndarray, " other"]:
        """What they would cost with each of some others in a member's place."""
        kept = np.arange(len(self.rows)) != turn
        without = np.where(self.nearest == turn, self.second, self.first)[kept]
        theirs = self.overlap[np.ix_(np.searchsorted(self.eligible, others), self.rows[kept])].astype(np.float64)
        return np.asarray(np.maximum(without, theirs).sum(axis=1) + theirs.max(axis=1, initial=0.0))
