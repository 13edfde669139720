"""A run of just what gradients predict, and what is fitted to it."""

from typing import Any

import pytest

# The process that only hands out tests reads this file, too, so each fixture imports what it takes.


@pytest.fixture(scope="session")
def exact_run() -> tuple[Any, Any]:
    """One run of just what gradients predict, times ``SCALE``, and the effects."""
    import numpy as np

    from gptfl.core.curriculum import fill_batches, linear_decay
    from tests.estimators.exposure_gp.singles import BATCH, POOL, SCALE, STEPS, data_of, run_of, vectors

    train, test = vectors()
    effects = -SCALE * train @ test.T
    batches = fill_batches(np.arange(POOL), BATCH, STEPS, 7)
    return data_of(run_of(batches, linear_decay(0.05, STEPS), effects)), effects


@pytest.fixture(scope="session")
def fitted_to_one(exact_run: tuple[Any, Any]) -> Any:
    """The estimator fitted to it."""
    from gptfl.estimators.exposure_gp.estimator import ExposureGp

    return ExposureGp().fit(exact_run[0])
