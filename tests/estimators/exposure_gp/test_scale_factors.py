"""Factors of test examples, against plain ridge regression and where they are known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from gptfl.estimators.exposure_gp.hyperparameters import Hyper
from gptfl.estimators.exposure_gp.process import Step
from gptfl.estimators.exposure_gp.scale_factors import DOUBT, TYPICAL, factors_of

RUNS, TEST = 12, 30


def made(answers, noise=0.1, seed=0):
    """A step whose deviations are what is expected times each test example's answer, and noise."""
    random = np.random.default_rng(seed)
    expected = random.normal(size=(1, RUNS, TEST))
    expected -= expected.mean(axis=1, keepdims=True)
    deviations = expected[0] * answers + noise * random.normal(size=(RUNS, TEST))
    half = random.normal(size=(RUNS, 3))
    half -= half.mean(axis=0)
    return Step(
        (half @ half.T / 30)[None],
        np.ones(1),
        deviations - deviations.mean(axis=0),
        expected,
        np.ones(TEST),
        1.0,
        np.arange(RUNS),
        np.zeros((1, TEST)),
    )


HYPER = Hyper(np.array([0.1]), 0.5, 0.5, np.array([1.0]), np.ones(TEST))


def test_a_test_example_that_answers_twice_as_much_has_a_factor_of_two():
    answers = np.where(np.arange(TEST) % 3 == 0, 2.0, 0.5)  # 1 on average
    np.testing.assert_allclose(factors_of([made(answers)], HYPER), answers, atol=0.25)


def test_factors_are_those_of_a_ridge_regression_with_the_likeliest_spread():
    step = made(np.random.default_rng(1).normal(1.0, 0.7, size=TEST), noise=1.0)
    covariance = 0.1 * step.covariances[0] + np.eye(RUNS)
    apart = np.eye(RUNS) - 1.0 / RUNS
    inverse = np.linalg.pinv(apart @ covariance @ apart)
    expected, left = step.expected[0], step.deviations - step.expected[0]
    variance = np.mean([one @ inverse @ one for one in left.T]) / (RUNS - 1)
    weight = np.array([one @ inverse @ one for one in expected.T]) / variance
    pull = np.array([one @ inverse @ other for one, other in zip(expected.T, left.T, strict=True)]) / variance

    slopes, doubts = pull / weight, 1 / weight

    def cost(place):
        # The density of what each regression finds, around a common mean that is the likeliest one.
        covariance = np.diag(np.exp(2 * place) + doubts)
        inverse = np.linalg.inv(covariance)
        away = slopes - np.ones(TEST) @ inverse @ slopes / inverse.sum()
        density = 0.5 * np.linalg.slogdet(covariance)[1] + 0.5 * away @ inverse @ away
        return density + 0.5 * ((place - np.log(TYPICAL)) / DOUBT) ** 2

    spread = np.exp(2 * minimize_scalar(cost, bounds=(-6, 2), method="bounded").x)
    kept = 1 / (spread + doubts)
    expected = 1 + spread * kept * (slopes - kept @ slopes / kept.sum())
    np.testing.assert_allclose(factors_of([step], HYPER), expected, rtol=1e-6)
    # Told the same thing twice, one knows no more.
    np.testing.assert_allclose(factors_of([step, step], HYPER), factors_of([step], HYPER))


@pytest.mark.parametrize("answer", [1.0, 0.4])
def test_where_all_answer_alike_factors_stay_near_one(answer):
    # By how much they all answer is the scales' business.
    assert np.abs(factors_of([made(np.full(TEST, answer), noise=1.0)], HYPER) - 1).max() < 0.3


@pytest.mark.parametrize("silent", [True, False])
def test_where_nothing_is_expected_or_known_factors_are_one(silent):
    step = made(np.full(TEST, 2.0))
    still = replace(step, expected=step.expected * 0) if silent else replace(step, deviations=step.expected[0])
    assert (factors_of([still], HYPER) == 1).all()
