"""The design of a recording: what its options leave open decided, the steps, and the runs that come of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Int

from gptfl.core import Example, class_numbers, lack_of_classes
from gptfl.core.curriculum import Stream, count_steps
from gptfl.core.examples import RESERVED
from gptfl.core.packing import Batching
from gptfl.designs.dealing import draw_evenly
from gptfl.designs.draws import (
    BALANCED,
    CONTRAST,
    DESIGNS,
    GROUPS,
    LEAVE_OUT,
    LEAVE_SMALL,
    REPEATED,
    REPEATS_FROM,
    UNIFORM,
    DesignLayout,
    Draw,
    draw_repeats,
    draw_runs,
)
from gptfl.designs.identification import contrast_subset
from gptfl.errors import DataError, UsageError
from gptfl.plugins.interfaces import Plan
from gptfl.recording.group_design import check_by, group_numbers
from gptfl.tasks.label_noise import flipped_of

PAPER_SHARE = 128 / 200
"""The paper's subsets hold 128 of the 200 examples of the pool."""
PAPER_EPOCHS, CONTRAST_EPOCHS = 3.0, 6.0
"""Passes over a subset unless given: of a part of the pool that is worth the name, and of a few examples."""
HALF = 0.5
"""From so much of the pool on, a subset has as many passes as one of the paper's."""
GROUP_SHARE = 0.5
"""The runs of the design of groups have so much of the pool unless given."""
SMALL_SHARE = 0.05
"""The runs of leave-small lack so much of the pool unless given."""
POOL, SUBSET = "pool", "subset"
"""Of what ``--epochs`` are passes."""
GROUP_PART = 8
"""A pair of leave-out runs differs in an eighth of the subset unless given."""


