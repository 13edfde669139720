import numpy as np
import pytest

import gptfl
from gptfl.errors import DataError
from gptfl.influence.matrix import influence_matrix
from gptfl.simulation.forms import linear_form_of, summed_form_of


def test_a_cell_is_what_rank_says_of_that_test_example(space):
    gptfl.fit("exposure-gp", workspace=space)
    simulator = gptfl.open_simulator(workspace=space)
    found = influence_matrix(simulator.opened, None)
    for test in (0, 5):
        one = simulator.influence(on=f"test:test-{test}", how="closed-form").rankings[0]
        np.testing.assert_allclose(found.mean[:, test], one.influence, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(1.6448536 * found.spread[:, test], (one.high - one.low) / 2, rtol=1e-6)
    assert sorted(found.rows) == list(range(24))
    assert sorted(found.columns) == list(range(8))


def test_like_rows_stand_together(space, monkeypatch):
    from gptfl.influence import matrix

    one, other = np.array([1.0, 0.0, 0.1]), np.array([0.0, 1.0, -0.1])
    rows, _ = matrix.ordered_by_likeness(np.array([one, other, 1.01 * one, 0.99 * other, one]))
    kinds = "".join("ab"[place in (1, 3)] for place in rows)
    assert kinds in ("aaabb", "bbaaa")
    monkeypatch.setattr(matrix, "MOST_CELLS", 9)
    assert len(matrix.ordered_by_likeness(np.eye(7)[:, :3])[0]) == 3, (
        "of a large pool, the rows of the greatest effects"
    )


def test_where_none_is_told_it_is_what_leaving_out_changes(space):
    gptfl.fit("class-share", workspace=space)
    source = gptfl.open_simulator(workspace=space).opened
    with pytest.raises(DataError, match="is not linear in what a run sees"):
        linear_form_of(source)
    with pytest.raises(DataError, match="tells no influence on single test examples"):
        influence_matrix(source, None)
    summed = summed_form_of(source, seed=42)
    ids = list(source.pool.places)
    simulator = gptfl.open_simulator(workspace=space)
    whole = simulator.simulate(ids, orders=4)
    less = simulator.simulate([one for one in ids if one != ids[3]], orders=4)
    expected = less.values.mean(axis=0) - whole.values.mean(axis=0)
    np.testing.assert_allclose(summed.effects[3], expected, atol=1e-6)
    np.testing.assert_allclose(influence_matrix(source, None, summed).mean, summed.effects[:, -1])
