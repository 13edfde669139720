"""Where runs have come to, from vectors in memory: against plain sums (in blocks: test_blocked_states.py)."""

import numpy as np

from gptfl.estimators.exposure_gp.estimator import ExposureGp
from gptfl.estimators.exposure_gp.pool_states import PoolStates
from tests.estimators.exposure_gp.worlds import POOL, RECORDED, TEST, world


def fitted():
    data, _ = world(runs=5)
    model = ExposureGp(link="log").fit(data).model_
    runs = model.recorded.curricula
    seen = np.zeros((len(runs.batches), len(RECORDED), POOL))
    for run, (batches, rates) in enumerate(zip(runs.batches, runs.learning_rates, strict=True)):
        for row, step in enumerate(RECORDED):
            for taken in range(step):
                left = np.exp(-rates[taken + 1 : step].sum() / runs.fading)
                np.add.at(seen[run, row], batches[taken], left * rates[taken] / len(batches[taken]))
    return data, model.states, seen


def test_states_are_sums_over_what_was_seen():
    data, states, seen = fitted()
    one = data.features.sets["raw-0"]
    assert type(states) is PoolStates
    assert (states.effects, states.ways) == (3, 1)
    for row, (effects, expected) in enumerate(states.fitted(RECORDED)):
        np.testing.assert_allclose(effects[0], seen[:, row])
        np.testing.assert_allclose(effects[1], seen[:, row] @ one.train, rtol=1e-5, atol=1e-5)
        products = -(seen[:, row] @ one.train @ one.test.T) * states.factors
        np.testing.assert_allclose(expected[0], products, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(next(iter(states.last())), seen[:, -1])
    np.testing.assert_allclose(states.means[0][0], one.train.mean(axis=0), rtol=1e-5)
    assert states.known_means == ()


def test_exposures_at_the_end_are_less_their_mean_over_runs():
    _, states, seen = fitted()
    members, places = np.array([0, 2, 3]), np.array([5, 1])
    found = states.own_at_end(members, places)
    apart = seen[members, -1] - seen[members, -1].mean(axis=0)
    np.testing.assert_allclose(found.columns, apart[:, places])
    np.testing.assert_allclose(found.mean, apart.mean(axis=1), atol=1e-12)


def test_other_factors_change_what_is_expected_alone():
    _, states, _ = fitted()
    twice = states.with_factors(2 * states.factors)
    for (ours, one), (theirs, other) in zip(states.fitted(RECORDED), twice.fitted(RECORDED), strict=True):
        np.testing.assert_array_equal(ours[1], theirs[1])
        np.testing.assert_allclose(2 * one[0], other[0], rtol=1e-5)
    assert twice.signed(np.ones(TEST)).tolist() == [1.0] * TEST
