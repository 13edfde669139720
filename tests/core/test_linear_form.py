"""What small arrays predict for any subset, against plain loops; tests/estimators has where they come from."""

from dataclasses import replace

import numpy as np
import pytest

from gptfl.core.linear_form import FormBreadth, FormIntervals, FormRecipe, FormVariance, LinearForm
from gptfl.core.links import Link

POOL, TEST, K, L, ROWS = 6, 3, 2, 4, 3
STEPS, RATES, BATCH = np.array([0, 2, 5]), np.array([1.0, 0.8, 0.6, 0.4, 0.2]), 2
RECIPE = FormRecipe(RATES, BATCH, STEPS)
MEMBERS, OTHERS = np.array([0, 2, 5]), np.array([1, 2])


def made(seed=0, **changes):
    random = np.random.default_rng(seed)
    half = random.normal(size=(3, L, L))
    variance = FormVariance(
        factors=random.normal(size=(POOL, L)),
        squares=random.uniform(0.1, 0.2, size=(POOL, 3)),
        quadratic=half @ half.transpose(0, 2, 1),
        rows=0.1 * random.normal(size=(3, ROWS, K)),
        known=random.uniform(0.0, 0.1, size=(3, ROWS, TEST + 1)),
        spread=random.uniform(0.5, 1.0, size=(3, TEST + 1)),
        noise=random.uniform(0.1, 0.2, size=(3, TEST + 1)),
    )
    breadth = FormBreadth(
        np.array([1.0, 3.0, 4.0]), np.array([1.0, 4.0, 5.0]), 0.06, 0.1, random.uniform(1, 2, size=(3, TEST + 1))
    )
    intervals = FormIntervals(1.5, {0.5: 0.7, 0.9: 1.7}, 0.9, np.array([[-9.0] * TEST, [9.0] * TEST]))
    first = random.normal(size=TEST)
    form = LinearForm(
        Link("identity"), RECIPE, first, random.normal(size=(3, TEST)), random.uniform(1, 2, size=POOL),
        random.normal(size=(POOL, K)), random.normal(size=(3, TEST)), random.normal(size=(3, TEST, K)), variance, breadth, intervals,
    )  # fmt: skip
    return replace(form, **changes)


def test_a_prediction_is_linear_in_the_weighed_mean_of_the_members():
    form = made()
    weights = form.weights[MEMBERS]
    state = sum(form.factors[one] for one in MEMBERS) / weights.sum()
    found = form.predict(MEMBERS)
    for row, test in np.ndindex(3, TEST):
        expected = form.base[row, test] + form.slope[row, test] @ state if row else form.first[test]
        assert found.values[row, test] == pytest.approx(expected)


def test_variances_are_quadratic_in_the_shares_and_less_by_what_is_known():
    form = made()
    shares = np.random.default_rng(1).normal(size=POOL)
    state = shares @ form.factors
    left, before = form.variance.between(shares, state)
    one = form.variance
    place = sum(share * row for share, row in zip(shares, one.factors, strict=True))
    for t, column in np.ndindex(3, TEST + 1):
        distance = place @ one.quadratic[t] @ place + sum(shares[i] ** 2 * one.squares[i, t] for i in range(POOL))
        known = sum((one.rows[t, r] @ state) ** 2 * one.known[t, r, column] for r in range(ROWS))
        assert before[t, column] == pytest.approx(one.spread[t, column] * distance)
        assert left[t, column] == pytest.approx(max(one.spread[t, column] * distance - known, 0.0))
    weight = 3.7
    equal = np.zeros(POOL)
    equal[MEMBERS] = 1 / weight
    for found, expected in zip(one.of(MEMBERS, weight, state), one.between(equal, state), strict=True):
        np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("link", [Link("identity"), Link("log")])
def test_changes_of_each_test_example_and_their_mean_come_with_their_spreads(link):
    form = made(link=link)
    changes, spreads = form.differences(MEMBERS, OTHERS)
    ours, theirs = (form.predict(one).values[-1] for one in (MEMBERS, OTHERS))
    shares = np.zeros(POOL)
    for members, sign in ((MEMBERS, 1.0), (OTHERS, -1.0)):
        for one in members:
            shares[one] += sign / form.weights[members].sum()
    left, _ = form.variance.between(shares, shares @ form.factors)
    away = [form.breadth.apart(RECIPE, len(one))[-1] for one in (MEMBERS, OTHERS)]
    for column in range(TEST + 1):
        beside = form.breadth.share * (away[0] - away[1]) * form.breadth.lately[-1, column]
        even = np.sqrt(left[-1, column] * form.intervals.scale**2 + beside**2)
        if column == TEST:
            expected, change = even, np.mean(ours) - np.mean(theirs)
        else:
            # What a small step on the even scale is in the metric's units.
            step = 1e-6
            base = link.to(ours[column])
            expected = even * (link.back(base + step) - link.back(base - step)) / (2 * step)
            change = ours[column] - theirs[column]
        assert changes[column] == pytest.approx(change)
        assert spreads[column] == pytest.approx(expected, rel=1e-5)
    assert form.difference(MEMBERS, OTHERS) == (pytest.approx(changes[-1]), pytest.approx(spreads[-1]))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 40])
