"""What a prediction comes to: per test example and over them, with what to know of it."""

import math
from dataclasses import replace

import numpy as np
import pytest

from gptfl.core import Prediction
from gptfl.simulation.counterfactual import Counterfactual
from gptfl.simulation.forms import difference_intervals, linear_form_of
from gptfl.simulation.reference import OtherSubset, Trust, against_average
from gptfl.simulation.simulate import answered, request_of, simulated
from gptfl.simulation.unseen import hold_out_examples, scope_of

SUBSET = ("train-0", "train-4", "train-7")
TRUST = Trust(0.5, 3, "is told")


def test_numbers_are_those_of_the_last_step(source_of):
    source = source_of("class-share")
    asked = Counterfactual(subset=SUBSET, orders=3).request(source, 5)
    reference = against_average(source, asked)
    values = np.random.default_rng(0).uniform(1, 3, size=(3, len(asked.query.steps), 5))
    found = simulated(source, asked, Prediction(values, {0.9: (values - 1, values + 2)}), reference, TRUST)
    for test in range(5):
        own = [float(values[order, -1, test]) for order in range(3)]
        mean = sum(own) / 3
        assert found.final[test] == pytest.approx(mean)
        assert found.change[test] == pytest.approx(mean - reference.final[test])
        assert found.spread[test] == pytest.approx((sum((one - mean) ** 2 for one in own) / 2) ** 0.5)
        assert [bound[test] for bound in found.intervals[0.9]] == pytest.approx([mean - 1, mean + 2])
    assert found.mean_final == pytest.approx(values[:, -1].mean())
    assert found.mean_change == pytest.approx(found.mean_final - reference.final.mean())
    assert found.mean_spread == pytest.approx(np.std(values[:, -1].mean(axis=1), ddof=1))
    assert found.recorded is None
    assert found.marks == found.groups == ()
    assert found.notes[-1] == TRUST.note
    # A lower loss is better.
    assert all(one.change < 0 for one in found.helped)
    assert all(one.change > 0 for one in found.hurt)


def test_held_out_runs_are_shown_beside_what_was_recorded(source_of):
    source = source_of("mean-run")
    asked = Counterfactual().request(source, 0)
    recorded = asked.recorded.copy()
    recorded[0, -1, 2] = np.nan
    asked = replace(asked, recorded=recorded)
    found = answered(source, asked, None, 0, TRUST)
    expected = [np.mean([one for one in recorded[:, -1, test] if np.isfinite(one)]) for test in range(5)]
    np.testing.assert_allclose(found.recorded, expected)
    assert found.mean_recorded == pytest.approx(np.mean(expected))
    # They were recorded: nothing needs to be taken on trust.
    assert TRUST.note not in found.notes


def test_seen_and_unseen_test_examples_are_scored_apart(source_of):
    source = source_of("class-share")
    dynamics = source.recording.dynamics
    held_out = hold_out_examples(dynamics, "test", 0.4, 1)
    apart = replace(
        source,
        recording=replace(source.recording, held_out=held_out),
        scope=scope_of(dynamics, held_out, source.named.estimator, None),
        memo={},
    )
    asked = Counterfactual().request(apart, 0)
    error = np.where(np.isin(np.arange(5), held_out.test), 2.0, 1.0)
    found = simulated(apart, asked, Prediction(asked.recorded + error), against_average(apart, asked), TRUST)
    assert {place for place, mark in enumerate(found.marks) if mark == "unseen"} == set(held_out.test)
    assert [(one.name, one.count, one.mse) for one in found.groups] == [
        ("seen", 3, pytest.approx(1.0)),
        ("unseen", 2, pytest.approx(4.0)),
    ]
    assert any("the simulator was fitted without" in note for note in found.notes)


def test_an_answer_against_another_subset_tells_how_sure_the_change_is(source_of):
    source = source_of("exposure-gp")
    choice = Counterfactual(subset=SUBSET, every_order=True)
    asked = request_of(source, choice, None, 0)
    other = OtherSubset.of(source, ("train-1", "train-2"))
    found = answered(source, asked, other, 0, TRUST)
    places = np.array([source.pool.places[one] for one in SUBSET])
    expected = difference_intervals(source, asked.recipe, places, other.members, found.mean_change)
    assert found.change_intervals.keys() == expected.keys()
    for level, bounds in expected.items():
        assert found.change_intervals[level] == pytest.approx(bounds)
    assert all(low < found.mean_change < high for low, high in expected.values())
    assert answered(source, asked, None, 0, TRUST).change_intervals == {}


def test_the_interval_of_some_orders_is_wider_by_their_chance(source_of):
    source = source_of("exposure-gp")
    other = OtherSubset.of(source, ("train-1", "train-2"))
    asked = request_of(source, Counterfactual(subset=SUBSET, orders=3), None, 0)
    found = answered(source, asked, other, 0, TRUST)
    places = np.array([source.pool.places[one] for one in SUBSET])
    theirs = asked.recipe.query(asked.recipe.orders(other.members, 3, 0), asked.query.first[0])
    ends = [source.predict(query).values[:, -1].mean(axis=1) for query in (asked.query, theirs)]
    changes = [float(ends[0][order] - ends[1][order]) for order in range(3)]
    mean = sum(changes) / 3
    error = (sum((one - mean) ** 2 for one in changes) / 2 / 3) ** 0.5
    assert error > 0
    alone = difference_intervals(source, asked.recipe, places, other.members, mean)
    assert found.change_intervals.keys() == alone.keys() != set()
    for level, reach in linear_form_of(source).intervals.reach.items():
        half = alone[level][1] - mean
        wider = math.sqrt(half**2 + (reach * error) ** 2)
        assert found.change_intervals[level] == pytest.approx((mean - wider, mean + wider))


def test_one_order_and_runs_that_were_recorded_have_no_interval_of_their_change(source_of):
    source = source_of("exposure-gp")
    other = OtherSubset.of(source, ("train-1", "train-2"))
    for choice in (Counterfactual(subset=SUBSET), Counterfactual()):
        asked = request_of(source, choice, None, 0)
        assert answered(source, asked, other, 0, TRUST).change_intervals == {}


def test_a_subset_held_against_itself_changes_nothing(source_of):
    source = source_of("class-share")
    asked = request_of(source, Counterfactual(subset=SUBSET, orders=3), None, 4)
    found = answered(source, asked, OtherSubset.of(source, SUBSET), 4, TRUST)
    assert not found.change.any()
    assert found.helped == found.hurt == ()
