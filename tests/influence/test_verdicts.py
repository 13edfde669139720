"""What is known of rows at a false discovery rate, against the definition by a plain loop and by drawing."""

from itertools import pairwise
from statistics import NormalDist

import numpy as np
import pytest

from gptfl.errors import UsageError
from gptfl.influence.verdicts import (
    HALF,
    HARMFUL,
    HELPFUL,
    NEARLY_ALL,
    UNCLEAR,
    Shrinking,
    check_verdict,
    decide,
    false_sign_rates,
    runs_to_settle,
    verdicts_on,
)

RANDOM = np.random.default_rng(5)
NORMAL = NormalDist()


def test_false_sign_rates_are_tails_of_the_normal_distribution() -> None:
    mean, spread = np.array([0.0, 1.0, -2.0, 3.0, 0.0]), np.array([1.0, 1.0, 0.5, 0.0, 0.0])
    assert false_sign_rates(mean, spread) == pytest.approx([0.5, NORMAL.cdf(-1), NORMAL.cdf(-4), 0.0, 0.5])


@pytest.mark.parametrize("fdr", [0.01, 0.1, 0.3, 0.49])
def test_the_largest_set_is_decided_whose_mean_rate_is_low_enough(fdr: float) -> None:
    for _ in range(50):
        rates = RANDOM.uniform(0, 0.5, size=12) ** 2
        decided = decide(rates, fdr)
        best = 0
        for count in range(1, 13):
            if np.sort(rates)[:count].mean() <= fdr:
                best = count
        assert decided.sum() == best
        assert set(np.flatnonzero(decided)) == set(np.argsort(rates)[:best])


def test_rows_of_one_rate_are_decided_together() -> None:
    rates = np.array([0.0, 0.3, 0.3, 0.3])
    assert decide(rates, 0.16).tolist() == [True, False, False, False]
    assert decide(rates, 0.225).all()
    assert not decide(np.full(3, 0.5), 0.1).any()


def test_verdicts_name_the_sign() -> None:
    found = verdicts_on(np.array([3.0, -3.0, 0.1, -0.1]), np.ones(4), 0.1)
    assert [found.of(place) for place in range(4)] == [HELPFUL, HARMFUL, UNCLEAR, UNCLEAR]
    assert [found.count(one) for one in (HELPFUL, HARMFUL, UNCLEAR)] == [1, 1, 2]
    assert found.more_runs is None


def test_the_realised_false_sign_rate_is_the_stated_one_where_the_posterior_is_right() -> None:
    wrong = decided = 0
    for _ in range(200):
        truth = RANDOM.normal(size=80)
        data = truth + RANDOM.normal(size=80)  # posterior: mean data / 2, variance 1 / 2
        found = verdicts_on(data / 2, np.full(80, np.sqrt(0.5)), 0.1)
        decided += int(found.decided.sum())
        wrong += int((found.decided & (np.sign(truth) != found.sign)).sum())
    assert decided > 4000
    assert wrong / decided == pytest.approx(0.1, abs=0.01)


def test_how_many_more_runs_settle_the_rest_is_what_drawing_them_gives() -> None:
    """Rows of prior variance 1, each observed once a run with noise of variance 9; then as many runs more as are named."""
    rows, runs, noise = 4000, 6, 9.0
    truth = RANDOM.normal(size=rows)
    total = truth * runs + RANDOM.normal(size=rows) * np.sqrt(noise * runs)
    spread = np.full(rows, 1 / np.sqrt(1 + runs / noise))
    mean = total / noise * spread**2
    open_ = ~decide(false_sign_rates(mean, spread), 0.1)
    shrinking = Shrinking(runs, spread, np.ones(rows), np.zeros(rows), np.zeros(rows))
    more = runs_to_settle(mean, shrinking, open_, 0.1)
    for share in (HALF, NEARLY_ALL):
        later = more[share]
        assert later is not None
        then = total + truth * later + RANDOM.normal(size=rows) * np.sqrt(noise * later)
        width = 1 / np.sqrt(1 + (runs + later) / noise)
        settled = false_sign_rates(then / noise * width**2, np.full(rows, width)) <= 0.1
        assert settled[open_].mean() == pytest.approx(share, abs=0.03)
    assert more[HALF] < more[NEARLY_ALL]


def test_spreads_shrink_by_the_precision_of_a_run_and_the_common_one_by_its_root() -> None:
    shrinking = Shrinking(4, np.array([0.5, 0.5]), np.array([1.0, np.inf]), np.array([0.3, 0.0]), np.array([0.1, 0.2]))
    assert shrinking.variance(1.0) == pytest.approx([0.25, 0.25])
    own = 0.25 - 0.09 - 0.01
    expected = [1 / (1 + 3 * (1 / own - 1)) + 0.03 + 0.01, 0.21 / 3 + 0.04]
    assert shrinking.variance(3.0) == pytest.approx(expected)
    falling = [shrinking.variance(factor).max() for factor in (1, 2, 5, 50)]
    assert all(one > other for one, other in pairwise(falling))


def test_what_no_number_of_runs_settles_is_said() -> None:
    spread = np.full(3, 1.0)
    never = Shrinking(4, spread, spread, np.zeros(3), np.zeros(3))  # the runs told nothing
    assert runs_to_settle(np.zeros(3), never, np.ones(3, dtype=bool), 0.1) == {HALF: None, NEARLY_ALL: None}
    nothing = runs_to_settle(np.zeros(3), never, np.zeros(3, dtype=bool), 0.1)
    assert nothing == {HALF: 0, NEARLY_ALL: 0}


def test_another_verdict_is_refused() -> None:
    check_verdict("harmful")
    with pytest.raises(UsageError, match="'bad' is unknown: use helpful, harmful or both"):
        check_verdict("bad")
