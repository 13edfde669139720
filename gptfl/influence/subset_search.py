"""Improves a subset by exchanging single examples, judged by what the simulator predicts for the whole of it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import Progress, class_numbers
from gptfl.core.curriculum import Stream, generator
from gptfl.core.packing import stacked_batches
from gptfl.designs.dealing import pick_evenly
from gptfl.features.vectors import VectorSource
from gptfl.influence.greedy import ClassQuota, SelectionSpec, directions, greatest, similarity
from gptfl.influence.targets import CLOSED_FORM, DERIVATIVE, Influence, InfluenceTarget
from gptfl.simulation.schedule import recorded_schedule
from gptfl.simulation.simulator import FittedSimulator

SEARCH = 6000
"""So many curricula are predicted in search of a better subset unless told otherwise."""
ORDERS = 2
"""Each subset is judged in so many random orders, so that none is only good in its order."""
ROUND = 64
"""At most so many examples are tried in the place of another at once."""
FEWEST, AS_MANY = 128, 4
"""Those tried are among the so many of greatest worth, or so many times as many as are selected."""
DRAWN = 31
"""Beside the subset chosen by worth, so many random ones are judged to start from the best of them all."""
ALMOST = 1e-9


@dataclass(frozen=True, slots=True)
class SearchStart:
    """The places chosen by their worth, the worth of every example, and what likeness to another one takes off it."""

    chosen: list[int]
    utility: Float[np.ndarray, " pool"]
    penalty: float = 0.0


Objective = Callable[[Int[np.ndarray, "subset size"], Int[np.ndarray, "subset order step batch"]], np.ndarray]
"""How good each of some subsets is: members of each, and their curricula."""


def improve_by_swaps(
    source: FittedSimulator,
    subject: InfluenceTarget,
    spec: SelectionSpec,
    rooms: ClassQuota,
    influence: Influence,
    start: SearchStart,
    vectors: VectorSource | None,
    seed: int,
    progress: Progress,
) -> tuple[Influence, list[int]]:
    """The subset after exchanges, and what was told of influence with a note on what the exchanges came to.

    They start from the subset chosen by worth, or from a random one where that is predicted to be better.
    A subset is as good as the predicted metric at the last step, the mean over the subject's test examples. Off that
    go, each time for as often as a run sees one of its examples, ``cautious`` standard deviations of every member's
    influence and ``penalty`` times every member's likeness to the member most like it.
    """
    in_units = influence.how != DERIVATIVE
    if spec.search == 0 or (not in_units and start.penalty > 0):
        return influence, start.chosen
    candidates = greatest(start.utility, min(len(start.utility), max(FEWEST, AS_MANY * spec.size)), _open(rooms))
    drawn = _drawn(source, spec.size, rooms, seed)
    eligible = np.unique(np.concatenate([start.chosen, candidates, *drawn]))
    recipe = recorded_schedule(source.recording.dynamics, source.metric)
    first = source.first(int(recipe.grid[0]))
    tests = slice(None) if subject.tests is None else subject.tests
    sign = 1.0 if source.metric.higher_is_better else -1.0
    # Closed-form influence is of seeing an example once; others are of all its places in a run.
    times = recipe.seen / spec.size if influence.how == CLOSED_FORM else 1.0
    spread = np.zeros(len(start.utility)) if influence.spread is None else spec.cautious * influence.spread
    overlap = None
    if vectors is not None and start.penalty > 0:
        ways = directions(vectors, eligible, len(start.utility), spec)
        overlap = start.penalty * similarity(ways, ways)
        np.fill_diagonal(overlap, 0.0)

    def objective(
        members: Int[np.ndarray, "subset size"], batches: Int[np.ndarray, "subset order step batch"]
    ) -> Float[np.ndarray, " subset"]:
        flat = batches.reshape(-1, *batches.shape[2:])
        ends = source.predict(recipe.query(flat, first)).values[:, -1, tests].astype(np.float64).mean(axis=1)
        cost = spread[members].sum(axis=1)
        if overlap is not None:
            rows = np.searchsorted(eligible, members)
            cost = cost + np.array([overlap[np.ix_(one, one)].max(axis=1).sum() for one in rows])
        return np.asarray(sign * ends.reshape(len(members), -1).mean(axis=1) - times * cost)

    starts = [np.sort(np.array(start.chosen)), *drawn][: max(1, spec.search // ORDERS)]
    batches = stacked_batches([recipe.orders(one, ORDERS, seed) for one in starts])
    values = objective(np.stack(starts), batches)
    best = int(np.argmax(values))
    budget = spec.search - len(starts) * ORDERS
    first_members = start.chosen if best == 0 else starts[best].tolist()
    chosen, now = search(objective, first_members, batches[best], eligible, rooms, budget, seed, progress)
    before, after = float(values[0]), now
    lost = len(set(start.chosen) - set(chosen))
    if not lost:
        return influence, chosen
    note = f"{lost} of the {len(chosen)} examples chosen by influence alone were exchanged for others"
    if not spread.any() and overlap is None:
        note += (
            f": {source.metric.name} was predicted to be {sign * before:.4g} with them and is {sign * after:.4g} now"
        )
    return replace(influence, notes=(*influence.notes, note)), chosen


def search(
    objective: Objective,
    chosen: list[int],
    batches: Int[np.ndarray, "order step batch"],
    eligible: Int[np.ndarray, " eligible"],
    rooms: ClassQuota,
    budget: int,
    seed: int,
    progress: Progress,
) -> tuple[list[int], float]:
    """Exchange members one at a time for the best of some eligible others, while that is better; classes keep to room.

    Every member has its turn once a pass, in random order; an example that takes a member's place takes its places in
    the batches. It ends after a pass without any exchange, or when ``budget`` curricula were judged. Returns the
    members and how good they are.
    """
    random = generator(seed, Stream.SWAPS)
    members = np.array(chosen)
    now = float(objective(members[None], batches[None])[0])
    spent, moved = len(batches), True
    while moved and spent < budget:
        moved = False
        for turn in random.permutation(len(members)):
            others = np.setdiff1d(eligible, members)
            room = rooms.left([one for place, one in enumerate(members) if place != turn])
            others = random.permutation(others[room[rooms.classes[others]] > 0])
            others = others[: min(ROUND, (budget - spent) // len(batches))]
            if len(others) == 0:
                continue
            tried = np.repeat(members[None], len(others), axis=0)
            tried[:, turn] = others
            trials = np.where(batches == members[turn], others[:, None, None, None], batches)
            values = objective(tried, trials)
            spent += len(trials) * len(batches)
            progress("search", min(spent, budget), budget, "exchanging examples")
            best = int(np.argmax(values))
            if values[best] > now + ALMOST * max(abs(now), 1e-30):
                members, batches, now, moved = tried[best], trials[best], float(values[best]), True
    progress("search", max(budget, spent), max(budget, spent), "exchanging examples")
    return [int(one) for one in members], now


def _drawn(source: FittedSimulator, size: int, rooms: ClassQuota, seed: int) -> list[Int[np.ndarray, " subset"]]:
    """Random subsets, as many examples of each class as of another, that keep to the room of their classes."""
    pool, may = source.scope.pool, rooms.eligible
    numbers = class_numbers(pool)
    classes = None if numbers is None else numbers[may]
    subsets = [may[pick_evenly(size, classes, len(may), (seed, Stream.STARTS, number))] for number in range(DRAWN)]
    return [one for one in subsets if (rooms.left(one.tolist()) >= 0).all()]


def _open(rooms: ClassQuota) -> ClassQuota:
    """The same classes with room for all."""
    return replace(rooms, most=len(rooms.classes))
