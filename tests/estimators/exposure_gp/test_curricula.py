"""What runs have seen, and what is known of the examples in it."""

from dataclasses import replace

import numpy as np

from gptfl.estimators.exposure_gp.accumulation import Vectors
from gptfl.estimators.exposure_gp.curricula import RECENT, Curricula, Examples
from tests.estimators.exposure_gp.worlds import left_of

BATCHES = np.array([[[0, 1], [2, -1], [-1, -1]], [[1, 1], [0, 2], [2, 0]]])
RATES = np.array([[1.0, 0.5, 0.25], [0.8, 0.4, 0.2]])


def test_seeing_an_example_counts_the_step_size_over_how_many_are_in_the_batch():
    found = Curricula(BATCHES, RATES).weights
    for run, step in np.ndindex(RATES.shape):
        size = (BATCHES[run, step] >= 0).sum()
        if size:
            assert found[run, step] == RATES[run, step] / size
    np.testing.assert_array_equal(Curricula(BATCHES, RATES, per=4).weights, RATES / 4)


def test_examples_that_count_more_take_a_larger_share_of_their_batch():
    relative = np.array([1.0, 3.0, 2.0])
    found = Curricula(BATCHES, RATES, relative=relative).weights
    for run, step in np.ndindex(RATES.shape):
        members = BATCHES[run, step][BATCHES[run, step] >= 0]
        if len(members):
            np.testing.assert_allclose(found[run, step], RATES[run, step] / relative[members].sum())


def test_some_runs_and_others_like_them_are_counted_in_the_same_way():
    runs = Curricula(BATCHES, RATES, per=4, relative=np.array([1.0, 3.0, 2.0]), unit=2.0)
    some = runs.of(np.array([1]))
    np.testing.assert_array_equal(some.batches, BATCHES[1:])
    np.testing.assert_array_equal(some.learning_rates, RATES[1:])
    assert (some.per, some.unit) == (4, 2.0)
    others = runs.like(BATCHES[:1, :2], RATES[:1, :2])
    assert others.relative is runs.relative
    assert others.per == 4
    own = np.array([5.0, 5.0, 5.0])
    assert runs.like(BATCHES, RATES, own).relative is own


def test_sources_come_in_order_and_what_was_seen_lately_after_them():
    first, second, recent = (Vectors(np.array([0]), np.full((1, 3, 2), value)) for value in (1.0, 2.0, 3.0))
    examples = Examples(np.arange(3), (first, second), ())
    assert examples.effects == ((first, None), (second, None))
    lately = Examples(np.arange(3), (first,), (), recent)
    assert lately.effects == ((first, None), *((recent, reach) for reach in RECENT))


def test_what_is_left_of_a_step_fades_while_step_sizes_add_up():
    runs, steps = Curricula(BATCHES, RATES, fading=0.7), np.array([0, 1, 3, 5])
    kept = runs.kept(steps)
    for run in range(2):
        taken = np.where((BATCHES[run] >= 0).any(axis=1), RATES[run], 0.0)
        for row, step in enumerate(steps):
            sums, expected = np.zeros(3), left_of(BATCHES[run], taken, [min(step, 3)], 3, 0.7)[0]
            for place in range(min(step, 3)):
                members = BATCHES[run, place][BATCHES[run, place] >= 0]
                np.add.at(sums, members, runs.weights[run, place])
            np.testing.assert_allclose(sums * kept[row, run], expected)
        for place in range(3):
            expected = runs.lasting.weights[run, place] * np.exp(-taken[place + 1 :].sum() / 0.7)
            np.testing.assert_allclose(runs.left_at(3)[run, place], expected)


def test_effects_that_stay_are_sums_of_step_sizes():
    runs = Curricula(BATCHES, RATES)
    np.testing.assert_array_equal(runs.kept(np.array([0, 3])), np.ones((2, 2)))
    np.testing.assert_array_equal(runs.left_at(3), runs.weights)
    assert Curricula(BATCHES, RATES, fading=2.0).lasting == runs


def test_runs_may_each_fade_within_a_reach_of_their_own():
    runs = Curricula(BATCHES, RATES)
    both = runs.at_each([0.5, 3.0])
    for reach, some in ((0.5, [0, 1]), (3.0, [2, 3])):
        np.testing.assert_array_equal(both.of(np.array(some)).weights, replace(runs, fading=reach).weights)
        np.testing.assert_array_equal(both.weights[some], replace(runs, fading=reach).weights)
        np.testing.assert_array_equal(
            both.kept(np.array([1, 2]))[:, some], replace(runs, fading=reach).kept(np.array([1, 2]))
        )


def test_step_sizes_far_beyond_the_reach_overflow_nothing():
    runs = Curricula(BATCHES, 1e9 * RATES, fading=1e-3)
    assert np.isfinite(runs.weights).all()
    assert np.isfinite(runs.weights**2).all()
    assert np.isfinite(runs.weights * runs.kept(np.array([3]))[0][:, None]).all()
