"""Ridge regression with an exact leave-one-out error, for few rows and many targets."""

import numpy as np
from jaxtyping import Float

STRENGTHS: tuple[float, ...] = (*np.logspace(-4, 3, 15).tolist(), float("inf"))
"""Candidate strengths, as multiples of the mean squared length of a centred row.

Infinity is the mean of the targets alone.
"""


def _decompose(
    x: Float[np.ndarray, "row d"], strength: float
) -> tuple[Float[np.ndarray, "row k"], Float[np.ndarray, " k"], Float[np.ndarray, "k d"], float]:
    left, singular, right = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    penalty = strength * float((singular**2).sum()) / len(x)
    return left, singular, right, penalty


def _filtered(singular: Float[np.ndarray, " k"], penalty: float, power: int) -> Float[np.ndarray, " k"]:
    # All rows alike, or an infinite penalty: nothing is learned from x.
    if penalty == 0.0 or not np.isfinite(penalty):
        return np.zeros_like(singular)
    return np.asarray(singular**power / (singular**2 + penalty))


def fit_ridge(
    x: Float[np.ndarray, "row d"], y: Float[np.ndarray, "row target"], strength: float
) -> tuple[Float[np.ndarray, " target"], Float[np.ndarray, "d target"]]:
    """Intercept and coefficients that minimise the squared error plus a penalty on the coefficients.

    The penalty is ``strength`` (above 0) times the mean squared length of a centred row; the intercept is
    free. Rows that are all alike give coefficients 0.
    """
    left, singular, right, penalty = _decompose(x, strength)
    gain = _filtered(singular, penalty, 1)
    coefficients = right.T @ (gain[:, None] * (left.T @ (y - y.mean(axis=0))))
    return y.mean(axis=0) - x.mean(axis=0) @ coefficients, coefficients


def leave_one_out_error(x: Float[np.ndarray, "row d"], y: Float[np.ndarray, "row target"], strength: float) -> float:
    """Sum of squared errors at each row when fitted to all the others, in closed form.

    The penalty stays the one that all rows give. NaN for a single row.
    """
    if len(x) < 2:
        return float("nan")
    left, singular, _, penalty = _decompose(x, strength)
    smoother = _filtered(singular, penalty, 2)
    fitted = y.mean(axis=0) + left @ (smoother[:, None] * (left.T @ (y - y.mean(axis=0))))
    leverage = 1.0 / len(x) + (left**2) @ smoother
    return float((((y - fitted) / (1.0 - leverage)[:, None]) ** 2).sum())
