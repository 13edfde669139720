"""How much more or less than others a test example answers to what gradients expect of it."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize_scalar

from gptfl.simulator.deviations import Hyper, Step
from gptfl.simulator.kriging import rows_of

TYPICAL, DOUBT = 0.5, 1.0
"""The factors' standard deviation, and that of the normal prior on its logarithm."""


def factors_of(steps: Sequence[Step], hyper: Hyper) -> Float[np.ndarray, " test"]:
    """A factor for each test example: ``1 + t_j`` with ``t_j`` normal around 0, of the likeliest spread.

    Each test example is a regression by itself of what the common scales leave on what they expect, with the
    covariance between runs that the hyperparameters give; the steps tell the same thing again, so that their normal
    equations are averaged. Ones where nothing is expected.
    """
    weight = pull = np.zeros(len(steps[0].size))
    for step in steps:
        expected = np.tensordot(hyper.scales, step.expected, 1)
        rows = rows_of(np.tensordot(hyper.weights, step.covariances, 1))
        turned = rows.vectors.T @ expected
        left = rows.vectors.T @ (step.deviations - expected)
        # In units of a test example's own size the covariance between test examples has a diagonal of ones.
        precision = 1.0 / (rows.values + 1.0)
        variance = float((precision @ left**2).mean()) / len(precision)
        if variance > 0.0:
            weight = weight + precision @ turned**2 / (variance * len(steps))
            pull = pull + precision @ (turned * left) / (variance * len(steps))
    if not weight.any():
        return np.ones(len(weight))

    def told(place: float) -> float:
        spread = np.exp(2.0 * place)
        found = np.log1p(spread * weight) - spread * pull**2 / (1.0 + spread * weight)
        return float(0.5 * found.sum() + 0.5 * ((place - np.log(TYPICAL)) / DOUBT) ** 2)

    spread = np.exp(2.0 * minimize_scalar(told, bounds=(-6.0, 2.0), method="bounded").x)
    return np.asarray(1.0 + spread * pull / (1.0 + spread * weight))
