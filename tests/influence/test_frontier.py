"""The frontier of two sides: what is left out, against a plain loop, and what is held against what."""

import numpy as np

from gptfl.influence.frontier import target_rows, undominated
from gptfl.influence.targets import InfluenceTarget


def test_what_another_pair_beats_on_both_sides_is_left_out():
    random = np.random.default_rng(1)
    values = [(float(a), float(b)) for a, b in random.integers(0, 6, size=(30, 2))]

    def beaten(one, other):
        return other[0] >= one[0] and other[1] >= one[1] and other != one

    truth = {one for one in values if not any(beaten(one, other) for other in values)}
    found = [values[place] for place in undominated(values)]
    assert set(found) == truth
    assert found == sorted(found)
    assert len(found) == len(set(found))


class Source:
    """A simulator as far as ``target_rows`` knows it."""

    class scope:
        test = (None,) * 4


def test_targets_are_means_over_their_test_examples():
    rows = target_rows(Source, [InfluenceTarget("a", np.array([1])), InfluenceTarget("b", np.array([0, 2, 3]))])
    np.testing.assert_allclose(rows, [[0, 1, 0, 0], [1 / 3, 0, 1 / 3, 1 / 3]])
