import numpy as np
import pytest

from gptfl.estimators import unseen_tests
from gptfl.estimators.unseen_tests import extrapolated, extrapolated_by_kernel


def test_a_change_that_is_linear_in_the_first_value_is_extrapolated_exactly():
    first = np.array([1.0, 1.5, 2.5, 3.0, 4.0])
    slopes = np.array([0.0, -0.2, -0.5])[:, None]
    known = first + slopes * first - np.array([0.0, 0.3, 0.1])[:, None]
    queried = np.array([[2.0, 3.5], [1.2, 1.7]])
    values = extrapolated(known, queried)
    expected = queried[:, None] * (1 + slopes) - np.array([0.0, 0.3, 0.1])[:, None]
    # The least penalty among the candidates is still one.
    np.testing.assert_allclose(values, expected, atol=1e-3)
    np.testing.assert_array_equal(values[:, 0], queried)


def test_where_the_first_value_tells_nothing_all_change_alike():
    random = np.random.default_rng(0)
    first = random.normal(size=30)
    change = random.normal(size=(4, 30))
    change[0] = 0.0
    values = extrapolated(first + change, np.array([[5.0, -5.0]]))
    np.testing.assert_allclose(values - np.array([5.0, -5.0]), np.repeat(change.mean(axis=1)[None, :, None], 2, axis=2))


def test_beyond_the_known_first_values_the_nearest_change_holds():
    first = np.array([1.0, 2.0, 3.0, 4.0])
    known = np.stack([first, 0.5 * first])
    values = extrapolated(known, np.array([[100.0, 4.0]]))
    assert values[0, 1, 0] - 100.0 == pytest.approx(values[0, 1, 1] - 4.0)


def test_one_known_example_lends_its_own_change():
    values = extrapolated(np.array([[2.0], [1.5]]), np.array([[7.0]]))
    assert values[0, :, 0].tolist() == [7.0, 6.5]


def dense(known, kernel, first, cosines, weight):
    """Universal kriging of each recorded step with a line in the first value: mean and variance of new examples."""
    count = known.shape[1]
    covariance, trend = weight * kernel + np.eye(count), np.stack([np.ones(count), known[0]], axis=1)
    within = np.clip(first, known[0].min(), known[0].max())
    values, spreads = np.empty((*first.shape, len(known))), np.empty((*first.shape, len(known)))
    # The bordered system of the best linear unbiased predictor.
    system = np.block([[covariance, trend], [trend.T, np.zeros((2, 2))]])
    hat = np.linalg.inv(trend.T @ np.linalg.solve(covariance, trend)) @ trend.T @ np.linalg.inv(covariance)
    for run in range(len(first)):
        for new in range(first.shape[1]):
            side = np.concatenate([weight * cosines[new], [1.0, within[run, new]]])
            solved = np.linalg.solve(system, side)
            values[run, new] = known @ solved[:count]
            rest = known.T - trend @ (hat @ known.T)
            unit = (rest * np.linalg.solve(covariance, rest)).sum(axis=0) / (count - 2)
            spreads[run, new] = unit * (weight + 1.0 - solved @ side)
    return np.moveaxis(values, 2, 1), np.moveaxis(spreads, 2, 1)


def kernels(count, new, seed=0):
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(count + new, 3))
    vectors /= np.linalg.norm(vectors, axis=1)[:, None]
    return vectors[:count] @ vectors[:count].T, vectors[count:] @ vectors[:count].T, vectors


@pytest.mark.parametrize("weight", [0.1, 3.0])
def test_extrapolation_by_the_kernel_is_universal_kriging(weight, monkeypatch):
    monkeypatch.setattr(unseen_tests, "WEIGHTS", (weight,))
    random = np.random.default_rng(1)
    kernel, cosines, _ = kernels(9, 2)
    known, first = random.normal(size=(4, 9)), random.uniform(-0.5, 0.5, size=(3, 2))
    values, variances = extrapolated_by_kernel(known, kernel, first, cosines)
    expected, spreads = dense(known, kernel, first, cosines, weight)
    np.testing.assert_allclose(values, expected, atol=1e-12)
    np.testing.assert_allclose(variances, spreads, atol=1e-12)
    np.testing.assert_allclose(values[:, 0], first, atol=1e-12)
    np.testing.assert_allclose(variances[:, 0], 0, atol=1e-12)


def test_likeness_counts_as_far_as_it_tells():
    random = np.random.default_rng(2)
    kernel, cosines, vectors = kernels(40, 20, seed=3)
    first = random.uniform(1, 3, size=60)
    effects = vectors @ random.normal(size=(3, 5)) * np.arange(5)
    for effect, closer in ((effects, True), (np.zeros_like(effects), False)):
        values = (first[:, None] * (1 - 0.1 * np.arange(5)) + effect + 0.02 * random.normal(size=(60, 5))).T
        values[0] = first
        predicted, variances = extrapolated_by_kernel(values[:, :40], kernel, first[None, 40:], cosines)
        plain = extrapolated(values[:, :40], first[None, 40:])
        errors = [np.square(one[0] - values[:, 40:])[1:].mean() for one in (predicted, plain)]
        assert errors[0] < (0.05 if closer else 1.3) * errors[1]
        share = (np.abs(predicted[0] - values[:, 40:]) < 1.645 * np.sqrt(variances[0]))[1:].mean()
        assert 0.75 <= share <= 1.0


