import numpy as np
import pytest
from scipy import stats

from gptfl.scores.bootstrap import draw_weights
from gptfl.scores.lds import centred, comparable, lds, lds_draws


def recording(seed=0, runs=10, recorded=4, test=6):
    random = np.random.default_rng(seed)
    predicted, truth = random.normal(size=(2, runs, recorded, test))
    return predicted, truth


def rho(x, y):
    return stats.spearmanr(x, y).statistic


def test_matches_a_loop_over_test_examples():
    predicted, truth = recording()
    expected = np.mean([rho(predicted[:, -1, t], truth[:, -1, t]) for t in range(6)])
    assert lds(predicted, truth) == pytest.approx(expected)
    shift = np.arange(6.0)
    assert lds(predicted + shift, truth - 2 * shift) == pytest.approx(expected)


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_pools_values_less_their_folds_mean(folds):
    predicted, truth = recording(runs=11)
    fold = np.arange(11) % folds
    x, y = predicted[:, -1].copy(), truth[:, -1].copy()
    for run in range(11):
        x[run] -= predicted[fold == fold[run], -1].mean(axis=0)
        y[run] -= truth[fold == fold[run], -1].mean(axis=0)
    assert lds(predicted, truth, fold) == pytest.approx(np.mean([rho(x[:, t], y[:, t]) for t in range(6)]))


@pytest.mark.parametrize("together", [False, True], ids=["independent", "moving together"])
@pytest.mark.parametrize("folds", [2, 4, 12])
@pytest.mark.parametrize("size", [1e-4, 1.0, 100.0])
def test_a_constant_and_noise_knows_nothing_whatever_the_folds(folds, size, together):
    random = np.random.default_rng(folds)
    fold = np.arange(24) % folds
    found = []
    for _ in range(40):
        truth = 0.5 * random.normal(size=(24, 2, 1 if together else 5)) + 0.01 * random.normal(size=(24, 2, 5))
        found.append(lds(3.0 + size * random.normal(size=truth.shape), truth, fold))
    error = np.std(found, ddof=1) / np.sqrt(len(found))
    assert abs(np.mean(found)) < 3.3 * error < 0.2


@pytest.mark.parametrize("folds", [1, 2, 4, 12])
def test_a_prediction_that_is_the_same_within_each_fold_counts_zero(folds):
    _, truth = recording(runs=24)
    fold = np.arange(24) % folds
    level = np.random.default_rng(5).normal(size=(folds, 4, 6)) / 3
    assert lds(level[fold], truth, fold) == 0.0
    assert lds(level[fold] * (1 + 1e-9 * truth), truth, fold) == 0.0
    assert lds(level[fold] * (1 + 1e-3 * truth), truth, fold) != 0.0


@pytest.mark.parametrize("folds", [1, 2, 4, 12])
def test_a_perfect_prediction_is_one_also_when_each_fold_is_shifted(folds):
    _, truth = recording(runs=24)
    fold = np.arange(24) % folds
    assert lds(truth, truth, fold) == pytest.approx(1.0)
    assert lds(truth + 7.0 * fold[:, None, None], truth, fold) == pytest.approx(1.0)
    assert lds(-truth, truth, fold) == pytest.approx(-1.0)


def test_a_run_alone_in_its_fold_is_left_out():
    predicted, truth = recording()
    fold = np.array([0] * 9 + [1])
    assert lds(predicted, truth, fold) == pytest.approx(lds(predicted[:9], truth[:9]))
    assert np.isnan(lds(predicted, truth, np.arange(10)))
    assert [comparable(groups) for groups in (fold, np.arange(10), np.zeros(10), np.arange(10) % 5)] == [9, 0, 10, 10]


def test_centred_leaves_out_what_is_not_known():
    values = np.array([[1.0, 5.0], [3.0, np.nan], [4.0, 0.1], [4.0, 0.1]])
    expected = [[-1.0, np.nan], [1.0, np.nan], [0.0, 0.0], [0.0, 0.0]]
    np.testing.assert_array_equal(centred(values, np.array([0, 0, 1, 1])), expected)


def test_one_constant_test_example_counts_zero_in_the_average():
    predicted, truth = recording()
    some = predicted.copy()
    some[:, -1, 0] = 2.0
    rest = lds(predicted[..., 1:], truth[..., 1:])
    assert lds(some, truth) == pytest.approx(rest * 5 / 6)


def test_test_examples_that_never_vary_are_left_out():
    predicted, truth = recording()
    truth[:, -1, 0] = 0.1 * (np.arange(10) % 2)
    fold = np.arange(10) % 2
    assert lds(predicted, truth, fold) == pytest.approx(lds(predicted[..., 1:], truth[..., 1:], fold))
    assert np.isnan(lds(predicted[..., :1], truth[..., :1], fold))


def test_runs_that_end_early_or_miss_a_value():
    predicted, truth = recording()
    truth[3, 2:] = np.nan
    truth[5, -1, 0] = np.nan
    final = np.full(10, 3)
    final[3] = 1
    rows = np.arange(10)
    x, y = predicted[rows, final], truth[rows, final]
    known = np.isfinite(y[:, 0])
    expected = [rho(x[known, 0], y[known, 0]), *(rho(x[:, t], y[:, t]) for t in range(1, 6))]
    assert lds(predicted, truth) == pytest.approx(np.mean(expected))


def test_draws_match_the_score_of_resampled_runs():
    predicted, truth = recording(runs=12)
    weights = draw_weights(12, seed=0, draws=8)
    got = lds_draws(predicted, truth, np.zeros(12, dtype=int), weights)
    for draw in range(8):
        chosen = np.repeat(np.arange(12), weights[draw].astype(int))
        assert got[draw] == pytest.approx(lds(predicted[chosen], truth[chosen]))


def test_draws_over_folds_resample_the_centred_values():
    predicted, truth = recording(runs=12)
    fold = np.arange(12) % 3
    weights = draw_weights(12, seed=0, draws=8)
    got = lds_draws(predicted, truth, fold, weights)
    x, y = centred(predicted[:, -1], fold), centred(truth[:, -1], fold)
    for draw in range(8):
        chosen = np.repeat(np.arange(12), weights[draw].astype(int))
        assert got[draw] == pytest.approx(np.mean([rho(x[chosen, t], y[chosen, t]) for t in range(6)]))
    whole = lds_draws(predicted, truth, fold, np.ones((1, 12)))
    assert whole[0] == lds(predicted, truth, fold)
