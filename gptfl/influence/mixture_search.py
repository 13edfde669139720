"""Finds how many rows of each group to train on, where which of them is left to chance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gptfl.core.linear_form import LinearForm
from gptfl.influence.greedy import ROUNDING

TRIED = 4
"""Rows are moved between so many of the groups that gain most and lose least by one, at once."""
ALMOST = 1e-12


@dataclass(frozen=True, slots=True)
class MixtureObjective:
    """How good numbers of rows of each group are: the predicted metric of the target at the last step, more being better.

    The state of a run is that in the mean over which rows of a group are drawn. ``cautious`` standard deviations of what the
    mixture does to the target are taken off; rows' own effects count as those of so many different rows.
    """

    form: LinearForm
    target: Float[np.ndarray, " test"]
    sign: float
    cautious: float
    states: Float[np.ndarray, "group k"]
    weights: Float[np.ndarray, " group"]
    places: Float[np.ndarray, "group l"]
    squares: Float[np.ndarray, " group"]

    @classmethod
    def of(
        cls,
        form: LinearForm,
        groups: Sequence[Int[np.ndarray, " row"]],
        target: Float[np.ndarray, " test"],
        sign: float,
        cautious: float,
    ) -> "MixtureObjective":
        """What a form says of groups of rows.

        Args:
            form: that has the target as its first.
            groups: the places in the pool of the rows of each.
            target: what each test example counts.
            sign: 1 where a higher metric is better, else -1.
            cautious: so many standard deviations are taken off.
        """
        variance = form.variance

        def mean(values: Float[np.ndarray, "pool width"]) -> Float[np.ndarray, "group width"]:
            return np.stack([values[rows].mean(axis=0) for rows in groups])

        last = variance.squares[:, -1:]
        return cls(
            form,
            target,
            sign,
            cautious,
            mean(form.factors),
            mean(form.weights[:, None])[:, 0],
            mean(variance.factors),
            mean(last)[:, 0],
        )

    def __call__(self, counts: Int[np.ndarray, "mixture group"]) -> Float[np.ndarray, " mixture"]:
        """How good each of some mixtures is."""
        total = (counts @ self.weights)[:, None]
        states = counts @ self.states / total
        values = np.asarray(self.sign * self.form.ends_of(states) @ self.target)
        return values - self.cautious * self._spread(counts, states, total) if self.cautious else values

    def _spread(
        self,
        counts: Int[np.ndarray, "mixture group"],
        states: Float[np.ndarray, "mixture k"],
        total: Float[np.ndarray, "mixture 1"],
    ) -> Float[np.ndarray, " mixture"]:
        variance, targets = self.form.variance, self.form.targets
        assert targets is not None
        places = counts @ self.places / total
        distance = ((places @ variance.quadratic[-1]) * places).sum(axis=1) + counts @ self.squares / total[:, 0] ** 2
        known = (states @ variance.rows[-1].T) ** 2 @ targets.known[:, 0, 0]
        left = np.maximum(distance, 0.0) * targets.spread[0, 0] - known
        return np.asarray(np.sqrt(np.maximum(left, 0.0)) * self.form.intervals.scale)


def proportional(rows: Int[np.ndarray, " group"], size: int, most: int) -> Int[np.ndarray, " group"]:
    """``size`` rows in the shares of ``rows``, by largest remainders, none of a group above ``most``.

    What a group has no room for goes to the others, in the same shares. The room of all groups together has to be enough.
    """
    room = np.minimum(rows, most)
    found = np.zeros(len(rows), dtype=np.int64)
    while found.sum() < size:
        left = room - found
        wanted = (size - found.sum()) * rows * (left > 0) / rows[left > 0].sum()
        whole = np.minimum(np.floor(wanted + ROUNDING).astype(np.int64), left)
        if whole.sum() == 0:
            order = np.argsort(-np.where(left > 0, wanted - np.floor(wanted + ROUNDING), -1.0), kind="stable")
            whole[order[: size - found.sum()]] = 1
            whole = np.minimum(whole, left)
        found += whole
    return found


def best_counts(
    objective: MixtureObjective, begin: Int[np.ndarray, " group"], room: Int[np.ndarray, " group"]
) -> Int[np.ndarray, " group"]:
    """The numbers of rows after moves from one group to another, in ever smaller steps, while a move makes it better.

    Args:
        objective: how good numbers are.
        begin: the first numbers.
        room: at most so many of each group.
    """
    counts, now = begin.copy(), float(objective(begin[None])[0])
    step = max(1, int(begin.sum()) // 2)
    every = np.eye(len(counts), dtype=np.int64)
    while True:
        # Judged one by one: what gains most by a row more, and what loses least by one fewer.
        more = np.argsort(-np.where(counts < room, objective(counts + every), -np.inf), kind="stable")[:TRIED]
        fewer = np.argsort(-np.where(counts > 0, objective(np.maximum(counts - every, 0)), -np.inf), kind="stable")[
            :TRIED
        ]
        moves = [
            (source, goal, min(step, int(counts[source]), int(room[goal] - counts[goal])))
            for source in fewer
            for goal in more
            if source != goal and counts[source] > 0 and counts[goal] < room[goal]
        ]
        tried = np.stack([counts + size * (every[goal] - every[source]) for source, goal, size in moves] or [counts])
        values = objective(tried)
        best = int(np.argmax(values))
        if values[best] > now + ALMOST * max(abs(now), 1e-30):
            counts, now = tried[best], float(values[best])
        elif step == 1:
            return counts
        else:
            step //= 2