def test_a_subset_is_as_broad_as_its_exposures_taken_in_turn(count):
    breadth = made().breadth
    seen = np.zeros(count)
    place = 0
    for row, step in enumerate(STEPS):
        while place < step:
            for one in range(place * BATCH, (place + 1) * BATCH):
                seen[one % count] += RATES[place] / BATCH
            place += 1
        own = seen.sum() ** 2 / (seen**2).sum() if seen.any() else 1.0
        away = max(np.log(breadth.least[row] / own), np.log(own / breadth.most[row]), 0.0)
        assert breadth.apart(RECIPE, count)[row] == pytest.approx(away if away > breadth.rounding else 0.0)


def test_intervals_reach_as_many_deviations_as_they_say_on_the_even_scale():
    form = made()
    found = form.predict(MEMBERS)
    weight = form.weights[MEMBERS].sum()
    signal, before = form.variance.of(MEMBERS, weight, form.factors[MEMBERS].sum(axis=0) / weight)
    beside = (0.06 * form.breadth.apart(RECIPE, 3)[:, None] * form.breadth.lately) ** 2
    spread = np.sqrt(1.5**2 * (signal + form.variance.noise) + beside)
    for level, reach in ((0.5, 0.7), (0.9, 1.7)):
        low, high = found.intervals[level]
        np.testing.assert_allclose((high - low)[1:], 2 * reach * spread[1:, :TEST])
        np.testing.assert_allclose((high + low)[1:] / 2, found.values[1:])
        np.testing.assert_array_equal(low[0], form.first)
    np.testing.assert_allclose(found.spread, spread[:, TEST])
    assert found.effect_spread == pytest.approx(np.sqrt(1.5**2 * signal[-1, TEST] + beside[-1, TEST]))
    ends = [(one[-1, :TEST] + beside[-1, :TEST]).sum() for one in (signal, before)]
    assert found.novelty == pytest.approx(min(ends[0] / ends[1], 1.0))


def test_sure_intervals_of_predictions_beyond_all_that_was_recorded_reach_back_to_it():
    plain = made().predict(MEMBERS)
    narrow = np.stack([plain.values[1:].min(axis=0) - 9.0, plain.values[1:].min(axis=0) - 8.0])
    form = made(intervals=replace(made().intervals, extremes=narrow))
    low, high = form.predict(MEMBERS).intervals[0.9]
    assert (low[1:] <= narrow[1]).all()
    np.testing.assert_array_equal(high, plain.intervals[0.9][1])
    np.testing.assert_array_equal(form.predict(MEMBERS).intervals[0.5][0], plain.intervals[0.5][0])


def test_of_zeros_and_ones_it_is_a_probability_that_is_never_certain():
    form = made(trials=7)
    found = form.predict(MEMBERS).values[1:]
    even = (form.base + form.slope @ (form.factors[MEMBERS].sum(axis=0) / form.weights[MEMBERS].sum()))[1:]
    np.testing.assert_allclose(found, (7 * np.clip(even, 0, 1) + 0.5) / 8)
    assert ((found > 0) & (found < 1)).all()


def test_a_difference_is_that_of_two_predictions_and_its_spread_that_of_their_shares():
    form = made()
    change, spread = form.difference(MEMBERS, OTHERS)
    ends = [form.predict(one).values[-1].mean() for one in (MEMBERS, OTHERS)]
    assert change == pytest.approx(ends[0] - ends[1])
    back, same = form.difference(OTHERS, MEMBERS)
    assert (back, same) == pytest.approx((-change, spread))
    assert form.difference(MEMBERS, MEMBERS) == (0.0, 0.0)
    # Nothing of the average run or of chance is in it.
    louder = replace(form, variance=replace(form.variance, noise=form.variance.noise + 9))
    assert louder.difference(MEMBERS, OTHERS) == (change, spread)


def test_no_subset_has_no_prediction():
    with pytest.raises(ValueError, match="the subset is empty"):
        made().predict(np.array([], dtype=int))
    with pytest.raises(ValueError, match="the subset is empty"):
        made().difference(MEMBERS, np.array([], dtype=int))
