import json
import shutil
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

import gptfl
from gptfl.errors import DataError, UsageError
from gptfl.plugins.registry import Registry, build, using
from gptfl.report.selection import to_json
from gptfl.store.features import write_features
from gptfl.store.recordings import write_dynamics
from tests import ranking_estimators
from tests.synthetic import synthetic

DYNAMICS, FEATURES = synthetic(runs=12, pool=20, test=6, subset=8, batch_size=4, steps=8, every=2)
TESTS = [example.id for example in DYNAMICS.test]


def use_kin() -> AbstractContextManager[Registry]:
    return using(build([ranking_estimators]))


@pytest.fixture(autouse=True)
def registry():
    with use_kin():
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    write_dynamics(folder / "syn.dynamics.h5", DYNAMICS)
    write_features(folder / "syn.synthetic.features.h5", FEATURES)
    with use_kin():
        gptfl.fit("bayes", workspace=folder)
    return folder


@pytest.fixture
def space(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path, dirs_exist_ok=True))


def test_the_subset_of_greatest_influence_is_what_simulate_takes(space: Path) -> None:
    on = TESTS[:3]
    found = gptfl.select(8, workspace=space, on=on, orders=2, seed=5)
    ranking = gptfl.rank(workspace=space, on=on, how="closed-form").rankings[0]
    assert list(found.ids) == [DYNAMICS.pool[place].id for place in ranking.order[:8]]
    np.testing.assert_array_equal(found.influence, ranking.influence[ranking.order[:8]])
    np.testing.assert_array_equal(found.low, ranking.low[ranking.order[:8]])
    assert found.output == space / "syn.bayes.loss.group.8.ids.txt"
    lines = found.output.read_text().splitlines()
    assert lines[0].startswith("# gptfl select: 8 of 20 examples of syn.dynamics.h5")
    assert tuple(lines[1:]) == found.ids
    simulated = gptfl.simulate(
        workspace=space, subset=sorted(found.ids, key=lambda one: int(one[6:])), orders=2, seed=5
    )
    assert found.predicted == pytest.approx(simulated.final[:3].mean())
    low, high = simulated.intervals[0.9]
    assert found.intervals[0.9] == pytest.approx((low[:3].mean(), high[:3].mean()))
    assert found.reference == pytest.approx(simulated.reference.final[:3].mean())
    assert found.predicted < found.reference
    gptfl.simulate(workspace=space, subset=found.output)
    document = json.loads(to_json(found))
    assert [row["id"] for row in document["examples"]] == list(found.ids)
    assert document["predicted"] == found.predicted
    assert gptfl.select(8, workspace=space, on=on, orders=2, seed=5) is not None  # its own file is overwritten


def test_classes_caution_and_diversity_change_what_is_selected(space: Path) -> None:
    def chosen(**options):
        return gptfl.select(6, workspace=space, on="test:test-1", search=0, **options)

    plain, shared, cautious, apart = (
        chosen(**options) for options in ({}, {"max_share_per_class": 0.5}, {"cautious": 3.0}, {"diversity": 3.0})
    )
    assert sorted(shared.classes.values()) == [3, 3]
    assert len({plain.ids, shared.ids, cautious.ids, apart.ids}) == 4
    ranking = gptfl.rank(workspace=space, on="test:test-1", how="closed-form").rankings[0]
    spread = (ranking.high - ranking.low) / 2 / 1.6448536
    order = np.argsort(-(ranking.influence - 3 * spread), kind="stable")[:6]
    assert list(cautious.ids) == [DYNAMICS.pool[place].id for place in order]


def test_an_estimator_without_closed_form_selects_by_what_it_has(space: Path) -> None:
    gptfl.fit("teller", workspace=space)
    found = gptfl.select(5, workspace=space)
    assert (found.estimator, found.how, found.low, found.intervals) == ("teller", "derivative", None, {})
    assert gptfl.select(5, workspace=space, how="replace", orders=2).how == "replace"
    with pytest.raises(DataError, match=r"--cautious 1: teller doesn't say how sure it is .*such as exposure-gp"):
        gptfl.select(5, workspace=space, cautious=1.0)
    gptfl.fit("mean-run", workspace=space)
    with pytest.raises(DataError, match="--diversity 1 goes by features, and mean-run was fitted without any"):
        gptfl.select(5, workspace=space, diversity=1.0)


