"""One number that brings first-order predictions to the metric's scale."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from gptfl.plugins import DataError


def least_squares_scale(
    name: str,
    predicted: Sequence[Float[np.ndarray, "recorded test"]],
    recorded: Sequence[Float[np.ndarray, "recorded test"]],
) -> float:
    """The factor by which predicted trajectories' changes from the first value come closest to the recorded ones.

    Over all later steps, test examples and runs with a recorded value. Raises ``DataError`` where every
    predicted change is 0, or none was recorded.
    """
    product = square = 0.0
    for trajectory, values in zip(predicted, recorded, strict=True):
        changes, truth = trajectory[1:] - trajectory[0], values[1:] - values[0]
        known = np.isfinite(truth) & np.isfinite(changes)
        product += float((changes[known] * truth[known]).sum())
        square += float((changes[known] ** 2).sum())
    if square == 0.0:
        raise DataError(f"{name} foretells no change of the runs to fit, so it can't be calibrated", "leave that out")
    return product / square


def scale_note(name: str, scale: float) -> str:
    """What to tell of a fitted scale."""
    wrong = "; it is negative: on these runs the foretold changes have the wrong sign" if scale < 0 else ""
    return f"{name}: foretold changes are multiplied by {scale:.2g}, fitted to the training runs{wrong}"
