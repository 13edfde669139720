"""Influence on one weighted sum, of single examples and of groups, against the process written out densely."""

import numpy as np
import pytest

from gptfl.errors import DataError
from gptfl.estimators.exposure_gp.estimator import ExposureGp
from gptfl.estimators.exposure_gp.influence import presentations
from gptfl.estimators.exposure_gp.target import TargetPosterior
from tests.estimators.exposure_gp.test_estimator import POOL, TEST, world

WEIGHTS = np.linspace(0.5, 1.5, TEST) / TEST
GROUPS = np.arange(POOL) % 4 - 1  # a quarter is in none


def dense(fitted, members):
    """The mean and the variance of the summed effect of some examples, each combination of factors by itself."""
    model, vectors = fitted.model_, vectors_of(fitted)
    asked = presentations(model, np.arange(POOL), vectors, WEIGHTS[None])
    unit = np.eye(POOL) - 1 / POOL  # each example less the average one
    prior = [asked.own.scale * unit @ unit.T]
    if asked.shared:
        prior.append(sum(one * rows @ rows.T for one, rows in asked.shared))
    posterior = TargetPosterior.of(model, WEIGHTS)
    means, variances, shares = [], [], []
    for one in posterior.candidates:
        basis = one.rows.vectors
        kernel = one.factor * (one.own * prior[0] + sum(prior[1:]))
        cross = one.factor * (one.own * asked.cross[0] + sum(asked.cross[1:])) @ basis
        data = one.factor * np.diag(one.rows.values) + np.eye(basis.shape[1])
        gain = cross @ np.linalg.inv(data)
        means.append(members @ (gain @ one.deviations))
        variances.append(one.variance * members @ (kernel - gain @ cross.T) @ members)
        shares.append(one.share)
    shares = np.array(shares) / np.sum(shares)
    mean = shares @ means
    total = shares @ np.array(variances) + shares @ (np.array(means) - mean) ** 2
    return mean + members @ asked.expected[:, 0], total


def vectors_of(fitted):
    return {name: one.train for name, one in fitted.model_.sources.sets.items()}


@pytest.fixture(scope="module", params=[{}, {"features": False}], ids=["features", "none"])
def fitted(request):
    data, _ = world(runs=9)
    return ExposureGp(**request.param).fit(data)


def test_single_examples_are_what_the_dense_process_says(fitted) -> None:
    mean, spread, before = fitted.influence_on_target(np.arange(POOL), vectors_of(fitted), WEIGHTS)
    for place in range(0, POOL, 5):
        expected, variance = dense(fitted, np.eye(POOL)[place])
        assert mean[place] == pytest.approx(-expected)
        assert spread[place] == pytest.approx(np.sqrt(variance), rel=1e-5)
    assert (before >= spread * (1 - 1e-6)).mean() > 0.9


@pytest.mark.parametrize("chunk", [3, 100])
def test_groups_are_what_the_dense_process_says_of_their_sums(fitted, chunk) -> None:
    vectors = vectors_of(fitted)
    parts = [
        (
            np.arange(start, min(start + chunk, POOL)),
            {name: one[start : start + chunk] for name, one in vectors.items()},
            GROUPS[start : start + chunk],
        )
        for start in range(0, POOL, chunk)
    ]
    mean, spread, _ = fitted.influence_of_groups(iter(parts), 3, WEIGHTS)
    for group in range(3):
        expected, variance = dense(fitted, (group == GROUPS).astype(float))
        assert mean[group] == pytest.approx(-expected)
        assert spread[group] == pytest.approx(np.sqrt(variance), rel=1e-5)


def test_all_examples_together_are_the_average_one(fitted) -> None:
    parts = [(np.arange(POOL), vectors_of(fitted), np.zeros(POOL, dtype=int))]
    mean, spread, before = fitted.influence_of_groups(parts, 1, WEIGHTS)
    single = fitted.influence_on_target(np.arange(POOL), vectors_of(fitted), WEIGHTS)
    assert abs(mean[0]) < 1e-5 * np.abs(single[0]).sum()
    assert spread[0] < 1e-2 * single[1].sum()
    assert before[0] < 1e-2 * single[2].sum()


def test_vectors_of_another_kind_are_refused() -> None:
    data, _ = world(runs=6)
    estimator = ExposureGp().fit(data)
    wrong = {"raw-0": np.ones((POOL, 3))}
    with pytest.raises(DataError, match="take the encoder that the simulator was fitted with"):
        estimator.influence_on_target(np.arange(POOL), wrong, WEIGHTS)
    with pytest.raises(DataError, match="take the encoder that the simulator was fitted with"):
        estimator.influence_of_groups([(np.arange(POOL), wrong, GROUPS)], 3, WEIGHTS)