@pytest.mark.parametrize(
    ("size", "options", "error", "says"),
    [
        (0, {}, UsageError, "size is 0: give a number from 1 to the size of the pool"),
        (21, {}, UsageError, "size is 21: give a number from 1 to 20"),
        (4, {"on": "self"}, UsageError, "--on self names no test examples to train for: use --on mean"),
        (4, {"on": "test:tst-1"}, DataError, "--on test:tst-1: 'tst-1' is not an id of the test set"),
        (4, {"max_share_per_class": 0.0}, UsageError, "max_share_per_class is 0: give a share above 0"),
        (4, {"max_share_per_class": 0.3}, UsageError, "--max-share-per-class 0.3 leaves 2 of the --size 4 examples"),
        (4, {"diversity": -1.0}, UsageError, "diversity is -1: give 0 or more"),
        (4, {"cautious": float("nan")}, UsageError, "cautious is nan: give 0 or more"),
        (4, {"search": -1}, UsageError, "search is -1: give 0 or more"),
        (4, {"output": "ids.csv"}, UsageError, "--output ids.csv is not a .txt file: end it in .txt"),
        (4, {"orders": 0}, UsageError, "orders is 0"),
    ],
)
def test_what_cannot_be_selected_is_reported_in_one_line(space: Path, size, options, error, says) -> None:
    with pytest.raises(error, match=says) as caught:
        gptfl.select(size, workspace=space, **options)
    assert "\n" not in str(caught.value)
    assert not list(space.glob("*.ids.txt"))


def test_a_file_that_is_not_its_own_is_kept(space: Path) -> None:
    mine = space / "mine.txt"
    mine.write_text("train-1\n")
    with pytest.raises(DataError, match=r"mine.txt is not a .txt file as gptfl writes them, and is not overwritten"):
        gptfl.select(4, workspace=space, output=mine)
    assert mine.read_text() == "train-1\n"


@pytest.mark.parametrize("more", [{}, {"max_share_per_class": 0.5}, {"diversity": 1.0}, {"cautious": 1.0}])
@pytest.mark.parametrize("search", [0, 300])
def test_only_those_named_are_chosen(space: Path, more, search) -> None:
    table = space / "best.csv"
    gptfl.rank(workspace=space, top=12, output=table)
    ranking = gptfl.rank(workspace=space).rankings[0]
    best = [DYNAMICS.pool[place].id for place in ranking.order[:12]]
    found = gptfl.select(4, workspace=space, among=table, search=search, **more)
    assert set(found.ids) <= set(best)
    assert (len(found.ids), found.among) == (4, 12)
    assert json.loads(to_json(found))["among"] == 12
    if not search and not more:
        assert list(found.ids) == best[:4]
    same = gptfl.open_simulator(workspace=space).select(4, among=best, search=search, **more)
    assert same.ids == found.ids


def test_more_than_are_named_cannot_be_chosen(space: Path) -> None:
    ids = [one.id for one in DYNAMICS.pool[:3]]
    with pytest.raises(UsageError, match="size is 4: give a number from 1 to 3, so many --from names"):
        gptfl.select(4, workspace=space, among=ids)
    with pytest.raises(DataError, match="--from, item 1: 'no' is not an id of the pool"):
        gptfl.select(1, workspace=space, among=["no"])
    same = [one.id for one in DYNAMICS.pool if one.label == DYNAMICS.pool[0].label][:4]
    with pytest.raises(UsageError, match=r"--max-share-per-class 0.5 leaves 2 of the --size 4"):
        gptfl.select(4, workspace=space, among=same, max_share_per_class=0.5)
    found = gptfl.select(3, workspace=space, among=ids)
    assert set(found.ids) == set(ids)
