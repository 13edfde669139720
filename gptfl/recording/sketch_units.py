"""Gradient sketches of a recording, shared out as units of work among the workers of an executor."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from gptfl.core import Progress
from gptfl.plugins.guards import workers_of
from gptfl.plugins.interfaces import Executor, Plan
from gptfl.plugins.optional import PerformsUnits
from gptfl.plugins.work import DescribesWork, Outcome, Tally, Unit
from gptfl.recording.run_units import SKETCHES, unit_of

if TYPE_CHECKING:
    from gptfl.training.gradient_sketches import Sketching
    from gptfl.training.reference_run import Followed

PARTS = 2
"""Parts for each worker: where one is lost, or slower, the others have something left to do."""
UNKNOWN = 8
"""Workers, where an executor doesn't say how many it has."""


def shares_out(executor: Executor | None) -> bool:
    """Whether an executor carries out other units than runs, and several at once."""
    return isinstance(executor, PerformsUnits) and workers_of(executor) != 1


def sketch_by_units(
    executor: Executor,
    maker: DescribesWork,
    plan: Plan,
    points: Sequence[int],
    sketching: "Sketching",
    progress: Progress,
) -> "Followed":
    """Have all examples' gradients sketched at points of a reference run; what that run was like.

    Args:
        executor: carries out the units, each a part of the examples.
        maker: makes the trainer where that happens.
        plan: the reference run.
        points: the steps to sketch at.
        sketching: is given the sketches.
        progress: called with examples over all points.

    Raises what a unit fails of.
    """
    from gptfl.training.sketch_blocks import count_pieces, put_together

    assert isinstance(executor, PerformsUnits)  # as shares_out says
    setup = sketching.setup
    known = {"dimensions": setup.dimensions, "modules": setup.modules, "memory": setup.memory, "points": list(points)}
    work = maker.work()
    work = replace(work, kind=SKETCHES, settings={**work.settings, SKETCHES: known})
    parts = min(count_pieces(setup), PARTS * (workers_of(executor) or UNKNOWN))
    run = unit_of(plan)
    units = [Unit(part, {**run.settings, "part": part, "parts": parts}, run.arrays) for part in range(parts)]
    total, tally = len(points) * (len(setup.pool) + len(setup.test)), Tally()

    def on_step(index: int, done: int, of: int) -> None:
        progress("sketches", tally.add(index, done), total, f"examples at {len(points)} points, in {parts} parts")

    found: dict[int, Outcome] = {}
    for outcome in executor.perform(work, iter(units), on_step):
        outcome.check()
        found[outcome.index] = outcome
    return put_together(sketching, [found[part].arrays for part in range(parts)], points)
