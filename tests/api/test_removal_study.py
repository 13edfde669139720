"""Rows are left out and retrained without, beside what was predicted."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import gptfl
from gptfl.core import Dynamics
from gptfl.core.curriculum import run_seed
from gptfl.errors import DataError, PluginError, UsageError
from gptfl.evaluation.paired import laid_out, noise_of
from gptfl.plugins.guards import make_metric
from gptfl.plugins.interfaces import Plan
from gptfl.plugins.registry import get_registry
from gptfl.recording.trainers import recipe_of
from gptfl.simulation.forms import difference_intervals
from gptfl.simulation.schedule import recorded_schedule
from gptfl.simulation.simulator import open_fitted
from gptfl.store.recordings import read_dynamics, write_dynamics
from gptfl.studies.results import HARMFUL, HELPFUL, RANDOM
from gptfl.studies.retraining import Retrainer
from gptfl.training.load import load_model
from gptfl.training.trainer import RecordingTrainer

POOL, TEST = 12, 6
BRIEF = {"sizes": (2, 4), "orders": 2, "random_sets": 2, "estimators": ("exposure-gp",)}
TRAINED = 2 * (1 + 2 * (2 + 2))


@pytest.fixture(scope="module")
def made(neox: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("removal")
    recorded = gptfl.collect(
        str(neox), "errands", workspace=root, runs=8, pool=POOL, test=TEST, subset_size=6, batch_size=3, steps=4, lr=1e-2,
        metrics=("loss", "accuracy"),
    )  # fmt: skip
    gptfl.featurize("tfidf-svd", dynamics=recorded.path)
    gptfl.fit("class-share", dynamics=recorded.path, metric="loss")
    gptfl.fit("exposure-gp", dynamics=recorded.path, metric="accuracy")
    gptfl.fit("exposure-gp", dynamics=recorded.path, metric="loss")
    return root


@pytest.fixture
def space(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "space"))


def recording(space: Path) -> tuple[Path, Dynamics]:
    (path,) = space.glob("*.dynamics.h5")
    return path, read_dynamics(path)


def retrained(dynamics: Dynamics, tests: list[int], left_out: tuple[str, ...], order: int, seed: int) -> float:
    """The mean loss that a plain training without these rows ends with."""
    metric = make_metric(get_registry(), "loss")
    scored = tuple(dynamics.test[place] for place in tests)
    recipe = replace(recipe_of(dynamics), record_every=4)
    trainer = RecordingTrainer(load_model(dynamics.settings["model"]), dynamics.pool, scored, (metric,), recipe)
    schedule = recorded_schedule(dynamics, dynamics.metrics["loss"])
    rest = np.array([place for place, one in enumerate(dynamics.pool) if one.id not in left_out])
    own = run_seed(seed, order)
    batches = laid_out(schedule.fill, np.arange(POOL), rest, own)
    assert set(batches.ravel()) <= set(rest)
    return float(trainer.run(Plan(0, own, "fit", batches), lambda *_: None).metrics["loss"][-1].mean())


def test_every_change_is_that_of_plain_trainings_in_the_same_order(space: Path) -> None:
    _, dynamics = recording(space)
    tests = [1, 4]
    on = [dynamics.test[place].id for place in tests]
    announced: list = []
    study = gptfl.removal_study(workspace=space, on=on, seed=3, announce=announced.append, **BRIEF)
    assert study is not None
    assert (announced[0].runs, announced[0].subset, study.trained, study.trained_now) == (
        TRAINED,
        POOL,
        TRAINED,
        TRAINED,
    )
    assert (study.rankings, study.sizes, study.tests, study.steps) == (("exposure-gp",), (2, 4), 2, 4)
    whole = [retrained(dynamics, tests, (), order, 3) for order in range(2)]
    assert study.whole == pytest.approx(whole, rel=1e-5)
    for kind, ranking in ((HARMFUL, "exposure-gp"), (RANDOM, None)):
        one = study.curve(kind, ranking)[1]
        for ids, values, changes in zip(one.sets, one.values, one.changes, strict=True):
            assert len(ids) == 4
            for order in range(2):
                value = retrained(dynamics, tests, ids, order, 3)
                assert values[order] == pytest.approx(value, rel=1e-5)
                assert changes[order] == pytest.approx(value - whole[order], abs=1e-5)
        assert one.change == pytest.approx(one.changes.mean())
    harmful, helpful = (study.curve(kind, "exposure-gp")[0] for kind in (HARMFUL, HELPFUL))
    assert (harmful.standard_error, harmful.interval, harmful.verdict) == noise_of(harmful.changes[0], study.metric)
    # The ends of the ranking by the same simulator.
    order = gptfl.rank(workspace=space, on=on, seed=3, estimators=("exposure-gp",)).rankings[0].order
    assert set(helpful.sets[0]) == {dynamics.pool[place].id for place in order[:2]}
    assert set(harmful.sets[0]) == {dynamics.pool[place].id for place in order[-2:]}


def test_what_is_predicted_is_what_the_simulator_says_of_the_very_batches(space: Path) -> None:
    _, dynamics = recording(space)
    study = gptfl.removal_study(workspace=space, **{**BRIEF, "random_sets": 1})
    source = open_fitted(None, None, space, "exposure-gp", "loss")
    schedule = recorded_schedule(dynamics, source.metric)
    places = {example.id: place for place, example in enumerate(dynamics.pool)}
    everyone = np.arange(POOL)
    for one in study.drops:
        rest = np.setdiff1d(everyone, [places[id] for id in one.sets[0]])
        ends = []
        for members in (rest, everyone):
            batches = np.stack([laid_out(schedule.fill, everyone, members, run_seed(42, order)) for order in range(2)])
            ends.append(source.predict(schedule.query(batches, source.first(0))).values[:, -1].astype(float).mean())
        told = one.predicted["exposure-gp"]
        assert told.change == pytest.approx(ends[0] - ends[1], abs=1e-6)
        expected = difference_intervals(source, schedule, rest, everyone, told.change)[0.9]
        assert told.interval == pytest.approx(expected, abs=1e-6)


def test_what_is_written_is_what_is_returned(space: Path) -> None:
    study = gptfl.removal_study(workspace=space, **BRIEF)
    stored = json.loads(study.output.read_text())
    assert study.output.name.endswith(".removal-study.json")
    assert [(one["rows"], one["kind"]) for one in stored["dropped"]] == [(one.size, one.kind) for one in study.drops]
    for told, one in zip(stored["dropped"], study.drops, strict=True):
        assert told["values"] == one.values.tolist()
        assert [tuple(ids) for ids in told["sets"]] == list(one.sets)
        assert told["predicted"]["exposure-gp"]["change"] == one.predicted["exposure-gp"].change
    assert stored["whole_pool"] == study.whole.tolist()
    assert study.figure.read_bytes()[:4] == b"\x89PNG"


def test_the_same_call_goes_on_and_more_only_adds_what_is_missing(space: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, calls = RecordingTrainer.run, []

    def interrupted(self, plan, on_step):
        calls.append(plan.index)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return train(self, plan, on_step)

    monkeypatch.setattr(RecordingTrainer, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        gptfl.removal_study(workspace=space, **BRIEF)
    monkeypatch.setattr(RecordingTrainer, "run", train)
    (kept,) = space.glob("*.removal-study.jsonl")
    assert len(kept.read_text().splitlines()) == 3
    first = gptfl.removal_study(workspace=space, **BRIEF)
    assert (first.trained, first.trained_now) == (TRAINED, TRAINED - 3)
    for more, new in (({"sizes": "2,3,4"}, 8), ({"orders": 3}, 9), ({"random_sets": 3}, 4)):
        found = gptfl.removal_study(workspace=space, **{**BRIEF, **more})
        assert found.trained_now == new, more
        for one in first.drops:
            (same,) = (a for a in found.drops if (a.kind, a.ranking, a.size) == (one.kind, one.ranking, one.size))
            np.testing.assert_array_equal(same.values[: len(one.values), : one.values.shape[1]], one.values)
    # Another metric of the same trainings is measured anew, and loses nothing of the first.
    other = gptfl.removal_study(workspace=space, metric="accuracy", **BRIEF)
    assert other.trained_now == TRAINED
    assert gptfl.removal_study(workspace=space, metric="loss", **BRIEF).trained_now == 0


def test_trainings_kept_under_a_key_of_their_metrics_are_read(space: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The older layout, in which the metrics were part of each training's key."""
    monkeypatch.setattr(Retrainer, "key", lambda self, one: self._key(one, ("metrics", ["loss"])))
    older = gptfl.removal_study(workspace=space, metric="loss", **BRIEF)
    monkeypatch.undo()
    assert older.trained_now == TRAINED
    again = gptfl.removal_study(workspace=space, metric="loss", **BRIEF)
    assert again.trained_now == 0
    np.testing.assert_array_equal(again.whole, older.whole)
    assert gptfl.removal_study(workspace=space, metric="accuracy", **BRIEF).trained_now == TRAINED
    assert gptfl.removal_study(workspace=space, metric="loss", **BRIEF).trained_now == 0


