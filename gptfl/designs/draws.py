"""The designs of a recording: which examples, in which order, each of its runs is trained on.

Every run follows from the seed, its index and the runs before it, so that more runs change none of the first, and
every beginning of a recording is about balanced.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Int

from gptfl.core import FIT, REPEAT, TEST, VALIDATION, RecordingSettings, role_of
from gptfl.core.curriculum import RunStream, draw_subset, generator, run_seed
from gptfl.core.packing import Batching
from gptfl.designs.dealing import Dealer
from gptfl.designs.group_dealing import GroupDealer

UNIFORM, CONTRAST, LEAVE_OUT, BALANCED, REPEATED = "uniform", "contrast", "leave-out", "balanced", "repeat"
LEAVE_SMALL, GROUPS = "leave-small", "groups"
DESIGNS = (UNIFORM, CONTRAST, LEAVE_OUT, LEAVE_SMALL, BALANCED, REPEATED, GROUPS)
ORDERS = 2
"""In how many orders each training set of the design leave-small is run; all sets have the same orders."""
TOGETHER: Mapping[str, int] = {LEAVE_OUT: 2, LEAVE_SMALL: ORDERS, REPEATED: 4}
"""How many consecutive runs of a design belong together: they share a role, and a fold."""
REPEATS_FROM = 1_000_000
"""Where the indices of repeats begin; other runs are fewer."""
NEXT_FROM = 2 * REPEATS_FROM
"""Where the indices of runs begin that were chosen by what they tell; no recording has as many repeats."""
EVERY_DEVICE = 4
"""Of so many repeats the last one is the same curriculum again; the others are other orders of their subset."""


NONE: Int[np.ndarray, " none"] = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class DesignLayout:
    """What determines the examples of every run.

    ``reserved`` are the places of the pool that only runs to test draw from. ``classes`` numbers the class of each
    pool example, for the balanced design. ``swapped`` is the size of the group that a pair of leave-out runs differs in,
    or that a run of leave-small lacks. ``planted`` are the places of one group that leave-small takes out as a whole.
    ``groups`` numbers the group of each pool example, for the design of groups.
    """

    design: str
    pool: int
    subset: int
    seed: int
    reserved: Int[np.ndarray, " reserved"]
    classes: Int[np.ndarray, " pool"] | None = None
    swapped: int = 0
    planted: Int[np.ndarray, " planted"] | None = None
    groups: Int[np.ndarray, " pool"] | None = None

    @property
    def others(self) -> Int[np.ndarray, " other"]:
        """The places of the pool that every run may draw from."""
        return np.setdiff1d(np.arange(self.pool), self.reserved)

    @property
    def mixed(self) -> int:
        """How many reserved examples a run that draws from them has: half its subset, at most half of them all."""
        return max(1, min(self.subset // 2, len(self.reserved) // 2)) if len(self.reserved) else 0


@dataclass(frozen=True, slots=True)
class Draw:
    """One run: its examples, the seed of their order (and of dropout), and its role.

    Each of ``swaps`` is a member and the example that takes all its places in the batches. ``without`` are examples
    whose places in the batches others take (``refill``): the order is that of the members and these together.
    """

    index: int
    seed: int
    role: str
    members: Int[np.ndarray, " subset"]
    swaps: Int[np.ndarray, "swapped 2"]
    without: Int[np.ndarray, " without"] = field(default_factory=lambda: NONE)

    def batches(self, batching: Batching | int, steps: int) -> Int[np.ndarray, "step batch"]:
        """The run's curriculum; -1 is an empty place. A number is how many examples a step has."""
        batching = Batching(batching) if isinstance(batching, int) else batching
        if len(self.without):
            whole = batching.fill(np.union1d(self.members, self.without), steps, self.seed)
            return refill(whole, self.without, self.seed)
        batches = batching.fill(self.members, steps, self.seed)
        swapped = batches.copy()
        for member, other in self.swaps:
            swapped[batches == member] = other
        return swapped


def refill(
    batches: Int[np.ndarray, "step batch"], without: Int[np.ndarray, " without"], seed: int
) -> Int[np.ndarray, "step batch"]:
    """The batches with other examples in the places of these, and everything else where it was.

    Batches stay as large as they were: a smaller one would be a noisier step, which a training on fewer rows doesn't have.
    The others come in an order of ``seed``'s, pass after pass, so that each fills about as many places, and that of other
    groups is the same but for these. None comes twice into a batch, while there are others.
    """
    found = batches.copy()
    random, present = generator(seed, RunStream.PARTNERS), np.setdiff1d(batches[batches >= 0], without)
    everyone, waiting = np.unique(batches[batches >= 0]), np.empty(0, dtype=np.int64)
    for step, column in np.argwhere(np.isin(batches, without)):
        fresh = np.setdiff1d(present, found[step])
        allowed = fresh if len(fresh) else present
        while not np.isin(waiting, allowed).any():
            passed = random.permutation(everyone)
            waiting = np.append(waiting, passed[np.isin(passed, present)])
        first = int(np.isin(waiting, allowed).argmax())
        found[step, column] = waiting[first]
        waiting = np.delete(waiting, first)
    return found


def draws_reserved(unit: int) -> bool:
    """Whether a run (a pair or block, where a design has such) draws from a reserve, if there is one.

    Every third does, at a place of each three that moves, so that any number of folds has its share of them.
    """
    return unit % 9 in (2, 4, 6)


def role_in(unit: int, reserve: bool) -> str:
    """The role of a run, pair or block. With a reserve, those that draw from it test, and no others."""
    if not reserve:
        return role_of(unit)
    if draws_reserved(unit):
        return TEST
    return VALIDATION if unit % 16 == 9 else FIT


