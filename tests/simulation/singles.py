"""What a fit without some examples gets to see, by an estimator that learns single examples."""

import numpy as np

from gptfl.core import FitData, GradientProducts, fingerprint, run_fingerprint
from gptfl.core.splits import stored_split
from gptfl.plugins import EstimatorTags
from tests.synthetic import LOSS


class Single:
    """Stands for an estimator that looks at single examples."""

    name = "single"
    tags = EstimatorTags(unseen={"train", "test"})


def data_of(dynamics, features=None, gradients=None):
    split = stored_split(dynamics.runs)
    return FitData(dynamics.pool, dynamics.test, LOSS, split.fit, split.validation, features, 7, gradients=gradients)


def digest(data: FitData) -> str:
    """Everything that an estimator can see."""
    runs = [run_fingerprint(run) for run in (*data.fit_runs, *data.validation_runs)]
    examples = [[e.id, e.digest, e.label] for e in (*data.pool, *data.test)]
    extras = [part.fingerprint if part else None for part in (data.features, data.gradients)]
    return fingerprint(runs, examples, *extras)


def products(pool: int, test: int, seed: int = 0) -> GradientProducts:
    random = np.random.default_rng(seed)
    both = random.normal(size=(2, 3, pool, test))
    own = random.normal(size=(2, 3, pool))
    return GradientProducts(1, np.arange(3), np.ones(3), both[0], both[1], own[0], own[1])
