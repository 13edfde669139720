import numpy as np
import pytest

from gptfl.core.links import LEAST, Link

LINKS = {
    "identity": Link("identity"),
    "bounded identity": Link("identity", 0.0, 1.0),
    "log": Link("log", 0.0),
    "odds": Link("odds", 0.0),
    "logit": Link("logit", 0.0, 1.0),
    "wide logit": Link("logit", -10.0, 90.0),
}
INSIDE = {name: np.array([0.02, 0.3, 0.9]) for name in LINKS} | {
    "log": np.array([1e-3, 0.7, 40.0]),
    "odds": np.array([1e-3, 0.7, 40.0]),
    "wide logit": np.array([-9.0, 3.0, 89.0]),
}


@pytest.mark.parametrize("name", LINKS)
def test_back_is_the_inverse(name):
    link, values = LINKS[name], INSIDE[name]
    np.testing.assert_allclose(link.back(link.to(values)), values, rtol=1e-9)


@pytest.mark.parametrize("name", LINKS)
def test_the_slope_is_the_derivative(name):
    link, values = LINKS[name], INSIDE[name]
    change = 1e-6 * np.abs(values)
    expected = (link.to(values + change) - link.to(values - change)) / (2 * change)
    np.testing.assert_allclose(link.slope(values), expected, rtol=1e-5)


@pytest.mark.parametrize("name", LINKS)
def test_nothing_leaves_the_range_of_the_metric(name):
    link, extremes = LINKS[name], np.array([-1e9, -800.0, -30.0, 0.0, 30.0, 800.0, 1e9])
    values = link.back(extremes)
    assert np.isfinite(values).all()
    assert (values >= link.low).all()
    assert (values <= link.high).all()
    assert (np.diff(values) >= 0).all()


@pytest.mark.parametrize("name", ["log", "odds", "logit", "wide logit"])
def test_values_at_a_bound_are_kept_off_it(name):
    link = LINKS[name]
    bounds = np.array([one for one in (link.low, link.high) if np.isfinite(one)])
    assert np.isfinite(link.to(bounds)).all()
    assert np.isfinite(link.slope(bounds)).all()
    width = link.high - link.low if np.isfinite(link.high) else 1.0
    np.testing.assert_allclose(link.back(link.to(bounds)), bounds, atol=1.1 * LEAST * width)


def test_odds_are_those_of_the_probability():
    loss = np.array([0.1, 1.0, 3.0])
    probability = np.exp(-loss)
    np.testing.assert_allclose(LINKS["odds"].to(loss), -np.log(probability / (1 - probability)))


def test_what_is_not_known_stays_unknown():
    for link in LINKS.values():
        assert np.isnan(link.to(np.array([np.nan]))).all()
