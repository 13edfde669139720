import numpy as np
import pytest

from gptfl.estimators.exposure_gp.accumulation import Vectors
from gptfl.estimators.exposure_gp.process import RECENT, Curricula, Examples, states, steps_of
from gptfl.estimators.exposures import exposures
from tests.estimators.exposure_gp.processes import POOL, RECORDED, RUNS, TEST, steps, world


def test_states_are_exposures_times_vectors():
    runs, examples, _, _ = world()
    seen = exposures(runs.batches, runs.learning_rates, RECORDED, POOL)
    renumbered = Examples(np.arange(POOL)[::-1] + 2, examples.shared, examples.expected)
    for row, (effects, expected) in enumerate(states(runs, RECORDED, renumbered, POOL + 2)):
        np.testing.assert_allclose(effects[0][:, 2:], seen[:, row, ::-1])
        np.testing.assert_allclose(effects[1], seen[:, row] @ examples.shared[0].rows[0], atol=1e-12)
        np.testing.assert_allclose(expected[0], seen[:, row] @ examples.expected[0].rows[0], atol=1e-12)


def test_steps_hold_centred_states_of_the_runs_recorded_there():
    made = world()
    runs, examples, _, values = made
    values[3, 2:] = np.nan
    step = steps(made)[1]
    members = np.delete(np.arange(RUNS), 3)
    assert step.members.tolist() == members.tolist()
    seen = exposures(runs.batches, runs.learning_rates, RECORDED[2:3], POOL)[members, 0]
    centred = seen - seen.mean(axis=0)
    np.testing.assert_allclose(step.covariances[0] * step.units[0], centred @ centred.T, atol=1e-12)
    assert np.trace(step.covariances[1]) == pytest.approx(len(members) - 1)
    there = values[members, 2]
    np.testing.assert_allclose(step.deviations * step.size, there - there.mean(axis=0), atol=1e-12)
    expected = seen @ examples.expected[0].rows[0]
    np.testing.assert_allclose(step.common[0], expected.mean(axis=0))
    np.testing.assert_allclose(step.expected[0] * step.size, expected - expected.mean(axis=0), atol=1e-12)


def test_sizes_are_told_by_all_runs_also_by_those_that_repeat_others():
    """Two orders of three sets: the first batches of one order are alike, and the other order's are not."""
    runs, examples, kernel, values = world()
    values[:3, 1] = values[0, 1]
    values[3:6, 1] = values[0, 1] + 2.0
    curricula = Curricula(runs.batches[:6], runs.learning_rates[:6])
    step = next(
        steps_of(
            values[:6, 1:2],
            np.ones((1, TEST)),
            states(curricula, RECORDED[1:2], examples, POOL),
            kernel,
            groups=np.array([0, 1, 2, 0, 1, 2]),
        )
    )
    assert step.groups.tolist() == [0, 1, 2, 0, 1, 2]
    np.testing.assert_allclose(np.abs(step.deviations * step.size), 1.0)
    level = 6.0 / 5.0
    unit = level / np.mean(kernel.sizes**2)
    np.testing.assert_allclose(step.size, np.sqrt((4.0 * unit * kernel.sizes**2 + 6.0) / (4.0 + 5.0)))


def test_what_was_seen_lately_is_a_source_of_its_own_where_gradients_are():
    vectors = Vectors(np.array([0]), np.random.default_rng(0).normal(size=(1, 5, 2)))
    runs = Curricula(np.array([[[0], [1], [2]], [[2], [1], [0]]]), np.ones((2, 3)))
    without, with_recent = (Examples(np.arange(5), (vectors,), (), recent) for recent in (None, vectors))
    found = [len(effects) for examples in (without, with_recent) for effects, _ in states(runs, [3], examples, 5)]
    assert found == [2, 2 + len(RECENT)]
    # The two runs have seen the same examples, in other orders: only what was seen lately tells them apart.
    for effects, _ in states(runs, [3], with_recent, 5):
        assert [np.allclose(one[0], one[1]) for one in effects] == [True, True, False, False]
