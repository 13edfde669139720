"""Runs that are added to a recording because they tell most: kept in it before the first of them is trained."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from gptfl.core import Dynamics
from gptfl.designs.draws import NEXT_FROM, REPEATS_FROM, TOGETHER, Draw, draw_next
from gptfl.errors import DataError, UsageError
from gptfl.options.recording import CollectOptions
from gptfl.recording.plan import RecordingPlan
from gptfl.store.recordings import merge_runs, read_dynamics, write_dynamics


@dataclass(frozen=True, slots=True)
class NextRuns:
    """How many further runs are to be chosen, for influence ``on`` what, and what they are like.

    ``size`` members each, of which none is ``reserved``, drawn by ``seed``; the first has this ``number`` among all that
    were ever chosen. With ``by_class`` each has as many members of each class as of another.
    """

    path: Path
    count: int
    on: str
    size: int
    seed: int
    number: int
    reserved: tuple[int, ...]
    by_class: bool


Choose = Callable[[NextRuns], Sequence[Sequence[int]]]
"""What chooses the subsets: places in the pool."""


def check_next(options: CollectOptions) -> None:
    """Raise ``UsageError`` where ``--next`` doesn't go with other options, or ``--on`` without it."""
    design, what = options.design, f"--next {options.design.next}"
    if design.next is None:
        if design.on is not None:
            raise UsageError(f"--on {design.on} says what --next is to tell, and there is none", "give --next N")
        return
    if design.on == "self":
        raise UsageError(
            "--on self: runs measure the test examples, and tell nothing of the training examples' own metric",
            "use mean, test:ID or group:FILE",
        )
    if options.execution.processes > 1:
        raise UsageError(
            f"{what} with --processes {options.execution.processes}: runs are chosen in one process", "leave one out"
        )
    if design.repeats:
        raise UsageError(f"{what} with --repeats {design.repeats}", "add them one after the other")


def draws_with_next(plan: RecordingPlan, path: Path, reserved: tuple[int, ...], choose: Choose | None) -> list[Draw]:
    """The runs of a recording with those chosen for it, which are chosen and kept in it unless some are still left.

    Args:
        plan: what was asked for; the recording under ``path`` is known to be of it.
        path: the recording.
        reserved: places in the pool that no run to fit has.
        choose: chooses them.

    Raises ``UsageError`` for a design whose runs belong together, and ``DataError`` where there is no recording or
    nothing to choose by.
    """
    design, count = plan.design, plan.options.design.next or 0
    if design.name in TOGETHER:
        raise UsageError(
            f"--next {count} with --design {design.name}, whose runs belong together",
            "add to a recording of the design contrast, balanced or uniform",
        )
    if not path.exists():
        raise DataError(
            f"--next {count} adds to a recording, and {path} isn't there",
            "leave --next out first, then run gptfl featurize and gptfl fit",
        )
    dynamics = read_dynamics(path)
    subsets = kept_subsets(dynamics, path)
    present = {run.index for run in dynamics.runs}
    if all(NEXT_FROM + number in present for number in range(len(subsets))):
        if choose is None:
            raise DataError(f"{path}: nothing says which runs --next {count} are", "run gptfl collect --next")
        request = NextRuns(
            path,
            count,
            plan.options.design.on or "mean",
            design.subset,
            design.seed,
            len(subsets),
            reserved,
            design.name == "balanced",
        )
        found = [np.asarray(one, dtype=np.int64) for one in choose(request)]
        subsets = [*subsets, *found]
        if not plan.options.output.dry_run:
            _keep(path, subsets)
    own = [index for index in present if index < REPEATS_FROM]
    drawn = replace(design, runs=max(own, default=-1) + 1, repeats=0).draws(dynamics.pool, plan.task) if own else []
    return [*drawn, *draw_next(subsets, design.seed)]


def kept_subsets(dynamics: Dynamics, path: Path) -> list[Int[np.ndarray, " subset"]]:
    """The places in the pool of the members of every run that was chosen; ``DataError`` for an id that isn't there."""
    places: dict[Any, int] = {example.id: place for place, example in enumerate(dynamics.pool)}
    found = []
    for ids in dynamics.settings.chosen_runs or ():
        if not ids or any(one not in places for one in ids):
            raise DataError(
                f"{path} is damaged: a run chosen by --next has an example that isn't in its pool",
                "record it again with gptfl collect",
            )
        found.append(np.array(sorted(places[one] for one in ids), dtype=np.int64))
    return found


def _keep(path: Path, subsets: Sequence[Int[np.ndarray, " subset"]]) -> None:
    """Write into a recording which runs were chosen, all at once."""
    merge_runs(path)
    dynamics = read_dynamics(path)
    ids = [[dynamics.pool[place].id for place in subset.tolist()] for subset in subsets]
    write_dynamics(path, replace(dynamics, settings=dynamics.settings.having(chosen_runs=ids)))
