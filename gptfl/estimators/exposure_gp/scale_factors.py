"""How much more or less than others a test example answers to what gradients expect of it."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from gptfl.estimators.exposure_gp.hyperparameters import Hyper
from gptfl.estimators.exposure_gp.inference import rows_of
from gptfl.estimators.exposure_gp.process import Step

TYPICAL, DOUBT = 0.5, 1.0
"""The factors' standard deviation, and that of the normal prior on its logarithm."""


def factors_of(steps: Sequence[Step], hyper: Hyper) -> Float[np.ndarray, " test"]:
    """A factor for each test example: ``1 + t_j``, where ``t_j`` are normal with the likeliest spread.

    Each test example is a regression by itself of what the common scales leave on what they expect, with the
    covariance between runs that the hyperparameters give; the steps tell the same thing again, so that their normal
    equations are averaged. Only how test examples differ counts: what they have in common is the scales' business,
    which know how alike the test examples' noise is. Ones where nothing is expected.
    """
    from scipy.optimize import minimize_scalar  # takes as long to load as a simulation

    weight = pull = np.zeros(len(steps[0].size))
    for step in steps:
        expected = np.tensordot(hyper.scales, step.expected, 1)
        rows = rows_of(np.tensordot(hyper.weights, step.covariances, 1), step.noise(hyper.lack))
        turned = rows.vectors.T @ expected
        left = rows.vectors.T @ (step.deviations - expected)
        # In units of a test example's own size the covariance between test examples has a diagonal of ones.
        precision = 1.0 / (rows.values + 1.0)
        variance = float((precision @ left**2).mean()) / len(precision)
        if variance > 0.0:
            weight = weight + precision @ turned**2 / (variance * len(steps))
            pull = pull + precision @ (turned * left) / (variance * len(steps))
    informed = weight > 0.0
    if not informed.any():
        return np.ones(len(weight))
    slopes, doubts = pull[informed] / weight[informed], 1.0 / weight[informed]

    def cost(place: float) -> float:
        precision = 1.0 / (np.exp(2.0 * place) + doubts)
        away = slopes - (precision @ slopes) / precision.sum()
        likely = precision @ away**2 - np.log(precision).sum()
        return float(0.5 * likely + 0.5 * ((place - np.log(TYPICAL)) / DOUBT) ** 2)

    spread = np.exp(2.0 * minimize_scalar(cost, bounds=(-6.0, 2.0), method="bounded").x)
    precision = 1.0 / (spread + doubts)
    found = np.ones(len(weight))
    found[informed] += spread * precision * (slopes - (precision @ slopes) / precision.sum())
    return found
