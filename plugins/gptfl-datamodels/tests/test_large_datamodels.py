"""Datamodels of many examples: no array of all pairs where a mean is asked for."""

import numpy as np
import pytest

from gptfl.core import FIT, VALIDATION, FitData
from gptfl.errors import ResourceError
from gptfl.testing import make_dynamics
from gptfl_datamodels.estimator import Datamodels


def test_influence_on_a_mean_takes_no_array_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    dynamics = make_dynamics(test=3)
    runs = dynamics.with_role(FIT), dynamics.with_role(VALIDATION)
    data = FitData(dynamics.pool, dynamics.test, dynamics.metrics["loss"], *runs)
    fitted = Datamodels(weighted=True).fit(data)
    whole = fitted.influence()
    monkeypatch.setattr("gptfl_datamodels.estimator.free_memory", lambda: whole.nbytes - 1)
    for tests in (np.array([1]), np.array([0, 2, 2])):
        np.testing.assert_allclose(fitted.mean_influence(tests), whole[:, tests].mean(axis=1), rtol=1e-12)
    with pytest.raises(ResourceError, match=r"datamodels: influence on each of 3 test examples takes .* free: ask"):
        fitted.influence()
