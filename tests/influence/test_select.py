"""What a selection comes to: predicted for the very subset, beside the average run."""

from pathlib import Path

import numpy as np
import pytest

import gptfl
from gptfl.core import silent
from gptfl.influence.closed_form import WIDTH
from gptfl.influence.greedy import SelectionSpec
from gptfl.influence.methods import compute_influence
from gptfl.influence.select import OPTIMISTIC, select_from
from gptfl.influence.selection import Selection
from gptfl.influence.targets import influence_target
from gptfl.simulation.simulator import FittedSimulator, open_fitted
from tests.ranked import DYNAMICS, IDS, TESTS


@pytest.fixture
def bayes(ranked_space: Path) -> FittedSimulator:
    gptfl.fit("bayes", workspace=ranked_space)
    return open_fitted(None, None, ranked_space, "bayes", None)


def selected(source: FittedSimulator, on: object = "mean", orders: int = 2, **spec: object) -> Selection:
    made = SelectionSpec(**{"size": 5, **spec})  # type: ignore[arg-type]
    subject = influence_target(on, DYNAMICS)  # type: ignore[arg-type]
    return select_from(source, subject, made, how=None, features=None, orders=orders, seed=5, progress=silent)


def test_numbers_are_those_of_the_influence_and_of_simulating_the_subset(bayes: FittedSimulator) -> None:
    on = TESTS[:3]
    found = selected(bayes, on)
    influence = compute_influence(bayes, influence_target(on, DYNAMICS), None, None, None, 2, 5, silent)
    places = [IDS.index(one) for one in found.ids]
    np.testing.assert_array_equal(found.influence, influence.influence[places])
    assert influence.spread is not None
    assert found.low is not None
    np.testing.assert_allclose(found.influence - found.low, WIDTH * influence.spread[places])
    simulated = gptfl.Simulator(bayes.path).simulate(subset=sorted(found.ids, key=IDS.index), orders=2, seed=5)
    assert found.predicted == pytest.approx(simulated.final[:3].mean())
    assert found.reference == pytest.approx(simulated.reference.final[:3].mean())
    low, high = simulated.intervals[0.9]
    assert found.intervals[0.9] == pytest.approx((low[:3].mean(), high[:3].mean()))
    assert (found.orders, found.step, found.pool) == (2, 8, len(IDS))


def test_that_the_choice_is_optimistic_and_how_far_to_trust_it_is_always_said(bayes: FittedSimulator) -> None:
    found = selected(bayes)
    assert OPTIMISTIC in found.notes
    assert found.notes[-1].startswith("trust in bayes: ")
    assert found.criteria == {"size": 5, "max_share": None, "diversity": 0.0, "cautious": 0.0, "search": 0}
    assert found.among is None
    assert selected(bayes, size=2, among=np.array([0, 4, 9])).among == 3
    assert len(found.class_names) == 5


def test_the_same_seed_selects_the_same_and_a_search_finds_nothing_worse(bayes: FittedSimulator) -> None:
    assert selected(bayes).ids == selected(bayes).ids
    searched = selected(bayes, search=400)
    assert searched.predicted <= selected(bayes).predicted + 1e-9
    assert len(set(searched.ids)) == 5
