"""Which rows are left out, and what their changes say."""

from pathlib import Path

import numpy as np
import pytest

from gptfl.core import MetricInfo
from gptfl.errors import UsageError
from gptfl.evaluation.paired import noise_of
from gptfl.influence.ranking import Ranking
from gptfl.studies.removal_curve import distinct_trainings, noise_of_sets, plan_drops, sizes_of
from gptfl.studies.results import HARMFUL, HELPFUL, RANDOM
from gptfl.studies.retraining import Training

LOSS = MetricInfo("loss", higher_is_better=False, low=0.0)
INFLUENCE = np.array([0.1, -3.0, 2.0, 0.0, -1.0, 5.0, 0.4, -0.2])


def ranking(label: str, influence: np.ndarray) -> Ranking:
    return Ranking(label, label, "drop", influence, 4, Path("x"))


def test_sizes_are_numbers_and_shares_each_once() -> None:
    assert sizes_of("20,5, 10", 60) == (5, 10, 20)
    assert sizes_of("5%,10%,3,6", 60) == (3, 6)
    assert sizes_of([4, "25%", np.int64(2)], 8) == (2, 4)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("", "--sizes has '': give numbers of rows, or shares of the pool, such as 5,10 or 5%,10%"),
        ((), "--sizes is empty: give numbers"),
        ("3,x", "--sizes has 'x': give numbers"),
        ("nan%", "--sizes has 'nan%': give numbers"),
        ("inf%", "--sizes has 'inf%': give numbers"),
        ("1e999999", "--sizes has '1e999999': give numbers"),
        ((0.5,), "--sizes has '0.5': give numbers"),
        ((True,), "--sizes has 'True': give numbers"),
        ("0", "--sizes has 0 of a pool of 8: give 1 to 7 rows"),
        ("8", "--sizes has 8 of a pool of 8: give 1 to 7 rows"),
        ("-5%", "--sizes has -5%, 0 rows of a pool of 8: give 1 to 7 rows"),
        ("100%", "--sizes has 100%, 8 rows of a pool of 8: give 1 to 7 rows"),
    ],
)
def test_what_is_no_size_is_named(given, says) -> None:
    with pytest.raises(UsageError) as caught:
        sizes_of(given, 8)
    assert str(caught.value).startswith(says)


def test_the_ends_of_each_ranking_are_left_out_and_random_rows() -> None:
    plans = plan_drops([ranking("a", INFLUENCE), ranking("b", -INFLUENCE)], (2, 3), 2, 8, 5)
    sets = {(one.kind, one.ranking, one.size): one.sets for one in plans}
    assert sets[HARMFUL, "a", 2] == ((1, 4),) == sets[HELPFUL, "b", 2]
    assert sets[HELPFUL, "a", 3] == ((2, 5, 6),) == sets[HARMFUL, "b", 3]
    assert len(sets) == 10
    for small, large in zip(sets[RANDOM, None, 2], sets[RANDOM, None, 3], strict=True):
        assert set(small) < set(large)
        assert len(set(large)) == 3
    # More sets and sizes change none that there are.
    more = {one.size: one.sets for one in plan_drops([], (2, 3, 5), 4, 8, 5)}
    assert more[3][:2] == sets[RANDOM, None, 3]
    assert {one.size: one.sets for one in plan_drops([], (3,), 2, 8, 6)}[3] != sets[RANDOM, None, 3]


def test_each_training_is_done_once() -> None:
    plans = plan_drops([ranking("a", INFLUENCE), ranking("b", -INFLUENCE)], (2,), 1, 8, 5)
    found = distinct_trainings(plans, 2)
    assert found[:2] == [Training(0), Training(1)]
    # What harms by the one helps by the other.
    assert len(found) == 2 * (1 + 2 + 1)
    assert set(distinct_trainings(plans, 3)) > set(found)


def test_noise_is_over_orders_and_of_several_sets_the_wider_of_both() -> None:
    changes = np.array([[0.3, 0.1, 0.2], [0.6, 0.9, 0.6], [0.1, 0.3, 0.1], [0.2, 0.1, 0.4]])
    assert noise_of_sets(changes[:1], LOSS) == noise_of(changes[0], LOSS)
    over_sets = noise_of(np.array([row.sum() / 3 for row in changes]), LOSS)
    over_orders = noise_of(np.array([column.sum() / 4 for column in changes.T]), LOSS)
    widths = [one[1][1] - one[1][0] for one in (over_sets, over_orders)]
    assert noise_of_sets(changes, LOSS) == (over_sets if widths[0] > widths[1] else over_orders)
    assert noise_of_sets(changes.T, LOSS)[1] == noise_of_sets(changes, LOSS)[1], "neither sets nor orders come first"
    assert noise_of_sets(changes[:, :1], LOSS) == (None, None, "one pair")
    assert noise_of_sets(np.array([[0.1, np.nan]]), LOSS) == (None, None, "diverged")


def test_random_sets_are_called_clear_no_more_often_than_said() -> None:
    """Of sets that differ and orders that shift all of them, with no change in the mean: one in ten."""
    random = np.random.default_rng(0)
    called = 0
    for _ in range(1500):
        changes = random.normal(size=(3, 1)) + random.normal(size=(1, 3)) * 0.5 + random.normal(size=(3, 3))
        called += noise_of_sets(changes, LOSS)[2] != "not clear"
    assert called / 1500 < 0.11
