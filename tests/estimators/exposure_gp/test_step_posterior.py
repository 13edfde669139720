"""What is known at one step, against a dense search."""

import numpy as np
import pytest

from gptfl.estimators.exposure_gp.inference import columns, rows_of
from gptfl.estimators.exposure_gp.step_posterior import strength_of


def test_a_steps_own_strength_is_the_likeliest_beside_its_prior():
    random = np.random.default_rng(3)
    half = random.normal(size=(9, 4))
    rows, cols = rows_of(half @ half.T), columns(np.ones(6), np.eye(6), 0.5, 0.5)
    for true in (0.1, 1.0, 10.0):
        # With so many test examples that the runs tell them apart, it is found whatever the prior.
        many = columns(np.ones(4000), np.eye(4000), 0.5, 0.5)
        root = np.linalg.cholesky(true * half @ half.T + np.eye(9))
        assert strength_of(rows, many, root @ random.normal(size=(9, 4000))) == pytest.approx(true, rel=0.15)
    assert strength_of(rows, cols, np.zeros((9, 6))) == 1.0
