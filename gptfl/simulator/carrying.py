"""Carries what is known of some test examples over to others, of which only the first value is known."""

import numpy as np
from jaxtyping import Float

from gptfl.simulator.ridge import STRENGTHS, fit_ridge, leave_one_out_error


def carried_over(
    known: Float[np.ndarray, "recorded test"], first: Float[np.ndarray, "run new"]
) -> Float[np.ndarray, "run recorded new"]:
    """Trajectories that start at ``first`` and change as the known test examples do on average.

    At each step, the known ones' change since the first is regressed on their first value. The ridge penalty has
    the least leave-one-out error over all steps, an infinite one (the mean change, whatever the first value) among
    the candidates; values beyond the known first ones get the change of the nearest.
    """
    start, change = known[0][:, None], (known - known[0]).T
    errors = [leave_one_out_error(start, change, strength) for strength in STRENGTHS]
    # Of equals the strongest penalty; with a single test example all errors are NaN.
    best = STRENGTHS[int(np.flatnonzero(errors == np.nanmin(errors))[-1])] if len(start) > 1 else STRENGTHS[-1]
    level, slope = fit_ridge(start, change, best)
    within = np.clip(first, start.min(), start.max())
    return np.asarray(first[:, None] + level[None, :, None] + slope[0][None, :, None] * within[:, None])
