import numpy as np
import pytest

from gptfl.scores.bootstrap import draw_weights, widening
from gptfl.scores.excess import excesses


def made(runs=8, seed=0):
    random = np.random.default_rng(seed)
    recorded = random.normal(size=(runs, 4, 3))
    recorded[0, 2:] = np.nan
    noise = random.normal(size=recorded.shape)
    return recorded, {name: np.nan_to_num(recorded) + size * noise for name, size in (("good", 0.1), ("bad", 1.0))}


def test_the_difference_is_that_of_all_points_and_drawn_by_runs():
    recorded, predicted = made()
    weights = draw_weights(len(recorded), 3, draws=50)
    found = excesses(predicted, recorded, weights, rivals=predicted, freedom=7)
    errors = {name: [0.0] * len(recorded) for name in predicted}
    points = [0] * len(recorded)
    for run in range(len(recorded)):
        for step in range(1, 4):
            for test in range(3):
                if np.isfinite(recorded[run, step, test]):
                    points[run] += 1
                    for name in predicted:
                        errors[name][run] += (predicted[name][run, step, test] - recorded[run, step, test]) ** 2
    bad = found["bad"]
    assert bad.over == found["good"].over == "good"
    assert bad.squared_error == pytest.approx(sum(errors["bad"]) / sum(points))
    assert bad.more == pytest.approx((sum(errors["bad"]) - sum(errors["good"])) / sum(points))
    draws = [
        sum(w * (b - g) for w, b, g in zip(row, errors["bad"], errors["good"], strict=True))
        / sum(w * n for w, n in zip(row, points, strict=True))
        for row in weights
    ]
    wide = bad.more + widening(7) * (np.quantile(draws, [0.025, 0.975]) - bad.more)
    assert bad.interval == pytest.approx(tuple(wide))
    assert bad.clear
    assert (found["good"].more, found["good"].interval, found["good"].clear) == (0.0, (0.0, 0.0), False)


def test_another_may_be_the_measure_and_an_oracle_is_not():
    recorded, predicted = made()
    weights = draw_weights(len(recorded), 3)
    against = excesses(predicted, recorded, weights, rivals=predicted, freedom=7, over="bad")
    assert against["good"].more < 0
    assert against["good"].clear
    assert excesses(predicted, recorded, weights, rivals={"bad"}, freedom=7)["good"].over == "bad"
    assert excesses(predicted, recorded, weights, rivals=(), freedom=7) == {}


def test_with_too_few_runs_nothing_is_clear():
    recorded, predicted = made()
    found = excesses(predicted, recorded, draw_weights(len(recorded), 3), rivals=predicted, freedom=7, fewest=9)
    assert not found["bad"].clear
