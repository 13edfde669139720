import numpy as np
import pytest
from scipy import stats

from gptfl.scores import pointwise


def pair(seed=0, shape=(3, 5, 7), missing=0.0):
    random = np.random.default_rng(seed)
    predicted, recorded = random.normal(size=shape), random.normal(size=shape)
    recorded[random.random(shape) < missing] = np.nan
    return predicted, recorded


def looped(predicted, recorded, loss):
    per_run = []
    for p, r in zip(predicted, recorded, strict=True):
        per_test = []
        for test in range(r.shape[1]):
            errors = [loss(p[s, test] - r[s, test]) for s in range(1, len(r)) if np.isfinite(r[s, test])]
            if errors:
                per_test.append(sum(errors) / len(errors))
        per_run.append(sum(per_test) / len(per_test))
    return np.array(per_run)


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_mse_and_mae_match_a_plain_loop(missing):
    predicted, recorded = pair(missing=missing)
    np.testing.assert_allclose(
        pointwise.all_steps_mse(predicted, recorded), looped(predicted, recorded, lambda e: e * e)
    )
    np.testing.assert_allclose(pointwise.all_steps_mae(predicted, recorded), looped(predicted, recorded, abs))


def test_the_given_first_point_is_never_counted():
    predicted, recorded = pair()
    worse = predicted.copy()
    worse[:, 0] += 100
    for score in (pointwise.all_steps_mse, pointwise.all_steps_mae, pointwise.squared_errors):
        np.testing.assert_array_equal(score(worse, recorded), score(predicted, recorded))
    assert recorded[:, 0].any()


def test_a_run_without_records_scores_nan_and_is_left_out_of_the_mean():
    predicted, recorded = pair()
    recorded[1, 1:] = np.nan
    scores = pointwise.all_steps_mse(predicted, recorded)
    assert np.isnan(scores[1])
    mean, std = pointwise.mean_and_std(scores)
    assert mean == pytest.approx(scores[[0, 2]].mean())
    assert std == pytest.approx(scores[[0, 2]].std(ddof=1))


def test_mean_and_std_of_nothing_and_of_one():
    assert np.isnan(pointwise.mean_and_std(np.array([np.nan]))).all()
    mean, std = pointwise.mean_and_std(np.array([2.0]))
    assert mean == 2.0
    assert np.isnan(std)


def test_final_rows_are_the_last_recorded_ones():
    _, recorded = pair()
    recorded[1, 3:] = np.nan
    recorded[2, 1:] = np.nan
    np.testing.assert_array_equal(pointwise.final_rows(recorded), [4, 2, 0])


def test_final_spearman_matches_scipy_with_ties_and_gaps():
    predicted, recorded = pair()
    predicted[0, -1, :3] = 0.5
    recorded[1, -1, 2] = np.nan
    recorded[2, 3:] = np.nan
    got = pointwise.final_spearman(predicted, recorded)
    for run, row in enumerate([4, 4, 2]):
        known = np.isfinite(recorded[run, row])
        expected = stats.spearmanr(predicted[run, row, known], recorded[run, row, known]).statistic
        assert got[run] == pytest.approx(expected)


def test_final_spearman_of_a_constant_is_zero():
    predicted, recorded = pair()
    predicted[:] = 1.0
    np.testing.assert_array_equal(pointwise.final_spearman(predicted, recorded), np.zeros(3))
    np.testing.assert_array_equal(pointwise.final_spearman(recorded, predicted), np.zeros(3))


def test_skill_is_one_when_perfect_zero_for_mean_run_and_matches_its_definition():
    predicted, recorded = pair(missing=0.2)
    mean_run = np.broadcast_to(np.nanmean(recorded, axis=(0, 2), keepdims=True), recorded.shape)
    filled = np.where(np.isfinite(recorded), recorded, 0.0)
    assert pointwise.skill(filled, recorded, mean_run) == 1.0
    assert pointwise.skill(mean_run, recorded, mean_run) == 0.0
    sse = np.nansum((predicted - recorded)[:, 1:] ** 2)
    reference = np.nansum((mean_run - recorded)[:, 1:] ** 2)
    assert pointwise.skill(predicted, recorded, mean_run) == pytest.approx(1 - sse / reference)


def test_skill_against_a_perfect_mean_run_is_undefined():
    predicted, recorded = pair()
    assert np.isnan(pointwise.skill(predicted, recorded, recorded))


def test_skill_by_step_is_that_of_the_runs_at_each_step():
    random = np.random.default_rng(0)
    predicted, recorded, mean_run = random.normal(size=(3, 4, 5, 3))
    steps = np.array([[0, 2, 4, 6, 8]] * 3 + [[0, 4, 8, -1, -1]])
    recorded[3, 3:] = np.nan
    recorded[0, 2, 1] = np.nan
    mean_run[:3, 3] = recorded[:3, 3]
    found = pointwise.skill_by_step(predicted, recorded, mean_run, steps)
    assert list(found) == [2, 4, 8]
    for step, got in found.items():
        ours = reference = 0.0
        for run in range(4):
            for row in range(1, 5):
                for test in range(3):
                    truth = recorded[run, row, test]
                    if steps[run, row] == step and np.isfinite(truth):
                        ours += (predicted[run, row, test] - truth) ** 2
                        reference += (mean_run[run, row, test] - truth) ** 2
        assert got == pytest.approx(1 - ours / reference)
