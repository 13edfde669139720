"""How much more squared error one prediction makes than another, paired over runs."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gptfl.scores import bootstrap, pointwise


@dataclass(frozen=True, slots=True)
class Excess:
    """The squared error of a prediction a point, and how much more that is than the one of ``over``.

    ``interval`` is the 95 % bootstrap interval of ``more`` over runs, both predictions drawn together; ``clear`` says
    whether it excludes 0, which with fewer runs than needed is never said.
    """

    squared_error: float
    over: str
    more: float
    interval: tuple[float, float]
    clear: bool


def excesses(
    predicted: Mapping[str, Float[np.ndarray, "run recorded test"]],
    recorded: Float[np.ndarray, "run recorded test"],
    weights: Float[np.ndarray, "draw run"],
    *,
    rivals: Collection[str],
    freedom: int,
    over: str | None = None,
    fewest: int = 2,
) -> dict[str, Excess]:
    """Each prediction's squared error, and its difference to that of one of them, with intervals.

    All points count alike, as in skill: in each draw the difference is that of the sums over the runs drawn, over their
    number of points. Empty where nothing was recorded or there is no rival.

    Args:
        predicted: trajectories by row.
        recorded: the held-out runs.
        weights: draws of runs.
        rivals: the rows among which the least squared error is looked for.
        freedom: degrees of freedom of the draws (see ``bootstrap.freedom_of``).
        over: the row that others are held against, by default the rival with the least squared error.
        fewest: with fewer runs, or groups of runs that belong together, no difference is clear.
    """
    points = pointwise.counted(recorded).sum(axis=(1, 2)).astype(np.float64)
    if points.sum() == 0 or not rivals:
        return {}
    errors = {name: pointwise.squared_errors(values, recorded) for name, values in predicted.items()}
    least = over or min((name for name in errors if name in rivals), key=lambda name: float(errors[name].sum()))
    drawn = weights @ points
    result = {}
    for name, own in errors.items():
        difference = own - errors[least]
        draws = np.where(drawn > 0, (weights @ difference) / np.where(drawn > 0, drawn, 1.0), np.nan)
        more = float(difference.sum() / points.sum())
        bounds = bootstrap.interval(more, draws, freedom)
        clear = freedom + 1 >= fewest and bootstrap.is_clear(bounds)
        result[name] = Excess(float(own.sum() / points.sum()), least, more, bounds, clear)
    return result
