"""Verdicts on two sides, and how their errors go together."""

import numpy as np

import gptfl
from gptfl.core import silent
from gptfl.influence.closed_form import vectors_of
from gptfl.influence.kept import BOTH, HARMS, TRADE, KeptSide, correlation
from gptfl.influence.targets import influence_target
from gptfl.influence.verdicts import UNCLEAR, Verdicts
from tests.api.sides import POOL, write


def test_the_correlation_is_that_of_the_difference_of_both_sides(tmp_path):
    """From the variance of the difference, where the function takes that of the mean."""
    space = write(tmp_path)
    source = gptfl.open_simulator(workspace=space).opened
    dynamics = source.recording.dynamics
    sides = tuple(
        influence_target(one, dynamics) for one in (f"group:{space / name}" for name in ("target.txt", "retain.txt"))
    )
    rows = np.zeros((3, len(dynamics.test)))
    rows[0, sides[0].tests] = 1 / len(sides[0].tests)
    rows[1, sides[1].tests] = 1 / len(sides[1].tests)
    rows[2] = rows[0] - rows[1]
    with vectors_of(source, None) as vectors:
        _, spread = source.named.estimator.influence_of(source.scope.pool_seen, vectors.rows(0, POOL), rows)
    one, other, apart = spread.T
    truth = (one**2 + other**2 - apart**2) / (2 * one * other)
    # With spreads far above what the average row's worth adds, the correlation is the rows' own.
    found = correlation(source, sides, (np.full(POOL, 1e3), np.full(POOL, 1e3)), None, silent)
    np.testing.assert_allclose(found, truth, atol=1e-4)


def verdicts(signs, decided):
    return Verdicts(0.1, np.array(signs, float), np.zeros(len(signs)), np.array(decided))


def test_the_verdict_on_both_sides_follows_from_each():
    target = verdicts([1, 1, -1, 1, 1], [True, True, True, False, True])
    kept = verdicts([1, -1, 1, 1, 1], [True, True, True, True, False])
    side = KeptSide("others", np.zeros(5), verdicts=kept, known=np.array([True, False, False, False, False]))
    assert [side.joint(place, target) for place in range(5)] == [BOTH, TRADE, HARMS, UNCLEAR, UNCLEAR]
    assert KeptSide("others", np.zeros(5)).joint(0, target) == UNCLEAR
