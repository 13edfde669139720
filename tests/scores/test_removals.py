"""What leaving a group out changes: held against plain loops, and a made-up law whose noise is known."""

import math

import numpy as np
import pytest

from gptfl.designs.draws import DesignLayout, draw_runs
from gptfl.scores.pointwise import spearman
from gptfl.scores.removals import ChangeSpreads, Removals, find_removals, removal_scores

ORDERS, TESTS, STEPS = 2, 5, 4


def leave_small(runs=16, pool=30, size=3):
    layout = DesignLayout("leave-small", pool, pool, 7, np.array([], dtype=np.int64), swapped=size)
    drawn = draw_runs(layout, runs)
    batches = [run.batches(4, 23) for run in drawn]
    return drawn, batches, find_removals(batches, [run.seed for run in drawn], np.zeros(runs, dtype=int))


def law(runs, noise, seed=3):
    """Recorded and exact values: each example left out moves each test example by a number of its own."""
    random = np.random.default_rng(seed)
    effects = random.normal(size=(30, TESTS))
    exact = np.zeros((len(runs), STEPS, TESTS))
    for place, run in enumerate(runs):
        exact[place, 1:] = 3.0 + effects[run.without].sum(axis=0)
    orders = random.normal(size=(ORDERS, TESTS))
    recorded = exact + noise * random.normal(size=exact.shape)
    for place, run in enumerate(runs):
        recorded[place, 1:] += 5 * orders[run.index % ORDERS]
    return recorded, exact


