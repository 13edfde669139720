"""Scores of many examples: what is copied, what is refused, and influence on a mean."""

from pathlib import Path

import numpy as np
import pytest

from gptfl.core import FIT, VALIDATION, blocked_rows
from gptfl.plugins import FitData, ResourceError
from gptfl_scores import readers
from gptfl_scores.estimator import Scores
from gptfl_scores.matching import matched
from gptfl_scores.readers import read_matrix
from tests.synthetic import LOSS, synthetic

POOL, TESTS = 24, 8
MATRIX = np.random.default_rng(0).normal(size=(POOL, TESTS))


@pytest.fixture
def recorded():
    return synthetic(12, pool=POOL, test=TESTS, steps=10, every=2, batch_size=3, subset=8)[0]


def data_of(dynamics) -> FitData:
    return FitData(dynamics.pool, dynamics.test, LOSS, dynamics.with_role(FIT), dynamics.with_role(VALIDATION))


def saved(folder: Path) -> str:
    np.save(folder / "scores.npy", MATRIX)
    return str(folder / "scores.npy")


def test_influence_on_a_mean_is_that_of_each_summed_up(recorded, tmp_path, monkeypatch):
    fitted = Scores(saved(tmp_path)).fit(data_of(recorded))
    monkeypatch.setattr(blocked_rows, "BLOCK_BYTES", 200)
    for tests in (np.arange(TESTS), np.array([3, 0, 0])):
        np.testing.assert_allclose(fitted.mean_influence(tests), fitted.influence()[:, tests].mean(axis=1), rtol=1e-12)


def test_scores_in_the_recordings_order_are_not_copied(recorded, tmp_path):
    matrix = read_matrix(Path(saved(tmp_path)))
    found = matched("a", matrix, None, None, recorded.pool, recorded.test)
    assert np.shares_memory(found, matrix.values)
    np.testing.assert_array_equal(found, MATRIX)


def test_more_than_fits_into_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = saved(tmp_path)
    monkeypatch.setattr(readers, "free_memory", lambda: 3 * Path(path).stat().st_size - 1)
    monkeypatch.setattr(readers.np, "load", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(ResourceError, match=r"of memory, and .* are free: score fewer examples"):
        read_matrix(Path(path))
