"""Intervals of predictions, on the scale on which effects add up and back on the metric's."""

import numpy as np
from jaxtyping import Float, Int

from gptfl.core.links import Link

LEVELS = (0.5, 0.8, 0.9, 0.95)
"""The levels of the intervals that every prediction has."""
BEFORE = (0.5, 0.9)
"""Those of simulators that were fitted by the first versions of the format."""
SURE = 0.9
"""Intervals of this level and above don't leave all recorded scores behind."""
Trajectories = Float[np.ndarray, "run recorded test"]


def are_reaches(found: np.ndarray | None) -> bool:
    """Whether these can be how many standard deviations intervals of each level reach to each side; None: not known."""
    if found is None:
        return True
    return found.shape in ((len(LEVELS),), (len(BEFORE),)) and bool((found > 0.0).all() and np.isfinite(found).all())


def interval(link: Link, reach: float, mean: Trajectories, spread: Trajectories) -> tuple[Trajectories, Trajectories]:
    """Lower and upper bounds in the metric's units.

    Args:
        link: from the scale of the deviations to the metric's.
        reach: so many standard deviations to either side.
        mean: on the scale of the deviations.
        spread: standard deviations on that scale.
    """
    return link.back(mean - reach * spread), link.back(mean + reach * spread)


def recorded_extremes(
    recorded: Trajectories,
    seen: Int[np.ndarray, " asked"],
    observed: Float[np.ndarray, "asked_run recorded asked"] | None,
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """The least and the greatest score ever recorded of each asked test example, those observed of the run among them.

    ``seen`` are the places of the test examples among those fitted (-1: none, which leaves them without bounds).
    """
    fitted, flat = seen >= 0, recorded.reshape(-1, recorded.shape[2])
    least, most = np.full(len(seen), -np.inf), np.full(len(seen), np.inf)
    least[fitted] = np.fmin.reduce(flat)[seen[fitted]]
    most[fitted] = np.fmax.reduce(flat)[seen[fitted]]
    if observed is None:
        return least, most
    own = np.moveaxis(observed, 1, 0)
    return np.fmin(least, np.fmin.reduce(own))[:, None], np.fmax(most, np.fmax.reduce(own))[:, None]


def back_to_recorded(
    values: Trajectories,
    bounds: tuple[Trajectories, Trajectories],
    extremes: tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]],
) -> tuple[Trajectories, Trajectories]:
    """Bounds that reach back to the nearest extreme where the prediction lies beyond both.

    That effects go on to add up there is not known: a loss, for one, has a floor that no recorded run shows.
    """
    low, high = bounds
    least, most = extremes
    return (
        np.where(values > most, np.minimum(low, most), low),
        np.where(values < least, np.maximum(high, least), high),
    )