def test_several_rankings_are_compared_on_the_same_random_sets(space: Path) -> None:
    both = {**BRIEF, "estimators": ("exposure-gp", "class-share"), "sizes": (4,), "orders": 1}
    study = gptfl.removal_study(workspace=space, metric="loss", **both)
    assert study.rankings == ("exposure-gp", "class-share")
    assert [(one.kind, one.ranking) for one in study.drops] == [
        (HARMFUL, "exposure-gp"), (HELPFUL, "exposure-gp"), (HARMFUL, "class-share"), (HELPFUL, "class-share"),
        (RANDOM, None),
    ]  # fmt: skip
    assert study.drops[-1].predicted.keys() == {"exposure-gp", "class-share"}
    assert study.drops[2].predicted["class-share"].interval is None
    assert study.drops[0].verdict == "one pair"


def test_a_dry_run_announces_and_trains_nothing(space: Path) -> None:
    plans: list = []
    assert gptfl.removal_study(workspace=space, dry_run=True, announce=plans.append, **BRIEF) is None
    (plan,) = plans
    assert (plan.runs, plan.runs_left, plan.subset, plan.steps) == (TRAINED, TRAINED, POOL, 4)
    assert not list(space.glob("*.removal-study.*"))


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"sizes": "12"}, UsageError, "--sizes has 12 of a pool of 12: give 1 to 11 rows"),
        ({"sizes": "1%"}, UsageError, "--sizes has 1%, 0 rows of a pool of 12"),
        ({"sizes": "a"}, UsageError, "--sizes has 'a': give numbers of rows"),
        ({"orders": 0}, UsageError, "orders is 0: give 1 or more"),
        ({"random_sets": 0}, UsageError, "random_sets is 0: give 1 or more"),
        ({"on": "self"}, UsageError, "--on self names no test examples to score on"),
        ({"on": "test:x"}, DataError, "--on test:x"),
        ({"how": "derivative"}, DataError, "exposure-gp can't tell --how derivative"),
        ({"how": "foo"}, UsageError, "^how 'foo' is unknown"),
        ({"model": "pythia-41m"}, DataError, "unknown model 'pythia-41m'"),
        ({"output": "x.csv"}, UsageError, "--output x.csv is not a .json file"),
        ({"data": "folder"}, UsageError, "--data folder is not needed"),
        ({"executor": "locla"}, PluginError, "unknown executor 'locla'"),
    ],
)
def test_what_cannot_be_studied_is_reported_in_one_line(space: Path, options, error, says) -> None:
    with pytest.raises(error, match=says) as caught:
        gptfl.removal_study(workspace=space, **{**BRIEF, **options})
    assert "\n" not in str(caught.value)
    assert not list(space.glob("*.removal-study.*"))


def test_a_recording_that_others_made_is_refused(space: Path) -> None:
    path, dynamics = recording(space)
    write_dynamics(path, replace(dynamics, settings={**dynamics.settings, "task": "imported", "layout": "gptdynamics"}))
    gptfl.fit("class-share", dynamics=path, metric="loss")
    with pytest.raises(DataError, match="was imported: gptfl knows no model and no recipe"):
        gptfl.removal_study(workspace=space, sizes=(2,))


def test_a_recording_without_texts_says_where_they_are_missing(neox: Path, tmp_path: Path) -> None:
    bare = gptfl.collect(
        str(neox), "errands", workspace=tmp_path, runs=4, pool=POOL, test=4, subset_size=5, batch_size=2, steps=4, lr=1e-2,
        texts=False,
    )  # fmt: skip
    gptfl.fit("class-share", dynamics=bare.path)
    study = gptfl.removal_study(workspace=tmp_path, sizes=(3,), orders=1, random_sets=1)
    assert study.trained_now == 4
    assert np.isfinite(study.whole).all()
