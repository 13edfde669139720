"""Runs that repeat one another, with the same subset in another order: what they share, and what they tell."""

import numpy as np
from jaxtyping import Float, Int

from gptfl.estimators.exposure_gp.own_products import OwnProducts

NEAR = 0.1
"""The squared reach of the noise that runs share, in units of the mean squared distance between the exposures of two runs."""
CLOSE = 0.5
"""Repeats share at least so much of it: they saw the same examples about as often."""


Effect = Float[np.ndarray, "run d"] | OwnProducts
"""Where runs have come to in one source of effects; in the examples' own, by products alone where the pool is large."""


def squares_of(effect: Effect) -> Float[np.ndarray, " run"]:
    """The square of how far each run has come."""
    return effect.squares if isinstance(effect, OwnProducts) else np.asarray((effect**2).sum(axis=1))


def saw_the_same(effect: Effect, members: Int[np.ndarray, " kept"]) -> bool:
    """Whether some runs' exposures differ by no more than rounding."""
    if isinstance(effect, OwnProducts):
        return not effect.of(members, members).centred().any()
    own = effect[members]
    return bool(np.ptp(own, axis=0).max(initial=0.0) <= 1e-6 * np.abs(own).max(initial=0.0))


def repeats_of(batches: Int[np.ndarray, "run step place"], exposures: Effect) -> Int[np.ndarray, " run"]:
    """The first run that each run repeats, or itself: one of the same examples and nearly the same exposures to them.

    Batches hold -1 in empty places; exposures are those of whole runs.
    """
    if isinstance(exposures, OwnProducts):
        spread = float(np.trace(exposures.centred()))
    else:
        spread = float(((exposures - exposures.mean(axis=0)) ** 2).sum())
    unit = spread / max(len(batches) - 1, 1)
    close = near_runs(exposures, exposures, np.arange(len(batches)), unit or 1.0) >= CLOSE
    found: list[int] = []
    earlier: dict[bytes, list[int]] = {}
    for run, one in enumerate(batches):
        same_examples = earlier.setdefault(np.unique(one[one >= 0]).tobytes(), [])
        found.append(next((found[other] for other in same_examples if close[run, other]), run))
        same_examples.append(run)
    return np.array(found)


def first_of(groups: Int[np.ndarray, " run"]) -> Int[np.ndarray, " group"]:
    """The places of the runs that repeat no earlier one."""
    return np.sort(np.unique(groups, return_index=True)[1])


def averaging(groups: Int[np.ndarray, " run"]) -> Float[np.ndarray, "run run"]:
    """The projection that puts the mean of its group in each run's place."""
    same = groups[:, None] == groups[None]
    return np.asarray(same / same.sum(axis=1))


def near(
    ones: Float[np.ndarray, "one example"], others: Float[np.ndarray, "other example"], unit: float
) -> Float[np.ndarray, "one other"]:
    """How much of what their exposures leave unexplained two runs share: 1 at the same exposures, nothing far away.

    ``unit`` is half the mean squared distance between the exposures of two runs fitted.
    """
    return _near((ones**2).sum(axis=1)[:, None] + (others**2).sum(axis=1)[None] - 2.0 * ones @ others.T, unit)


def near_runs(
    ones: Effect, fitted: Effect, members: Int[np.ndarray, " kept"], unit: float
) -> Float[np.ndarray, "one kept"]:
    """``near`` of runs, by their exposures or the products of these, and some of the runs fitted.

    Args:
        ones: the runs; those fitted, if they are the same, are cut to ``members`` as well.
        fitted: all runs fitted.
        members: which of them.
        unit: as in ``near``.
    """
    if isinstance(ones, OwnProducts) and isinstance(fitted, OwnProducts):
        rows = members if ones is fitted else np.arange(len(ones.squares))
        return _near(ones.of(rows, members).distances(fitted.of(members, members)), unit)
    assert isinstance(ones, np.ndarray)
    assert isinstance(fitted, np.ndarray)  # both come from one source
    return near(ones[members] if ones is fitted else ones, fitted[members], unit)


def _near(squares: Float[np.ndarray, "one other"], unit: float) -> Float[np.ndarray, "one other"]:
    return np.asarray(np.exp(-np.maximum(squares, 0.0) / (2.0 * NEAR * 2.0 * unit)))
