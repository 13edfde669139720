"""A recording that follows the paper's recurrence exactly, with factors that are bilinear in the features."""

from dataclasses import replace

import numpy as np

from gptfl.core import Curriculum, Dynamics, Features, FeatureSet, Run, role_of
from gptfl.core.curriculum import draw_subset, fill_batches, linear_decay, run_seed
from tests.synthetic import LOSS, examples


def lawful(
    runs: int = 18,
    pool: int = 30,
    test: int = 20,
    steps: int = 16,
    batch_size: int = 3,
    subset: int = 10,
    dims: int = 3,
) -> tuple[Dynamics, Features]:
    """Whoever learns the two bilinear maps knows what every example, seen or not, does to every other."""
    random = np.random.default_rng(0)
    of_pool, of_test = random.normal(size=(pool, dims)), random.normal(size=(test, dims))
    scale, shift = 0.06 * random.normal(size=(dims, dims)), 0.12 * random.normal(size=(dims, dims))
    alpha = (0.9 + of_pool @ scale @ of_test.T) / batch_size
    beta = (0.15 + of_pool @ shift @ of_test.T) / batch_size
    made = []
    for index in range(runs):
        seed = run_seed(0, index)
        batches = fill_batches(draw_subset(pool, subset, seed), batch_size, steps, seed)
        values = [2 + 0.5 * of_test[:, 0]]
        for batch in batches:
            values.append(alpha[batch].sum(axis=0) * values[-1] + beta[batch].sum(axis=0))
        curriculum = Curriculum(batches, linear_decay(1.0, steps))
        made.append(Run(index, seed, role_of(index), curriculum, np.arange(steps + 1), {"loss": np.array(values)}))
    metrics = {"loss": replace(LOSS, low=float("-inf"))}
    dynamics = Dynamics(examples("train", pool, 0), examples("test", test, 0), metrics, tuple(made), {"task": "lawful"})
    vectors = FeatureSet(of_pool.astype(np.float32), of_test.astype(np.float32))
    return dynamics, Features("synthetic", {}, dynamics.examples, {"vectors": vectors})