@dataclass(frozen=True, slots=True)
class Design:
    """A design of runs, with everything that was left open decided; examples are not known yet."""

    name: str
    runs: int
    pool: int
    subset: int
    seed: int
    reserve: int = 0
    swapped: int | None = None
    repeats: int = 0
    by: str | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What a recording keeps of it."""
        return {"design": self.name, "reserve_pool": self.reserve, "leave_out_size": self.swapped, "by": self.by}

    def check(self) -> "Design":
        """The design itself. Raises ``UsageError`` where it makes no sense, naming the option."""
        rest = self.pool - self.reserve
        if self.runs > REPEATS_FROM:
            raise UsageError(f"is {self.runs}", f"a recording holds at most {REPEATS_FROM:,}", option="runs")
        if self.reserve < 0 or self.reserve == 1:
            raise UsageError(
                f"is {self.reserve}", "give 0, or 2 or more, so that runs can differ in it", option="reserve_pool"
            )
        if self.name == LEAVE_SMALL:
            self._check_small_group()
        if self.name == GROUPS and self.reserve:
            raise UsageError(
                f"--reserve-pool {self.reserve} with --design groups: its runs differ by whole groups", "leave it out"
            )
        if self.reserve and rest < self.subset:
            raise UsageError(
                f"--reserve-pool {self.reserve} leaves {max(rest, 0)} of --pool {self.pool}, too few for --subset-size "
                f"{self.subset}",
                "lower either, or raise --pool",
            )
        self._check_repeats()
        if self.name == LEAVE_OUT:
            self._check_group(rest)
        return self

    def _check_small_group(self) -> None:
        size, most = self.swapped or 0, self.pool // 2
        if self.reserve:
            raise UsageError(
                f"--reserve-pool {self.reserve} with --design leave-small: its runs are trained on the whole pool",
                "leave it out",
            )
        if not 1 <= size <= most:
            raise UsageError(
                f"--design leave-small leaves {size} of --pool {self.pool} out", f"take 1 to {most}, half of the pool"
            )

    def _check_repeats(self) -> None:
        if self.repeats and self.name == REPEATED:
            raise UsageError(
                f"--repeats {self.repeats} adds to other designs, and --design repeat consists of repeats",
                "leave it out and raise --runs",
            )
        if self.repeats > self.runs:
            raise UsageError(
                f"--repeats {self.repeats} is more than --runs {self.runs}, and each repeats another run",
                f"give at most {self.runs}, or use --design repeat",
            )

    def _check_group(self, rest: int) -> None:
        size, most = self.swapped or 0, self.subset // 2
        flag = f"--leave-out-size {size}"
        if self.subset < 2:
            raise UsageError(f"--subset-size {self.subset} has no group to leave out", "give at least 2")
        if not 1 <= size <= most:
            raise UsageError(
                flag.replace("size ", "size is "), f"give 1 to {most}, half of --subset-size {self.subset}"
            )
        if self.subset + size > rest:
            raise UsageError(
                f"{flag} and --subset-size {self.subset} come to more than the {rest} examples that runs draw from",
                "a group is replaced by others: lower either, or raise --pool",
            )
        if self.reserve and self.reserve < 2 * size:
            raise UsageError(
                f"--reserve-pool {self.reserve} is too small to swap {flag} of it", f"give 0, or at least {2 * size}"
            )

    def reserved(self, pool: Sequence[Example]) -> tuple[Example, ...]:
        """The pool with the examples marked that are set aside: of each class as many as of another.

        Raises ``DataError`` where some are marked already.
        """
        if not self.reserve:
            return tuple(pool)
        for example in pool:
            if example.is_reserved:
                raise DataError(
                    f"--reserve-pool {self.reserve}: pool example {example.id!r} is marked {RESERVED!r} in its file",
                    "leave out --reserve-pool, or the marks",
                )
        chosen = set(draw_evenly(self.reserve, class_numbers(pool), len(pool), (self.seed, Stream.RESERVE)).tolist())
        return tuple(
            replace(example, fields={**example.fields, RESERVED: True}) if place in chosen else example
            for place, example in enumerate(pool)
        )

    def places(self, pool: Sequence[Example]) -> tuple[int, ...]:
        """Where in the pool the examples are that ``reserved`` has marked."""
        marked = (place for place, example in enumerate(pool) if example.is_reserved)
        return tuple(marked) if self.reserve else ()

    def layout(self, pool: Sequence[Example], task: str) -> DesignLayout:
        """What the runs follow from. Raises ``DataError`` for a pool that lacks classes or groups."""
        reserved = np.array(self.places(pool), dtype=np.int64)
        classes = class_numbers(pool) if self.name == BALANCED else None
        if self.name == BALANCED:
            self._check_classes(classes, pool, task)
        groups = None if self.by is None else group_numbers(pool, self.by, self.subset)
        planted = np.flatnonzero(flipped_of(pool)) if self.name == LEAVE_SMALL else None
        if planted is not None and len(planted) > len(pool) // 2:
            planted = None  # what is left would be another data set, not this one less a few rows
        return DesignLayout(
            self.name,
            self.pool,
            subset=self.subset,
            seed=self.seed,
            reserved=reserved,
            classes=classes,
            swapped=self.swapped or 0,
            planted=planted,
            groups=groups,
        )

    def _check_classes(self, classes: Int[np.ndarray, " pool"] | None, pool: Sequence[Example], task: str) -> None:
        if classes is None:
            raise DataError(
                f"--design balanced needs classes, and the pool of {task} has none{lack_of_classes(pool)}",
                "use --design contrast",
            )
        count = len(np.unique(classes))
        if count < 2:
            raise DataError(f"--design balanced needs classes, and the pool of {task} has one", "use --design contrast")
        if self.subset < count:
            raise DataError(
                f"--subset-size {self.subset} has no room for the {count} classes of {task}", f"give at least {count}"
            )

    def draws(self, pool: Sequence[Example], task: str) -> list[Draw]:
        """The runs in the order in which they are carried out, repeats last. Raises as ``layout``."""
        runs = draw_runs(self.layout(pool, task), self.runs)
        return runs + draw_repeats(runs, self.repeats, self.seed)


def read_name(name: str) -> tuple[str, float | None]:
    """A design and the share of the pool that follows its name, as in ``leave-small:0.05`` or ``leave-small:5%``.

    Raises ``UsageError`` for a share that is none.
    """
    own, colon, text = name.partition(":")
    if not colon or own != LEAVE_SMALL:
        return name, None
    percent = text.endswith("%")
    try:
        share = float(text.removesuffix("%")) / (100 if percent else 1)
    except ValueError:
        share = math.nan
    if not 0 < share <= 0.5:
        raise UsageError(
            f"leaves {text!r} of the pool out",
            f"give a share above 0, up to 0.5, as in {LEAVE_SMALL}:0.05 or {LEAVE_SMALL}:5%",
            option="design",
        )
    return own, share


def choose_design(
    name: str,
    runs: int,
    pool: int,
    seed: int,
    *,
    subset_size: int | None,
    reserve_pool: int,
    leave_out_size: int | None,
    repeats: int,
    by: str | None = None,
) -> Design:
    """The design that the options ask for: what is left open becomes the design's own.

    Args:
        name: of the design, for ``leave-small`` with the share to leave out (``leave-small:0.05``).
        runs: how many runs, repeats aside.
        pool: how many training examples there are.
        seed: of the recording; draws the subsets.
        subset_size: examples a run, None for the design's usual number.
        reserve_pool: how many examples no run to fit may see.
        leave_out_size: examples in a group that is left out, None for the design's usual number.
        repeats: how many runs are carried out again in another order.
        by: what groups the runs of the design of groups differ by.

    Raises ``UsageError`` where the options don't go together.
    """
    given, (name, share) = name, read_name(name)
    if name not in DESIGNS:
        raise UsageError(f"{name!r} is unknown", f"use {', '.join(DESIGNS)}", option="design")
    if leave_out_size is not None and name not in (LEAVE_OUT, LEAVE_SMALL):
        raise UsageError(f"--leave-out-size {leave_out_size} is for --design leave-out", "add that, or leave it out")
    if (by is None) == (name == GROUPS):
        if by is None:
            raise UsageError("--design groups needs --by", "name a field of the rows, or clusters: --by clusters:8")
        raise UsageError(f"--by {by} is for --design groups", "add that, or leave it out")
    design = partial(Design, name, runs, pool=pool, seed=seed, reserve=reserve_pool, repeats=repeats, by=by)
    if name == LEAVE_SMALL:
        if subset_size is not None:
            raise UsageError(
                f"--subset-size {subset_size} with --design leave-small: its runs are trained on the whole pool, less a group",
                f"leave it out, or say how much to leave out: --design {LEAVE_SMALL}:0.05",
            )
        if leave_out_size is not None and share is not None:
            raise UsageError(f"--design {given} and --leave-out-size {leave_out_size}", "give one of them")
        if leave_out_size is None:
            leave_out_size = max(1, round((SMALL_SHARE if share is None else share) * pool))
        return design(subset=pool, swapped=leave_out_size)
    if subset_size is None:
        subset_size = max(1, round(PAPER_SHARE * (pool - max(0, reserve_pool))))
        if name == GROUPS:
            subset_size = max(1, round(GROUP_SHARE * pool))
        elif name != UNIFORM:
            subset_size = contrast_subset(pool)
    if subset_size > pool:
        raise UsageError(f"--subset-size {subset_size} is larger than --pool {pool}", "ask for a smaller subset")
    if by is not None:
        check_by(by, pool)
    if name == LEAVE_OUT and leave_out_size is None:
        leave_out_size = max(1, subset_size // GROUP_PART)
    return design(subset=subset_size, swapped=leave_out_size)


def half_of(pool: int, reserve: int) -> int:
    """Half of the examples that aren't reserved, rounded down, at least one."""
    return max(1, int(HALF * (pool - max(0, reserve))))