def draw_runs(layout: DesignLayout, runs: int) -> list[Draw]:
    """The first ``runs`` runs of a recording."""
    if layout.design == LEAVE_SMALL:
        return _draw_leave_small(layout, runs)
    if layout.design == GROUPS and layout.groups is not None:
        return _draw_groups(layout, layout.groups, runs)
    together = TOGETHER.get(layout.design, 1)
    dealer = Dealer(layout.pool, layout.classes if layout.design == BALANCED else None)
    drawn: list[Draw] = []
    for unit in range(-(-runs // together)):
        first = unit * together
        own = run_seed(layout.seed, first)
        members, swaps = _members(layout, dealer, unit, own)
        base = Draw(first, own, role_in(unit, len(layout.reserved) > 0), members, swaps[:0])
        drawn.append(base)
        if layout.design == LEAVE_OUT:
            drawn.append(replace(base, index=first + 1, swaps=swaps))
        elif layout.design == REPEATED:
            drawn += [_again(base, first + place, place == together - 1, layout.seed) for place in range(1, together)]
    return drawn[:runs]


def _draw_leave_small(layout: DesignLayout, runs: int) -> list[Draw]:
    """The whole pool, then the pool less one group after the other, each in the same ``ORDERS`` orders.

    Every example is left out about as often as any other. The second set lacks the planted examples, where there are
    some, and the third as many of the others.
    """
    pool, dealer = layout.others, Dealer(layout.pool)
    planted = NONE if layout.planted is None else layout.planted
    drawn: list[Draw] = []
    for unit in range(-(-runs // ORDERS)):
        random = generator(run_seed(layout.seed, unit), RunStream.DEALING)
        if unit == 0:
            without = NONE
        elif unit == 1 and len(planted):
            without = planted
        elif unit == 2 and len(planted):
            without = dealer.deal(np.setdiff1d(pool, planted), len(planted), random)
        else:
            without = dealer.deal(pool, layout.swapped, random)
        members = np.setdiff1d(pool, without)
        drawn += [
            Draw(
                unit * ORDERS + order,
                run_seed(layout.seed, order),
                role_in(unit, False),
                members,
                np.empty((0, 2), dtype=np.int64),
                np.sort(without),
            )
            for order in range(ORDERS)
        ]
    return drawn[:runs]


def _draw_groups(layout: DesignLayout, groups: Int[np.ndarray, " pool"], runs: int) -> list[Draw]:
    """About half of the groups a run, and rows of these (see ``GroupDealer``)."""
    dealer, drawn = GroupDealer(groups, layout.subset), []
    for index in range(runs):
        own = run_seed(layout.seed, index)
        members = dealer.deal(generator(own, RunStream.DEALING))
        drawn.append(Draw(index, own, role_in(index, False), members, np.empty((0, 2), dtype=np.int64)))
    return drawn


def draw_repeats(runs: Sequence[Draw], repeats: int, seed: int) -> list[Draw]:
    """``repeats`` runs more, each of which repeats one of the first ``runs``: see ``EVERY_DEVICE``.

    The other orders are of the first run, the second and so on; so are the same curricula.
    """
    drawn = []
    for number in range(repeats):
        device = number % EVERY_DEVICE == EVERY_DEVICE - 1
        of = number // EVERY_DEVICE if device else number - number // EVERY_DEVICE
        drawn.append(_again(runs[of], REPEATS_FROM + number, device, seed))
    return drawn


def draw_next(subsets: Sequence[Int[np.ndarray, " subset"]], seed: int) -> list[Draw]:
    """The runs of these subsets, which were chosen by what runs so far left open; all are to fit.

    Numbers and seeds are their own, so that neither the design's runs nor repeats change with them.
    """
    none = np.empty((0, 2), dtype=np.int64)
    return [
        Draw(NEXT_FROM + number, run_seed(seed, NEXT_FROM + number), FIT, members, none)
        for number, members in enumerate(subsets)
    ]


def _again(run: Draw, index: int, same: bool, seed: int) -> Draw:
    return replace(run, index=index, role=REPEAT, seed=run.seed if same else run_seed(seed, index))


def _members(
    layout: DesignLayout, dealer: Dealer, unit: int, own: int
) -> tuple[Int[np.ndarray, " subset"], Int[np.ndarray, "swapped 2"]]:
    """The examples of a run, and what a pair's second run has in the place of some."""
    none = np.empty((0, 2), dtype=np.int64)
    mixed = layout.mixed if draws_reserved(unit) else 0
    if layout.design == UNIFORM:
        others = layout.others if len(layout.reserved) else np.arange(layout.pool)
        members = others[draw_subset(len(others), layout.subset - mixed, own)]
        reserved = generator(own, RunStream.RESERVED).permutation(layout.reserved)[:mixed]
        return np.concatenate([members, reserved]) if mixed else members, none
    random = generator(own, RunStream.DEALING)
    parts = [(layout.others, layout.subset - mixed)] + ([(layout.reserved, mixed)] if mixed else [])
    if layout.design != LEAVE_OUT:
        return np.concatenate([dealer.deal(places, size, random) for places, size in parts]), none
    # The pair differs in examples of the reserve, where it draws from one.
    kept = [dealer.deal_pair(places, size, 0, random)[0] for places, size in parts[:-1]]
    members, swaps = dealer.deal_pair(*parts[-1], layout.swapped, random)
    return np.concatenate([*kept, members]), swaps


def together_in(settings: RecordingSettings) -> int:
    """How many consecutive runs of a recording belong together."""
    return TOGETHER.get(settings.design, 1)
