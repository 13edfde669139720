"""Gradient sketches of a recording, shared out as units of work among the workers of an executor."""

from dataclasses import replace
from typing import TYPE_CHECKING

from gptfl.core import Progress
from gptfl.plugins.guards import workers_of
from gptfl.plugins.interfaces import Executor
from gptfl.plugins.optional import PerformsUnits
from gptfl.plugins.work import DescribesWork, Tally, Unit
from gptfl.recording.run_units import SKETCHES, unit_of

if TYPE_CHECKING:
    from gptfl.training.kept_sketches import KeptSketching
    from gptfl.training.reference_run import Followed

PARTS = 2
"""Parts for each worker: where one is lost, or slower, the others have something left to do."""
UNKNOWN = 8
"""Workers, where an executor doesn't say how many it has."""
PART_BYTES = 2**29
"""What a part's sketches at all points take at most: they are in a worker's memory, and in one piece when they come back."""


def shares_out(executor: Executor | None) -> bool:
    """Whether an executor carries out other units than runs, and several at once."""
    return isinstance(executor, PerformsUnits) and workers_of(executor) != 1


def sketch_by_units(
    executor: Executor,
    maker: DescribesWork,
    sketching: "KeptSketching",
    progress: Progress,
) -> "Followed | None":
    """Have the gradients sketched that aren't yet; what the reference run was like, None where all were.

    Args:
        executor: carries out the units, each a part of the examples.
        maker: makes the trainer where that happens.
        sketching: keeps the sketches, and knows the run and its points.
        progress: called with examples over all points.

    Raises what a unit fails of.
    """
    from gptfl.training.sketch_blocks import count_pieces, is_kept, keep_part

    assert isinstance(executor, PerformsUnits)  # as shares_out says
    setup, plan, points = sketching.setup, sketching.plan, sketching.points
    known = {"dimensions": setup.dimensions, "modules": setup.modules, "memory": setup.memory, "points": list(points)}
    work = maker.work()
    work = replace(work, kind=SKETCHES, settings={**work.settings, SKETCHES: known})
    examples = len(points) * (len(setup.pool) + len(setup.test))
    least = -(-examples * setup.bytes_each // PART_BYTES)
    parts = min(count_pieces(setup), max(PARTS * (workers_of(executor) or UNKNOWN), least))
    run = unit_of(plan)
    left = [part for part in range(parts) if not is_kept(sketching, part, parts)]
    units = [Unit(part, {**run.settings, "part": part, "parts": parts}, run.arrays) for part in left]
    known_before, tally = sketching.done, Tally()

    def on_step(index: int, done: int, of: int) -> None:
        made = min(examples, known_before + tally.add(index, done))
        progress("sketches", made, examples, f"examples at {len(points)} points, in {parts} parts")

    followed = None
    for outcome in executor.perform(work, iter(units), on_step) if units else ():
        outcome.check()
        followed = keep_part(sketching, outcome.arrays)
    if followed is not None:
        sketching.estimate()
    return followed