def choose_steps(
    design: Design, steps: int | None, epochs: float | None, batch_size: int, rows: int | None = None
) -> int:
    """How many steps a run has: as many as given, or the design's number of epochs.

    Args:
        design: its name decides the usual number of epochs, its subset what an epoch is.
        steps: as given, None where open.
        epochs: passes over the subset as given, None where open.
        batch_size: rows a step.
        rows: how many rows an epoch has, where that isn't one for each example of a subset.

    Raises ``UsageError`` where both ``steps`` and ``epochs`` are given.
    """
    rows = design.subset if rows is None else rows
    if epochs is None:
        large = design.name in (CONTRAST, BALANCED) and design.subset >= half_of(design.pool, design.reserve)
        usual = PAPER_EPOCHS if large or design.name in (UNIFORM, LEAVE_SMALL, GROUPS) else CONTRAST_EPOCHS
        return count_steps(rows, batch_size, usual) if steps is None else steps
    if steps is not None:
        raise UsageError("--epochs and --steps both say how long to train", "give one of them")
    return count_steps(rows, batch_size, epochs)


def choose_epochs_of(given: str | None, epochs: float | None, own: bool) -> str:
    """Of what epochs are passes: a recipe for ``own`` data is one for all of it. Raises ``UsageError``."""
    if given is None:
        return POOL if own else SUBSET
    if given not in (POOL, SUBSET):
        raise UsageError(f"{given!r} is unknown", f"use {POOL} or {SUBSET}", option="epochs_of")
    if epochs is None:
        raise UsageError(f"--epochs-of {given} says of what --epochs are, and there are none", "give --epochs")
    return given


def make_plans(draws: Sequence[Draw], batching: Batching | int, steps: int) -> list[Plan]:
    """The runs with their batches."""
    return [Plan(draw.index, draw.seed, draw.role, draw.batches(batching, steps)) for draw in draws]