@pytest.mark.parametrize("count", [1, 3])
def test_few_known_examples_lend_their_change_without_likeness(count):
    kernel, cosines, _ = kernels(count, 2)
    known, first = np.random.default_rng(0).normal(size=(3, count)), np.array([[0.5, 1.0]])
    values, variances = extrapolated_by_kernel(known, kernel, first, cosines)
    np.testing.assert_array_equal(values, extrapolated(known, first))
    assert variances.shape == values.shape
    assert np.isfinite(variances).all()
    assert (variances[:, 0] == 0).all()


def test_known_examples_that_begin_alike_lend_their_change_without_a_line():
    kernel, cosines, _ = kernels(6, 2)
    known = np.stack([np.full(6, 2.0), np.arange(6.0)])
    values, variances = extrapolated_by_kernel(known, kernel, np.array([[2.0, 2.5]]), cosines)
    np.testing.assert_allclose(values, extrapolated(known, np.array([[2.0, 2.5]])))
    np.testing.assert_allclose(variances[0, 1], 3.5)


def test_beyond_the_known_examples_the_line_goes_on_and_then_keeps_its_distance():
    kernel, cosines = np.eye(6), np.zeros((4, 6))
    start = np.linspace(0.0, 5.0, 6)
    known = np.stack([start, 1.0 + 0.5 * start])
    first = np.array([[5.0, 8.0, 10.0, 13.0]])
    values, _ = extrapolated_by_kernel(known, kernel, first, cosines)
    np.testing.assert_allclose(values[0, 0], first[0], atol=1e-12)
    np.testing.assert_allclose(values[0, 1], [3.5, 5.0, 6.0, 9.0], atol=1e-9)
    shaken = known + np.array([[0.0], [0.1]]) * np.array([1, -1, 1, -1, 1, -1])
    spread = extrapolated_by_kernel(shaken, kernel, first, cosines)[1][0, 1]
    assert (np.diff(spread) > 0).all()


def test_levels_are_used_where_they_tell_known_examples_from_the_others():
    random = np.random.default_rng(5)
    kernel, cosines, _ = kernels(24, 3)
    first, level = random.normal(size=24), random.normal(size=(24, 2))
    new = random.uniform(-1, 1, size=(1, 3))
    new_level = np.clip(random.uniform(-1, 1, size=(3, 2)), level.min(axis=0), level.max(axis=0))
    slopes = np.array([[0.0, 0.0], [0.5, -1.0], [2.0, 0.7]])
    known = first + slopes @ level.T
    values, spread = extrapolated_by_kernel(known, kernel, new, cosines, (level, new_level))
    np.testing.assert_allclose(values[0], new[0] + slopes @ new_level.T, atol=1e-6)
    without, wider = extrapolated_by_kernel(known, kernel, new, cosines)
    assert np.abs(without[0] - new[0] - slopes @ new_level.T)[1:].max() > 0.3
    assert (spread[:, 1:] < wider[:, 1:]).all()
    # Levels that tell nothing are left aside, and so are those of few examples.
    noise = known + 0.5 * random.normal(size=known.shape) * (np.arange(3) > 0)[:, None]
    idle = random.normal(size=(24, 12))
    predicted = extrapolated_by_kernel(
        noise - slopes @ level.T, kernel, new, cosines, (idle, random.normal(size=(3, 12)))
    )
    np.testing.assert_array_equal(
        predicted[0], extrapolated_by_kernel(noise - slopes @ level.T, kernel, new, cosines)[0]
    )
    few = extrapolated_by_kernel(known[:, :6], kernel[:6, :6], new, cosines[:, :6], (level[:6], new_level))
    np.testing.assert_array_equal(few[0], extrapolated_by_kernel(known[:, :6], kernel[:6, :6], new, cosines[:, :6])[0])


@pytest.mark.parametrize("level", [np.zeros((12, 1)), np.ones((12, 2)), np.repeat(np.arange(12.0)[:, None], 2, axis=1)])
def test_levels_that_are_no_plane_are_left_out(level):
    random = np.random.default_rng(5)
    kernel, cosines, _ = kernels(12, 2)
    known, new = random.normal(size=(3, 12)), random.normal(size=(1, 2))
    predicted = extrapolated_by_kernel(known, kernel, new, cosines, (level, level[:2]))
    np.testing.assert_array_equal(predicted[0], extrapolated_by_kernel(known, kernel, new, cosines)[0])


def test_what_is_missed_is_the_error_of_telling_each_from_the_others(monkeypatch):
    monkeypatch.setattr(unseen_tests, "WEIGHTS", (0.7,))
    random = np.random.default_rng(2)
    kernel, _, _ = kernels(10, 1)
    known = random.normal(size=(3, 10))
    trend = np.stack([np.ones(10), known[0], random.normal(size=10)], axis=1)
    regression, looped = unseen_tests._Regression.of(known, trend, kernel), 0.0
    for left in range(10):
        rest = np.delete(np.arange(10), left)
        other = unseen_tests._Regression.of(known[:, rest], trend[rest], kernel[np.ix_(rest, rest)])
        values, _ = other.at(trend[None, [left]], kernel[[left]][:, rest])
        looped += ((values[0, :, 0] - known[:, left]) ** 2).sum()
    assert regression.missed == pytest.approx(looped)
