"""Says what of a recording an estimator leaves out."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from gptfl.core import Run

NAMED = 6
"""So many runs or steps are named in a note."""


def named(names: Sequence[str]) -> str:
    """The first of these names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def of_steps(steps: Sequence[int] | Int[np.ndarray, " step"]) -> str:
    """One step, or how many there are and the first of them."""
    names = [str(int(step)) for step in steps]
    return f"step {names[0]}" if len(names) == 1 else f"{len(names)} steps ({named(names)})"


def cut_notes(who: str, runs: Sequence[Run], metric: str, grid: Int[np.ndarray, " grid"]) -> tuple[str, ...]:
    """A note on the recorded steps before and after those of the average run (``estimators.average``), where there are
    any.

    Args:
        who: the estimator, as notes call it.
        runs: that were fitted.
        metric: name of the metric.
        grid: the steps of the average run, ascending.
    """
    scored = [run.steps[np.isfinite(run.metrics[metric]).any(axis=1)] for run in runs]
    steps = np.unique(np.concatenate(scored))
    beyond = steps[(steps < grid[0]) | (steps > grid[-1])]
    if not len(beyond):
        return ()
    return (f"{who}: left out {of_steps(beyond)}, where no run has a {metric} of every test example",)