def test_pairs_are_found_by_what_is_left_of_the_batches():
    runs, _, removals = leave_small()
    assert len(removals) == 7
    assert [set(group) for group in removals.groups] == [set(run.without) for run in runs[2::2]]
    expected = [(place // 2 - 1, place, place % 2) for place in range(2, 16)]
    assert [tuple(pair) for pair in removals.pairs.tolist()] == expected


def test_batches_of_several_sizes_are_padded_and_pairs_all_the_same():
    runs, batches, removals = leave_small()
    padded = [np.pad(one, ((0, 0), (0, 2)), constant_values=-1) for one in batches]
    found = find_removals(padded, [run.seed for run in runs], np.zeros(16, dtype=int))
    np.testing.assert_array_equal(found.pairs, removals.pairs)


def test_runs_of_other_orders_folds_or_groups_are_no_pairs():
    runs, batches, _ = leave_small()
    seeds = [run.seed for run in runs]
    assert find_removals(batches, range(len(runs)), np.zeros(16, dtype=int)) is None
    assert find_removals(batches, seeds, np.arange(16)) is None
    assert find_removals(batches[:6], seeds[:6], np.zeros(6, dtype=int)) is None  # two groups
    other = [*batches[:2], *(np.roll(one, 1, axis=0) for one in batches[2:])]
    assert find_removals(other, seeds, np.zeros(16, dtype=int)) is None


def test_scores_are_those_of_a_plain_loop():
    runs, _, removals = leave_small()
    recorded, exact = law(runs, 0.4)
    predicted = 0.7 * exact + 0.1 * np.random.default_rng(1).normal(size=exact.shape)
    truth, ours, spreads = [], [], []
    for group in range(len(removals)):
        pairs = [(a, b) for g, a, b in removals.pairs.tolist() if g == group]
        truth.append(np.mean([recorded[a, -1] - recorded[b, -1] for a, b in pairs], axis=0))
        ours.append(np.mean([predicted[a, -1] - predicted[b, -1] for a, b in pairs], axis=0))
        spreads.append([np.mean(recorded[a, -1] - recorded[b, -1]) for a, b in pairs])
    truth, ours = np.array(truth), np.array(ours)
    mean, mean_ours = truth.mean(axis=1), ours.mean(axis=1)
    error = math.sqrt(np.mean([np.var(two, ddof=1) for two in spreads]) / ORDERS)
    found = removal_scores(removals, predicted, recorded)
    assert found.slope == pytest.approx((mean * mean_ours).sum() / (mean_ours**2).sum())
    assert found.error == pytest.approx(math.sqrt(np.mean((mean - mean_ours) ** 2)) / error)
    clear = [place for place in range(len(mean)) if abs(mean[place]) > 2 * error]
    assert found.clear == len(clear) > 0
    assert found.signs == sum((mean[place] > 0) == (mean_ours[place] > 0) for place in clear)
    ranks = [spearman(ours[:, test], truth[:, test]) for test in range(TESTS)]
    assert found.lds == pytest.approx(np.mean(ranks))


def test_the_exact_law_is_right_within_its_noise():
    """Over many draws of the noise, squared errors come to 1 in units of their variance (expectation of an F ratio)."""
    runs, _, removals = leave_small(40)
    errors, slopes = [], []
    for seed in range(60):
        recorded, exact = law(runs, 0.5, seed)
        found = removal_scores(removals, exact, recorded)
        errors.append(found.error_each**2)
        slopes.append(found.slope)
    # 19 groups with one degree of freedom each; the whole runs' own noise is common to all groups.
    assert 0.8 < np.mean(errors) < 1.3
    assert np.mean(slopes) == pytest.approx(1.0, abs=0.02)


def test_one_order_alone_tells_no_noise():
    runs, _, removals = leave_small()
    recorded, exact = law(runs, 0.4)
    alone = Removals(removals.groups, removals.pairs[::2])
    found = removal_scores(alone, exact, recorded)
    assert math.isnan(found.error)
    assert math.isnan(found.error_each)
    assert (found.signs, found.clear) == (0, 0)
    assert found.slope == pytest.approx(1.0, abs=0.5)


def test_nothing_predicted_has_no_slope():
    runs, _, removals = leave_small()
    recorded, exact = law(runs, 0.4)
    found = removal_scores(removals, np.zeros_like(exact), recorded)
    assert math.isnan(found.slope)
    assert found.signs == 0
    assert found.lds == 0


def test_changes_inside_their_intervals_are_counted_with_their_own_noise():
    runs, _, removals = leave_small()
    recorded, exact = law(runs, 0.4)
    random = np.random.default_rng(5)
    spreads = random.uniform(0.1, 0.6, size=(len(removals), TESTS + 1))
    predicted = exact + 0.5 * random.normal(size=exact.shape)
    found = removal_scores(removals, predicted, recorded, sure=ChangeSpreads(spreads, {0.5: 0.7, 0.9: 1.7}))
    pairs = [[(a, b) for g, a, b in removals.pairs.tolist() if g == group] for group in range(len(removals))]
    truth = [[np.append(one := recorded[a, -1] - recorded[b, -1], one.mean()) for a, b in own] for own in pairs]
    ours = [[np.append(one := predicted[a, -1] - predicted[b, -1], one.mean()) for a, b in own] for own in pairs]
    noise = np.mean([np.var(own, axis=0, ddof=1) for own in truth], axis=0) / ORDERS
    for level, reach in ((0.5, 0.7), (0.9, 1.7)):
        held = np.array(
            [
                [
                    abs(np.mean(own, axis=0)[column] - np.mean(mine, axis=0)[column])
                    <= reach * math.sqrt(spreads[group, column] ** 2 + noise[column])
                    for column in range(TESTS + 1)
                ]
                for group, (own, mine) in enumerate(zip(truth, ours, strict=True))
            ]
        )
        assert found.inside.mean[level] == pytest.approx(held[:, -1].mean())
        assert found.inside.each[level] == pytest.approx(held[:, :-1].mean())
        assert 0 < held.mean() < 1
    assert found.inside.spread == pytest.approx(math.sqrt(np.mean(spreads[:, -1] ** 2) / noise[-1]))


def test_of_one_order_no_share_of_changes_inside_is_told():
    runs, batches, _ = leave_small()
    one = [place for place in range(len(runs)) if runs[place].index % ORDERS == 0]
    removals = find_removals([batches[i] for i in one], [runs[i].seed for i in one], np.zeros(len(one), dtype=int))
    recorded, exact = law([runs[i] for i in one], 0.4)
    sure = ChangeSpreads(np.ones((len(removals), TESTS + 1)), {0.9: 1.7})
    assert removal_scores(removals, exact, recorded, sure=sure).inside is None
    assert removal_scores(removals, exact, recorded).inside is None
