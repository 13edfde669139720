"""What is chosen, and by which criteria."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import gptfl
from gptfl.core import silent
from gptfl.errors import DataError, UsageError
from gptfl.influence.greedy import SelectionSpec
from gptfl.influence.selection import Selection, chosen_of, spec_of, target_of
from gptfl.influence.targets import influence_target
from gptfl.options.base import make
from gptfl.options.influence import SelectOptions
from gptfl.simulation.simulator import FittedSimulator, open_fitted
from tests.ranked import DYNAMICS, IDS, POOL
from tests.synthetic import LOSS


def source_of(space: Path, estimator: str) -> FittedSimulator:
    gptfl.fit(estimator, workspace=space)
    return open_fitted(None, None, space, estimator, None)


def chosen(source: FittedSimulator, **spec: object) -> tuple[np.ndarray, list[int]]:
    made = SelectionSpec(**{"size": 4, **spec})  # type: ignore[arg-type]
    subject = influence_target("mean", DYNAMICS)
    found, places = chosen_of(source, subject, made, None, None, 2, 5, silent)
    return found.influence, places


def test_without_a_search_the_greatest_are_chosen_less_what_caution_takes_off(ranked_space: Path) -> None:
    source = source_of(ranked_space, "bayes")
    influence, places = chosen(source)
    assert places == np.argsort(-influence, kind="stable")[:4].tolist()
    found, _ = chosen_of(source, influence_target("mean", DYNAMICS), SelectionSpec(4), None, None, 2, 5, silent)
    assert found.spread is not None
    _, careful = chosen(source, cautious=2.0)
    assert careful == np.argsort(-(influence - 2.0 * found.spread), kind="stable")[:4].tolist()
    _, few = chosen(source, size=2, among=np.array([3, 7, 9]))
    assert few == [place for place in np.argsort(-influence, kind="stable") if place in (3, 7, 9)][:2]


def test_no_class_has_more_than_its_share(ranked_space: Path) -> None:
    _, places = chosen(source_of(ranked_space, "bayes"), size=6, max_share=0.5)
    labels = [DYNAMICS.pool[place].label for place in places]
    assert sorted(labels) == [0, 0, 0, 1, 1, 1]


def test_what_the_estimator_does_not_tell_is_not_gone_by(ranked_space: Path) -> None:
    bare = source_of(ranked_space, "mean-run")
    with pytest.raises(DataError, match=r"--diversity 0\.5 goes by features, and mean-run was fitted without any"):
        chosen(bare, diversity=0.5)
    with pytest.raises(DataError, match=r"--cautious 1: mean-run doesn't say how sure it is .*\(--how replace\)"):
        chosen(bare, cautious=1.0)


def test_ids_to_choose_among_are_places_of_the_pool(ranked_space: Path) -> None:
    source = source_of(ranked_space, "mean-run")
    spec = spec_of(make(SelectOptions, size=2, among=[IDS[5], IDS[1]], cautious=0.5), source)
    assert spec.among is not None
    assert (spec.among.tolist(), spec.size, spec.cautious) == ([1, 5], 2, 0.5)
    assert spec_of(make(SelectOptions, size=2), source).among is None
    with pytest.raises(DataError, match=r"--from.*'nobody' is not an id of the pool"):
        spec_of(make(SelectOptions, size=1, among=["nobody"]), source)


def test_a_target_is_of_test_examples_and_the_size_fits_the_pool(ranked_space: Path) -> None:
    source = source_of(ranked_space, "mean-run")
    assert target_of("mean", source, SelectionSpec(POOL)).name == "mean"
    with pytest.raises(UsageError, match="--on self names no test examples to train for"):
        target_of("self", source, SelectionSpec(2))
    with pytest.raises(UsageError, match=f"size is {POOL + 1}: give a number from 1 to {POOL}"):
        target_of("mean", source, SelectionSpec(POOL + 1))
    with pytest.raises(UsageError, match="size is 3: give a number from 1 to 2, so many --from names"):
        target_of("mean", source, SelectionSpec(3, among=np.array([1, 2])))


def test_a_selection_counts_its_classes_most_first() -> None:
    found = Selection(
        "r", "bayes", LOSS, "mean", "the mean", "drop", POOL, DYNAMICS.pool[:3], np.zeros(3), None, None, 8, 1.0, 2.0, {}, 2,
        Path("x"), class_names=("no", "yes", "yes"),
    )  # fmt: skip
    assert found.ids == tuple(IDS[:3])
    assert list(found.classes.items()) == [("yes", 2), ("no", 1)]
    assert replace(found, class_names=()).classes == {}
