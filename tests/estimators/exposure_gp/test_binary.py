from dataclasses import replace

import numpy as np
import pytest

from gptfl.estimators.exposure_gp.binary import likely
from gptfl.estimators.exposure_gp.estimator import ExposureGp
from tests.estimators.exposure_gp.worlds import ACCURACY, TEST, covered, question, recorded, world


@pytest.mark.parametrize("level", [0.3, 0.5, 0.9])
def test_bounds_are_the_fewest_outcomes_that_are_probable_enough(level):
    chance = np.linspace(0.01, 0.99, 99)
    low, high = likely(chance, level)
    held = np.where(low == 0, 1 - chance, 0) + np.where(high == 1, chance, 0)
    assert (held >= level - 1e-12).all()
    alone = low == high
    np.testing.assert_array_equal(alone, np.maximum(chance, 1 - chance) >= level)
    np.testing.assert_array_equal(low[alone], chance[alone] >= 0.5)
    wide_low, wide_high = likely(chance, 0.95)
    assert (wide_low <= low).all()
    assert (high <= wide_high).all()


def zeros_and_ones(seed=0, runs=16, queried=20):
    """Runs whose scores are 0 or 1 by chance, with a probability that moves linearly with what they see."""
    data, held = world(runs=runs, queried=queried, metric=ACCURACY, seed=seed)
    random = np.random.default_rng(seed)

    def drawn(run):
        values = (random.random(run.metrics["accuracy"].shape) < run.metrics["accuracy"]).astype(float)
        values[0] = np.arange(TEST) % 2
        return replace(run, metrics={"accuracy": values})

    chances = recorded(held, "accuracy")
    return replace(data, fit_runs=tuple(map(drawn, data.fit_runs))), [drawn(run) for run in held], chances


def test_of_zeros_and_ones_the_probability_is_reported():
    brier, plain, inside, chosen = [], [], [], []
    for seed in range(4):
        data, held, chances = zeros_and_ones(seed)
        fitted = ExposureGp().fit(data)
        assert fitted.model_.binary
        predicted = fitted.predict(question(held, "accuracy"))
        values = predicted.values[:, 1:]
        assert ((values > 0) & (values < 1)).all()
        brier.append(np.square(values - chances[:, 1:]).mean())
        average = np.stack([run.metrics["accuracy"] for run in data.fit_runs]).mean(axis=0)
        plain.append(np.square(average[1:] - chances[:, 1:]).mean())
        low, high = predicted.intervals[0.9]
        assert set(np.unique(low)) | set(np.unique(high)) <= {0.0, 1.0}
        inside.append(covered(predicted, recorded(held, "accuracy"), 0.9))
        chosen.append((low == high)[:, 1:].mean())
        np.testing.assert_array_equal(predicted.intervals[0.5][0][:, 1:], (values >= 0.5))
    assert np.mean(brier) < np.mean(plain) + 0.002
    assert np.mean(inside) > 0.9
    assert np.mean(chosen) > 0.0


def test_of_zeros_and_ones_that_are_all_alike_nothing_is_certain():
    data, held, _ = zeros_and_ones(runs=5)
    ones = tuple(replace(run, metrics={"accuracy": np.ones_like(run.metrics["accuracy"])}) for run in data.fit_runs)
    fitted = ExposureGp().fit(replace(data, fit_runs=ones))
    np.testing.assert_allclose(fitted.predict(question(held, "accuracy")).values[:, 1:], 5.5 / 6)
    assert fitted.notes_ == ()
