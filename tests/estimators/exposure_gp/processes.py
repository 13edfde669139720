"""Steps of a Gaussian process."""

import numpy as np

from gptfl.estimators.exposure_gp.accumulation import Vectors
from gptfl.estimators.exposure_gp.process import Curricula, Examples, states, steps_of
from gptfl.estimators.exposure_gp.similarity import SimilarityKernel
from gptfl.estimators.exposures import exposures

RUNS, POOL, TEST, STEPS = 12, 20, 10, 12
RECORDED = np.array([0, 4, 8, 12])


def world(seed=0):
    """Runs whose deviations are exactly what the model says, of own and shared effects and an expectation."""
    random = np.random.default_rng(seed)
    runs = Curricula(
        np.stack([random.choice(random.choice(POOL, 6, replace=False), size=(STEPS, 3)) for _ in range(RUNS)]),
        random.uniform(0.5, 1.0, size=(RUNS, STEPS)),
    )
    gradients, tests = random.normal(size=(POOL, 4)), random.normal(size=(TEST, 4))
    expected = Vectors(np.array([0]), random.normal(size=(1, POOL, TEST)))
    examples = Examples(np.arange(POOL), (Vectors(np.array([0]), gradients[None]),), (expected,))
    kernel = SimilarityKernel.of(tests, TEST)
    seen = exposures(runs.batches, runs.learning_rates, RECORDED, POOL)
    root = np.linalg.cholesky(0.8 * kernel.cosines + 0.2 * np.eye(TEST))
    effects = (0.05 * random.normal(size=(POOL, TEST)) + 0.2 * gradients @ random.normal(size=(4, TEST))) @ root.T
    values = 3.0 + seen @ (effects + 0.1 * expected.rows[0])
    values[:, 1:] += 0.1 * random.normal(size=values[:, 1:].shape)
    return runs, examples, kernel, values


def steps(world_, rows=(1, 2, 3)):
    runs, examples, kernel, values = world_
    kept = np.array(rows)
    slopes = np.ones((len(kept), TEST))
    return list(steps_of(values[:, kept], slopes, states(runs, RECORDED[kept], examples, POOL), kernel))
