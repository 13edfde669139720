"""Over how many examples runs are spread."""

import numpy as np
import pytest

from gptfl.core import Query
from gptfl.estimators.exposure_gp.breadth import SHARE, Breadth, breadths
from gptfl.estimators.exposure_gp.curricula import Curricula
from gptfl.estimators.exposure_gp.recipe_departure import departure
from tests.estimators.exposure_gp.straight import BATCHES, CENTRE, GRID, RATES, RECIPE, RUNS


def test_the_breadth_is_that_of_as_many_examples_of_one_exposure():
    batches = np.array([[[0, 1], [2, 3]], [[0, 1], [0, 1]], [[0, -1], [1, 2]], [[-1, -1], [3, 3]]])
    rates = np.array([[1.0, 1.0], [1.0, 0.5], [1.0, 1.0], [1.0, 1.0]])
    found = breadths(Curricula(batches, rates), np.array([0, 1, 2]))
    np.testing.assert_allclose(found, [[1, 2, 4], [1, 2, 2], [1, 1, 4 / 1.5], [1, 1, 1]])


@pytest.mark.parametrize("examples", [3, 40])
def test_runs_over_fewer_or_more_examples_are_uncertain_by_a_share_of_what_the_average_run_changed(examples):
    breadth = Breadth.of(RUNS, GRID)
    batches = np.stack([np.random.default_rng(step).permutation(examples)[:3] for step in range(12)])
    query = Query(batches[None], RATES[None], GRID, np.zeros((1, 3)))
    places = RECIPE.clock.place(query, GRID).check()
    away = breadth.apart(RUNS, query, places)
    own = breadths(RUNS.like(batches[None], RATES[None]), GRID)[0]
    recorded = np.log(breadths(RUNS, GRID))
    expected = [
        max(low - one, one - high, 0.0)
        for low, high, one in zip(recorded.min(0), recorded.max(0), np.log(own), strict=True)
    ]
    np.testing.assert_allclose(away[0], [one if one > 0.1 else 0.0 for one in expected])
    assert away[0, -1] > 0.3
    alone = departure(query, places, RECIPE, CENTRE[None], CENTRE[None])
    more = departure(query, places, RECIPE, CENTRE[None], CENTRE[None], away)
    np.testing.assert_allclose(
        more**2 - alone**2, (SHARE * away[:, :, None] * np.abs(CENTRE - CENTRE[0])) ** 2, atol=1e-12
    )


def test_runs_over_as_many_examples_as_recorded_are_no_further():
    query = Query(BATCHES, np.tile(RATES, (3, 1)), GRID, np.zeros((3, 3)))
    assert Breadth.of(RUNS, GRID).apart(RUNS, query, RECIPE.clock.place(query, GRID).check()) is None
