"""Who a selection is held against, and that none of them saw the test examples that score."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gptfl.core import Example, silent
from gptfl.errors import PluginError, UsageError
from gptfl.evaluation.specs import EstimatorSpec
from gptfl.influence.greedy import SelectionSpec
from gptfl.influence.targets import InfluenceTarget
from gptfl.simulation.fit import fit
from gptfl.simulation.simulator import FittedSimulator, open_fitted
from gptfl.store.features import write_features
from gptfl.store.recordings import write_dynamics
from gptfl.studies.rivals import (
    baseline_choices,
    baseline_selectors,
    drawn_of,
    known_features,
    refitted,
    split_tests,
)
from tests.synthetic import synthetic

ALL = InfluenceTarget("all", None)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> FittedSimulator:
    """Fitted with features to eight runs."""
    folder = tmp_path_factory.mktemp("rivals")
    dynamics, features = synthetic(10, test=6)
    write_dynamics(folder / "syn.dynamics.h5", dynamics)
    write_features(folder / "syn.synthetic.features.h5", features)
    fit("exposure-gp", workspace=folder)
    return open_fitted(None, None, folder, None, None)


def test_test_examples_are_divided(source: FittedSimulator) -> None:
    for score_on, count in ((None, 3), (1, 1), (5, 5)):
        found = split_tests(source, ALL, score_on, 7)
        assert len(found.scored) == count
        np.testing.assert_array_equal(np.sort(np.append(found.targets, found.scored)), np.arange(6))
        np.testing.assert_array_equal(found.kept, found.targets)
    some = split_tests(source, InfluenceTarget("two", np.array([1, 4])), None, 7)
    assert {*some.targets, *some.scored} == {1, 4}
    # What wasn't asked about may be learned from.
    assert set(some.kept) == set(range(6)) - set(some.scored)
    drawn = {tuple(split_tests(source, ALL, None, seed).scored) for seed in range(5)}
    assert len(drawn) > 1


@pytest.mark.parametrize("score_on", [0, 6, -1])
def test_a_part_without_a_test_example_is_refused(source: FittedSimulator, score_on: int) -> None:
    with pytest.raises(UsageError, match=rf"--score-on is {score_on}, and 6 test examples .*: give 1 to 5"):
        split_tests(source, ALL, score_on, 0)
    with pytest.raises(UsageError, match=r"--on one leaves nothing to score on.*name 2 test examples or more"):
        split_tests(source, InfluenceTarget("one", np.array([2])), None, 0)


def test_random_subsets_hold_the_classes_evenly() -> None:
    pool = [Example(str(i), "p", " a" if i < 4 else " b", (" a", " b"), int(i >= 4)) for i in range(20)]
    drawn = drawn_of(pool, 6, 5, 1)
    assert len(set(drawn)) == 5
    for one in drawn:
        assert len(set(one)) == 6
        assert sum(place < 4 for place in one) == 3
    assert drawn_of(pool, 6, 3, 1) == drawn[:3]
    assert drawn_of(pool, 6, 0, 1) == []
    plain = [replace(example, choices=(), label=None) for example in pool]
    assert sorted(drawn_of(plain, 20, 1, 1)[0]) == list(range(20))


def test_baselines_are_those_named_once_each(source: FittedSimulator) -> None:
    specs, notes = baseline_selectors(source, None, ["mean-run", "class-share:strength=2", "mean-run"])
    assert [(spec.name, dict(spec.settings)) for spec in specs] == [("mean-run", {}), ("class-share", {"strength": 2})]
    assert notes == ()
    assert baseline_selectors(source, None, []) == ([], ())


def test_who_offers_itself_and_cannot_be_fitted_is_named(source: FittedSimulator) -> None:
    """This recording holds no gradients, which all that offer themselves need."""
    specs, notes = baseline_selectors(source, None, None)
    assert specs == []
    assert notes
    assert all(note.startswith("left out: ") and "needs" in note for note in notes)


def test_a_fit_without_test_examples_is_the_same_whatever_they_scored(source: FittedSimulator, tmp_path: Path) -> None:
    kept = np.array([0, 2, 5])
    features = known_features(source, None)
    assert features is not None
    fresh = refitted(source, EstimatorSpec("exposure-gp", {}), kept, features, silent)
    assert [example.id for example in fresh.scope.test] == ["test-0", "test-2", "test-5"]
    dynamics = source.recording.dynamics
    runs = []
    for run in dynamics.runs:
        values = run.metrics["loss"].copy()
        values[:, [1, 3, 4]] += 100.0
        runs.append(replace(run, metrics={"loss": values}))
    changed = replace(source, recording=replace(source.recording, dynamics=replace(dynamics, runs=tuple(runs))))
    again = refitted(changed, EstimatorSpec("exposure-gp", {}), kept, features, silent)
    for name, values in fresh.named.estimator.state().items():
        np.testing.assert_array_equal(again.named.estimator.state()[name], values)
    assert again.found.key == fresh.found.key != source.found.key
    with pytest.raises(PluginError, match="unknown estimator 'nobody'"):
        refitted(source, EstimatorSpec("nobody", {}), kept, None, silent)


def test_each_chooses_by_its_own_label(source: FittedSimulator) -> None:
    halves = split_tests(source, ALL, None, 0)
    choices, _ = baseline_choices(
        source, halves, SelectionSpec(4), ("class-share:strength=2", "class-share"), None, 1, 0, None, silent
    )
    assert list(choices) == ["selected by exposure-gp", "top of class-share (strength=2)", "top of class-share"]
    assert all(len(set(places)) == 4 and list(places) == sorted(places) for places in choices.values())


def test_without_the_features_it_was_fitted_on_a_file_is_asked_for(source: FittedSimulator, tmp_path: Path) -> None:
    plain = replace(source, found=replace(source.found, features=None))
    assert known_features(plain, None) is None
    copy = shutil.copy(source.path.parent / "syn.synthetic.features.h5", tmp_path / "größe.h5")
    found = known_features(source, copy)
    assert found is not None
    assert found.fingerprint == source.found.features
