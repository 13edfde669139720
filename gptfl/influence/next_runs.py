"""Which runs to record next: those that tell most about rows whose influence isn't known to help or to harm."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from gptfl.core import REPEAT, Dynamics, Progress, class_numbers
from gptfl.core.outlook import RunOutlook
from gptfl.designs.exchange import choose_subsets
from gptfl.errors import DataError
from gptfl.features.vectors import VectorSource, blocks
from gptfl.influence.closed_form import target_weights, vectors_of
from gptfl.influence.removal import removal
from gptfl.influence.targets import influence_target
from gptfl.influence.verdicts import FDR, verdicts_on
from gptfl.options.defaults import FEW_RUNS
from gptfl.plugins.optional import HasOutlook
from gptfl.recording.next_runs import NextRuns
from gptfl.simulation.schedule import recorded_schedule
from gptfl.simulation.simulator import FittedSimulator, open_fitted

MOST = 1024
"""Of a larger pool, so many rows are those that the runs may have and are to tell of: the time is bounded by it."""


def choose_next(request: NextRuns, workspace: str | Path | None, progress: Progress) -> list[list[int]]:
    """The members of each further run, as places in the pool.

    Args:
        request: how many, and what they are like.
        workspace: where the recording's simulators and features lie.
        progress: called along the way.

    Raises ``DataError`` where no simulator of the recording is fitted, it can't tell, or every row is decided.
    """
    source = open_fitted(None, request.path, workspace, FEW_RUNS, None)
    subject = influence_target(request.on, source.recording.dynamics)
    assert subject.tests is not None  # --on self was refused
    if source.recording.held_out is not None:
        raise DataError(f"{source.path} was fitted with examples set aside", "run gptfl fit without --unseen")
    influence = removal(source, subject, None, progress)
    assert influence.spread is not None
    open_ = ~verdicts_on(influence.influence, influence.spread, FDR).decided
    allowed = np.setdiff1d(np.arange(len(open_)), request.reserved)
    if not open_[allowed].any():
        raise DataError(
            f"every row is decided on {subject.text} at a false discovery rate of {FDR:g}",
            "add runs of the design with --runs, or ask --on another target",
        )
    rows = sampled(open_, allowed, max(MOST, request.size))
    outlook = outlook_of(source, subject.tests, rows)
    if outlook is None:
        raise DataError(f"{source.path} was fitted to one run, and tells no spread", "add a run with --runs first")
    pool = source.recording.dynamics.pool
    groups = class_numbers(pool) if request.by_class else None
    chosen = choose_subsets(
        outlook,
        np.flatnonzero(open_[rows]),
        count=request.count,
        size=request.size,
        times=recorded_schedule(source.recording.dynamics, source.metric).seen / request.size,
        seed=request.seed,
        first=request.number,
        dealt=runs_with(source.recording.dynamics)[rows],
        groups=None if groups is None else np.asarray(groups)[rows],
    )
    return [rows[one].tolist() for one in chosen]


def runs_with(dynamics: Dynamics) -> Int[np.ndarray, " pool"]:
    """In how many runs each pool example has been, repeats aside."""
    found = np.zeros(len(dynamics.pool), dtype=np.int64)
    for run in dynamics.runs:
        if run.role != REPEAT:
            found[np.setdiff1d(run.curriculum.batches, [-1])] += 1
    return found


def sampled(
    open_: Bool[np.ndarray, " pool"], allowed: Int[np.ndarray, " allowed"], most: int
) -> Int[np.ndarray, " row"]:
    """At most so many of the rows that runs may have, those that are open first, evenly spread over the pool."""
    first, rest = allowed[open_[allowed]], allowed[~open_[allowed]]
    found = []
    for part, room in ((first, most), (rest, most - min(len(first), most))):
        kept = min(len(part), room)
        found.append(part[np.linspace(0, len(part) - 1, kept).astype(np.int64)] if kept else part[:0])
    return np.sort(np.concatenate(found))


def outlook_of(
    source: FittedSimulator, tests: Int[np.ndarray, " chosen"], rows: Int[np.ndarray, " row"]
) -> RunOutlook | None:
    """What further runs of these rows would tell of their influence on the mean of some test examples.

    ``tests`` and ``rows`` are places. None where the estimator was fitted to one run. Raises ``DataError`` where it can't
    tell at all, or its vectors aren't to be found.
    """
    estimator = source.named.estimator
    if not isinstance(estimator, HasOutlook):
        raise DataError(
            f"{source.found.estimator} can't tell what further runs would tell", f"use an estimator such as {FEW_RUNS}"
        )
    weights = target_weights(source, tests)[0]
    with vectors_of(source, None) as vectors:
        return estimator.outlook_on_target(_parts(vectors, rows, len(source.scope.pool)), weights)


def _parts(
    vectors: VectorSource, rows: Int[np.ndarray, " row"], pool: int
) -> Iterator[tuple[Int[np.ndarray, " example"], Mapping[str, Float[np.ndarray, "example d"]]]]:
    """The rows with their vectors, read some at a time."""
    for start, stop in blocks(vectors, pool):
        here = rows[(rows >= start) & (rows < stop)]
        if len(here):
            yield here, {name: one[here - start] for name, one in vectors.rows(start, stop).items()}
