import numpy as np
import pytest
from scipy import stats

from gptfl.scores.bootstrap import draw_weights
from gptfl.scores.lds import lds, lds_draws


def recording(seed=0, runs=10, recorded=4, test=6):
    random = np.random.default_rng(seed)
    truth, predicted = random.normal(size=(2, runs, recorded, test))
    reference = np.broadcast_to(random.normal(size=(1, recorded, test)), truth.shape)
    return predicted, truth, reference


def test_matches_a_loop_over_test_examples():
    predicted, truth, reference = recording()
    expected = np.mean([stats.spearmanr(predicted[:, -1, t], truth[:, -1, t]).statistic for t in range(6)])
    assert lds(predicted, truth, reference) == pytest.approx(expected)


def test_pools_deviations_from_each_folds_reference():
    predicted, truth, _ = recording()
    folds = np.arange(10) % 2
    reference = np.where(folds[:, None, None] == 0, 5.0, -5.0) * np.ones_like(truth)
    expected = [
        stats.spearmanr((predicted - reference)[:, -1, t], (truth - reference)[:, -1, t]).statistic for t in range(6)
    ]
    assert lds(predicted, truth, reference, folds) == pytest.approx(np.mean(expected))


def test_a_prediction_that_ignores_the_curriculum_counts_zero_also_over_folds():
    _, truth, _ = recording()
    folds = np.arange(10) % 2
    reference = np.where(folds[:, None, None] == 0, 5.0, -5.0) * np.ones_like(truth)
    assert lds(reference, truth, reference, folds) == 0.0
    persistence = np.repeat(truth[:1, :1], 4, axis=1).repeat(10, axis=0)
    assert lds(persistence, truth, reference, folds) == 0.0


def test_folds_of_one_run_are_scored_and_the_ignorant_still_count_zero():
    predicted, truth, _ = recording()
    folds = np.arange(10)
    reference = np.random.default_rng(5).normal(size=(10, 1, 6)) * np.ones_like(truth)
    expected = [
        stats.spearmanr((predicted - reference)[:, -1, t], (truth - reference)[:, -1, t]).statistic for t in range(6)
    ]
    assert lds(predicted, truth, reference, folds) == pytest.approx(np.mean(expected))
    persistence = np.repeat(truth[:1, :1], 4, axis=1).repeat(10, axis=0)
    assert lds(persistence, truth, reference, folds) == lds(reference, truth, reference, folds) == 0.0


def test_a_spread_below_single_precision_is_constant():
    predicted, truth, reference = recording()
    noise = 3.0 + 1e-9 * predicted
    assert lds(noise, truth, reference) == 0.0
    assert lds(3.0 + 1e-3 * predicted, truth, reference) != 0.0


def test_one_constant_test_example_counts_zero_in_the_average():
    predicted, truth, reference = recording()
    some = predicted.copy()
    some[:, -1, 0] = 2.0
    rest = lds(predicted[..., 1:], truth[..., 1:], reference[..., 1:])
    assert lds(some, truth, reference) == pytest.approx(rest * 5 / 6)


def test_test_examples_that_never_vary_are_left_out():
    predicted, truth, _ = recording()
    truth[:, -1, 0] = 1.0
    reference = np.zeros_like(truth)
    rest = lds(predicted[..., 1:], truth[..., 1:], reference[..., 1:])
    assert lds(predicted, truth, reference) == pytest.approx(rest)
    assert np.isnan(lds(predicted[..., :1], truth[..., :1], reference[..., :1]))


def test_runs_that_end_early_or_miss_a_value():
    predicted, truth, reference = recording()
    truth[3, 2:] = np.nan
    truth[5, -1, 0] = np.nan
    final = np.full(10, 3)
    final[3] = 1
    rows = np.arange(10)
    x, y = (predicted - reference)[rows, final], (truth - reference)[rows, final]
    known = np.isfinite(y[:, 0])
    expected = [stats.spearmanr(x[known, 0], y[known, 0]).statistic]
    expected += [stats.spearmanr(x[:, t], y[:, t]).statistic for t in range(1, 6)]
    assert lds(predicted, truth, reference) == pytest.approx(np.mean(expected))


def test_draws_match_the_score_of_resampled_runs():
    predicted, truth, reference = recording(runs=12)
    weights = draw_weights(12, seed=0, draws=8)
    folds = np.zeros(12, dtype=int)
    got = lds_draws(predicted, truth, reference, folds, weights)
    for draw in range(8):
        chosen = np.repeat(np.arange(12), weights[draw].astype(int))
        assert got[draw] == pytest.approx(lds(predicted[chosen], truth[chosen], reference[chosen]))
