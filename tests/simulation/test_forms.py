"""A simulator as arrays: the same answers, and effects of single examples that add up."""

from dataclasses import replace

import numpy as np
import pytest

from gptfl.errors import DataError
from gptfl.simulation import forms
from gptfl.simulation.counterfactual import Counterfactual
from gptfl.simulation.forms import TargetChanges, difference_intervals, linear_form_of, summed_form_of
from gptfl.simulation.schedule import recorded_schedule
from gptfl.simulation.unseen import hold_out_examples, scope_of
from tests.synthetic import LOSS

MEMBERS, OTHERS = np.array([0, 3, 5, 8]), np.arange(10)


def test_the_arrays_answer_as_the_simulator_does(source_of):
    source = source_of("exposure-gp")
    form = linear_form_of(source)
    for ids in (("train-0", "train-3", "train-5", "train-8"), ("train-2",)):
        asked = Counterfactual(subset=ids, every_order=True).request(source, 0)
        answer = source.predict(asked.query)
        told = form.predict(np.array([source.pool.places[one] for one in ids]))
        np.testing.assert_allclose(told.values, answer.values[0], rtol=1e-5, atol=1e-6)
        for level, bounds in answer.intervals.items():
            np.testing.assert_allclose(told.intervals[level], [bound[0] for bound in bounds], rtol=1e-4, atol=1e-5)


def test_who_has_no_such_arrays_says_so(source_of):
    with pytest.raises(DataError, match="class-share is not linear in what a run sees: fit exposure-gp"):
        linear_form_of(source_of("class-share"))
    source = source_of("exposure-gp")
    dynamics = source.recording.dynamics
    held_out = hold_out_examples(dynamics, "test", 0.4, 1)
    apart = replace(source, scope=scope_of(dynamics, held_out, source.named.estimator, None))
    with pytest.raises(DataError, match="was fitted with examples set aside: fit it without --unseen"):
        linear_form_of(apart)
    settings = {**dynamics.settings, "group_by_length": True}
    grouped = replace(source, recording=replace(source.recording, dynamics=replace(dynamics, settings=settings)))
    with pytest.raises(DataError, match="--every-order: which examples come together depends on their lengths"):
        linear_form_of(grouped)


def test_a_difference_lies_about_its_change_as_far_as_its_spread_reaches(source_of):
    source = source_of("exposure-gp")
    recipe = recorded_schedule(source.recording.dynamics, LOSS)
    form = linear_form_of(source)
    found = difference_intervals(source, recipe, MEMBERS, OTHERS, 0.5)
    assert set(found) == set(form.intervals.reach) == {0.5, 0.8, 0.9, 0.95}
    spread = form.difference(MEMBERS, OTHERS)[1]
    for level, (low, high) in found.items():
        assert high - low == pytest.approx(2 * form.intervals.reach[level] * spread)
        assert (low + high) / 2 == pytest.approx(0.5)
    low, high = difference_intervals(source, recipe, MEMBERS, MEMBERS, 0.0)[0.9]
    # It is a difference of what is the same.
    assert low == pytest.approx(0.0, abs=1e-9)
    assert high == pytest.approx(0.0, abs=1e-9)


def test_of_another_recipe_or_estimator_no_difference_is_told(source_of):
    source = source_of("exposure-gp")
    recipe = recorded_schedule(source.recording.dynamics, LOSS)
    for other in (replace(recipe, batch_size=1), replace(recipe, learning_rates=recipe.learning_rates * 2)):
        assert difference_intervals(source, other, MEMBERS, OTHERS, 0.5) == {}
    assert difference_intervals(source_of("class-share"), recipe, MEMBERS, OTHERS, 0.5) == {}


def test_effects_are_what_leaving_one_example_out_changes(source_of):
    source = source_of("class-share")
    said = []
    found = summed_form_of(source, 3, lambda *told: said.append(told))
    assert found.effects.shape == (10, len(found.steps), 5)
    whole = Counterfactual(subset=tuple(source.pool.places), orders=forms.ORDERS).request(source, 3)
    np.testing.assert_allclose(found.whole, source.predict(whole.query).values.mean(axis=0), rtol=1e-6)
    for place in (0, 7):
        left = Counterfactual(drop=(f"train-{place}",), orders=forms.ORDERS).request(source, 3)
        without = source.predict(left.query).values.mean(axis=0)
        np.testing.assert_allclose(found.whole + found.effects[place], without, rtol=1e-6)
    assert (found.low, found.high) == (LOSS.low, LOSS.high)
    assert said


def test_a_pool_too_large_to_leave_each_out_is_refused(source_of, monkeypatch):
    monkeypatch.setattr(forms, "MOST_SUMMED", 9)
    line = "class-share would have to simulate each of 10 examples left out, over 9: fit exposure-gp"
    with pytest.raises(DataError, match=line):
        summed_form_of(source_of("class-share"), 0)


def test_a_change_on_some_test_examples_is_told_as_that_on_all(source_of):
    source = source_of("exposure-gp")
    recipe = recorded_schedule(source.recording.dynamics, LOSS)
    every = TargetChanges.of(source, recipe, np.arange(5))
    expected = difference_intervals(source, recipe, MEMBERS, OTHERS, 0.5)
    found = every.intervals([MEMBERS], OTHERS, 0.5)
    for level, bounds in expected.items():
        np.testing.assert_allclose(found[level], bounds, rtol=1e-6, atol=1e-9)
    some = np.array([1, 4])
    told = TargetChanges.of(source, recipe, some)
    weights = np.isin(np.arange(5), some)[None] / 2
    joint = linear_form_of(source, weights).joint_change(MEMBERS, OTHERS)
    reach = told.form.intervals.reach[0.9] * np.sqrt(joint.covariance[0, 0])
    assert told.intervals([MEMBERS], OTHERS, -0.1)[0.9] == pytest.approx((-0.1 - reach, -0.1 + reach))
    assert TargetChanges.of(source_of("class-share"), recipe, some) is None
    assert TargetChanges.of(source, replace(recipe, batch_size=1), some) is None


def test_the_mean_over_sets_is_told_together(source_of):
    source = source_of("exposure-gp")
    recipe = recorded_schedule(source.recording.dynamics, LOSS)
    told = TargetChanges.of(source, recipe, np.arange(5))
    one, other = np.array([0, 1, 2, 3, 4]), np.array([5, 6, 7, 8, 9])

    def width(*sets):
        low, high = told.intervals(sets, OTHERS, 0.0)[0.9]
        return high - low

    assert width(one, one) == pytest.approx(width(one))
    # What one set has more of, the other has less: in their mean both are the whole pool, but for how many rows they have.
    apart = [told.form.breadth.apart(told.form.recipe, len(rows))[-1] for rows in (one, OTHERS)]
    beside = told.form.breadth.share * abs(apart[0] - apart[1]) * told.form.targets.lately[0]
    assert width(one, other) == pytest.approx(2 * told.form.intervals.reach[0.9] * abs(beside), abs=1e-6)
