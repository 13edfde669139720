"""Recordings in which every row has a worth that is known: what removing it, and training on the rest as before, costs."""

import numpy as np
from jaxtyping import Float

from gptfl.core import Curriculum, Dynamics, Features, FeatureSet, Run, role_of
from gptfl.core.curriculum import draw_subset, fill_batches, linear_decay, recorded_steps, run_seed
from gptfl.estimators.exposures import exposures
from tests.synthetic import LOSS, examples


def recording_of_worths(
    seed: int,
    runs: int = 24,
    pool: int = 60,
    test: int = 12,
    subset: int = 20,
    harmful: float = 0.15,
    noise: float = 0.02,
    own: float = 0.5,
    steps: int = 20,
    batch_size: int = 4,
) -> tuple[Dynamics, Features, Float[np.ndarray, " pool"]]:
    """A recording, its features, and each row's true influence on the mean of the test examples.

    A unit of exposure to a row lowers the loss of a test example by a worth that is in part the product of their vectors,
    and in part the row's ``own``; a share of the rows is ``harmful``. What a row is worth is so for any run that sees
    the others as often.

    Args:
        seed: of all that is drawn.
        runs: how many.
        pool: training rows.
        test: test examples.
        subset: rows of a run.
        harmful: the share of the rows that raise the loss.
        noise: standard deviation of what is recorded.
        own: the part of the worths' variance that no vector tells.
        steps: of a run.
        batch_size: rows a step.
    """
    random = np.random.default_rng([seed, 77])
    rows, tests = random.normal(size=(pool, 5)), random.normal(size=(test, 5)) + 0.7
    like = rows @ tests.T / 4
    worths = 0.8 + np.sqrt(1 - own) * like + np.sqrt(own) * random.normal(size=(pool, 1)) * 0.5
    worths -= 2.0 * (random.random(pool) < harmful)[:, None]
    rates, recorded = linear_decay(1.0, steps), recorded_steps(steps, 2)
    first = random.uniform(3, 4, size=test)
    made = []
    for index in range(runs):
        key = run_seed(seed, index)
        batches = fill_batches(draw_subset(pool, subset, key), batch_size, steps, key)
        seen = exposures(batches[None], rates[None], recorded, pool)[0] / rates.sum()
        values = first - seen @ worths
        values[1:] += noise * random.normal(size=values[1:].shape)
        made.append(Run(index, key, role_of(index), Curriculum(batches, rates), recorded, {"loss": values}))
    named = examples("train", pool, 0), examples("test", test, 0)
    dynamics = Dynamics(*named, {"loss": LOSS}, tuple(made), {"task": "worths"})
    vectors = {"vectors": FeatureSet(rows.astype(np.float32), tests.astype(np.float32))}
    return dynamics, Features("synthetic", {"seed": seed}, dynamics.examples, vectors), worths.mean(axis=1) / pool
