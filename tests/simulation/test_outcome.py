"""What a simulation comes to: means that leave equal runs as they are, and who changed most."""

import numpy as np
import pytest

from gptfl.core import MetricInfo
from gptfl.simulation.outcome import Change, finite_mean, mean_over, most_changed, spread_of
from tests.synthetic import LOSS

ACCURACY = MetricInfo("accuracy", higher_is_better=True, low=0.0, high=1.0)


def test_the_mean_of_equal_curricula_is_what_each_of_them_is() -> None:
    """Else an estimator that always answers the same would seem to change something, by a last digit."""
    one = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    for count in (1, 3, 7):
        found = mean_over(np.stack([one] * count))
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, one)


def test_means_and_spreads_are_over_curricula() -> None:
    values = np.random.default_rng(1).normal(size=(5, 2, 3))
    for row in range(2):
        for test in range(3):
            own = [float(values[run, row, test]) for run in range(5)]
            mean = sum(own) / 5
            assert mean_over(values)[row, test] == pytest.approx(mean)
            spread = (sum((one - mean) ** 2 for one in own) / 4) ** 0.5
            assert spread_of(values)[row, test] == pytest.approx(spread)
    assert np.isnan(spread_of(values[:1])).all()
    assert spread_of(values[:1]).shape == (2, 3)


def test_a_mean_is_of_what_is_known() -> None:
    assert finite_mean(np.array([1.0, np.nan, 3.0, np.inf])) == 2.0
    assert np.isnan(finite_mean(np.array([np.nan])))
    assert np.isnan(finite_mean(np.array([])))


@pytest.mark.parametrize("metric", [LOSS, ACCURACY])
def test_the_most_changed_come_first_and_who_is_not_known_is_left_out(metric: MetricInfo) -> None:
    random = np.random.default_rng(2)
    predicted, reference = random.normal(size=12), random.normal(size=12)
    reference[3], predicted[5] = np.nan, reference[5]
    tests = tuple(f"ü{place}" for place in range(12))
    sign = 1 if metric.higher_is_better else -1
    gains = {
        test: sign * (predicted[place] - reference[place]) for place, test in enumerate(tests) if place not in (3, 5)
    }
    best = sorted(gains, key=lambda test: -gains[test])
    helped, hurt = most_changed(tests, predicted, reference, metric, count=2)
    assert [one.id for one in helped] == best[:2]
    assert [one.id for one in hurt] == best[:-3:-1]
    every = most_changed(tests, predicted, reference, metric, count=99)
    assert len(every[0]) + len(every[1]) == 10
    assert all(one.gain > 0 and one.change == one.predicted - one.reference for one in every[0])
    assert all(one.gain < 0 and one.gain == sign * one.change for one in every[1])


def test_what_was_recorded_stands_beside_the_prediction() -> None:
    one = np.array([0.5])
    helped, hurt = most_changed(("a",), one, one * 2, LOSS, one * 3)
    assert helped == (Change("a", 0.5, 1.0, -0.5, 0.5, 1.5),)
    assert hurt == ()
    assert most_changed((), np.array([]), np.array([]), LOSS) == ((), ())
