import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import gptfl
from gptfl.core import Dynamics
from gptfl.core.curriculum import fill_batches, generator, run_seed
from gptfl.errors import DataError, PluginError, UsageError
from gptfl.estimators.class_share import ClassShare
from gptfl.evaluation.specs import EstimatorSpec
from gptfl.influence.targets import influence_target
from gptfl.plugins.guards import make_metric
from gptfl.plugins.interfaces import Plan
from gptfl.plugins.registry import build, get_registry
from gptfl.recording.trainers import recipe_of
from gptfl.simulation.simulator import open_fitted
from gptfl.store.recordings import read_dynamics, write_dynamics
from gptfl.studies import rivals
from gptfl.studies.rivals import known_features, refitted
from gptfl.training.load import load_model
from gptfl.training.trainer import RecordingTrainer

POOL, TEST, SIZE = 12, 6, 5
BRIEF = {"size": SIZE, "search": 0, "random_subsets": 2, "repeats": 2, "rivals": ("class-share",)}


@pytest.fixture(scope="module")
def made(neox: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("select")
    recorded = gptfl.collect(
        str(neox), "errands", workspace=root, runs=8, pool=POOL, test=TEST, subset_size=6, batch_size=3, steps=4, lr=1e-2,
        metrics=("loss", "accuracy"),
    )  # fmt: skip
    gptfl.featurize("tfidf-svd", dynamics=recorded.path)
    gptfl.fit("exposure-gp", dynamics=recorded.path, metric="loss")
    return root


@pytest.fixture
def space(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "space"))


def recording(space: Path) -> tuple[Path, Dynamics]:
    (path,) = space.glob("*.dynamics.h5")
    return path, read_dynamics(path)


@pytest.mark.usefixtures("laid_out")
def test_each_kind_is_plain_trainings_scored_on_what_was_set_apart(space: Path) -> None:
    _, dynamics = recording(space)
    announced: list = []
    study = gptfl.select_study(workspace=space, seed=3, announce=announced.append, **BRIEF)
    assert study is not None
    order = generator(3, 31).permutation(TEST)[:3]
    assert study.scored == tuple(dynamics.test[place].id for place in np.sort(order))
    assert (study.targets, study.steps, study.trained, study.trained_now) == (3, 4, 6, 6)
    assert [kind.name for kind in study.kinds] == ["selected by exposure-gp", "top of class-share", "random"]
    assert [len(kind.subsets) for kind in study.kinds] == [1, 1, 2]
    assert announced[0].runs == 6
    scored = tuple(dynamics.test[place] for place in np.sort(order))
    metrics = tuple(make_metric(get_registry(), name) for name in ("loss", "accuracy"))
    recipe = replace(recipe_of(dynamics), record_every=4)
    trainer = RecordingTrainer(load_model(dynamics.settings["model"]), dynamics.pool, scored, metrics, recipe)
    place = {example.id: place for place, example in enumerate(dynamics.pool)}
    for kind in study.kinds:
        for repeat in range(2):
            subset = kind.subsets[repeat if len(kind.subsets) == 2 else 0]
            assert len(subset) == SIZE
            seed = run_seed(3, repeat)
            batches = fill_batches(np.array([place[one] for one in subset]), 3, 4, seed)
            run = trainer.run(Plan(0, seed, "fit", batches), lambda *_: None)
            for name in ("loss", "accuracy"):
                assert kind.values[name][repeat] == pytest.approx(run.metrics[name][-1].mean(), rel=1e-5)
    stored = json.loads(study.output.read_text())
    assert [one["kind"] for one in stored["kinds"]] == [kind.name for kind in study.kinds]
    assert stored["kinds"][0]["values"]["loss"] == study.kinds[0].values["loss"].tolist()
    by, (low, high) = study.better("loss", study.kinds[0], study.kinds[2])
    assert by == pytest.approx(study.kinds[2].values["loss"].mean() - study.kinds[0].values["loss"].mean())
    assert low <= by <= high
    assert stored["kinds"][0]["better_than_random"]["loss"]["by"] == by
    more, _ = study.better("accuracy", study.kinds[0], study.kinds[2])
    assert more == pytest.approx(study.kinds[0].values["accuracy"].mean() - study.kinds[2].values["accuracy"].mean())
    assert study.figure.read_bytes()[:4] == b"\x89PNG"


def test_what_is_chosen_knows_nothing_of_what_is_scored_on(space: Path) -> None:
    path, dynamics = recording(space)
    once = gptfl.select_study(workspace=space, **BRIEF)
    assert once is not None
    # Any other recorded scores of those test examples make no difference.
    hidden = [place for place, one in enumerate(dynamics.test) if one.id in once.scored]
    runs = []
    for run in dynamics.runs:
        metrics = {name: values.copy() for name, values in run.metrics.items()}
        for values in metrics.values():
            values[:, hidden] = values[:, hidden][::-1] * 0.5
        runs.append(replace(run, metrics=metrics))
    write_dynamics(path, replace(dynamics, runs=tuple(runs)))
    gptfl.fit("exposure-gp", dynamics=path, metric="loss")
    again = gptfl.select_study(workspace=space, **BRIEF)
    assert again is not None
    assert [kind.subsets for kind in again.kinds] == [kind.subsets for kind in once.kinds]
    # Chosen is what the estimator fitted without them holds best for the others.
    source = open_fitted(None, None, space, "exposure-gp", None)
    kept = np.setdiff1d(np.arange(TEST), hidden)
    known = known_features(source, None)
    fresh = refitted(source, EstimatorSpec("exposure-gp", {}), kept, known, lambda *_: None)
    assert len(fresh.recording.dynamics.test) == 3
    weights = np.full((1, 3), 1 / 3)
    rows = {name: one.train for name, one in known.sets.items()}
    influence, _ = fresh.named.estimator.influence_of(np.arange(POOL), rows, weights)
    best = np.argsort(-influence[:, 0], kind="stable")[:SIZE]
    assert set(again.kinds[0].subsets[0]) == {dynamics.pool[place].id for place in best}


def test_an_interrupted_study_goes_on_where_it_stopped(space: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = RecordingTrainer.run
    calls = []

    def interrupted(self, plan, on_step):
        calls.append(plan.index)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return train(self, plan, on_step)

    monkeypatch.setattr(RecordingTrainer, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        gptfl.select_study(workspace=space, **BRIEF)
    monkeypatch.setattr(RecordingTrainer, "run", train)
    (kept,) = space.glob("*.select-study.jsonl")
    assert len(kept.read_text().splitlines()) == 2
    again = gptfl.select_study(workspace=space, **BRIEF)
    assert again is not None
    assert (again.trained, again.trained_now) == (6, 4)
    # Scored on other test examples, the same trainings are others.
    other = gptfl.select_study(workspace=space, score_on=2, **BRIEF)
    assert other is not None
    assert other.trained_now == other.trained


def test_each_metric_adds_to_what_is_kept_of_the_same_trainings(space: Path) -> None:
    path, _ = recording(space)
    gptfl.fit("class-share", dynamics=path, metric="accuracy")
    gptfl.fit("class-share", dynamics=path, metric="loss")
    brief = {**BRIEF, "estimator": "class-share", "rivals": ()}
    accuracy = gptfl.select_study(workspace=space, metric="accuracy", **brief)
    assert accuracy is not None
    loss = gptfl.select_study(workspace=space, metric="loss", **brief)
    assert loss is not None
    assert loss.trained_now == loss.trained
    # Loss is measured together with accuracy, which random subsets have of both.
    np.testing.assert_array_equal(accuracy.kinds[-1].values["accuracy"], loss.kinds[-1].values["accuracy"])
    for metric in ("accuracy", "loss"):
        again = gptfl.select_study(workspace=space, metric=metric, **brief)
        assert again is not None
        assert again.trained_now == 0, metric


def test_a_dry_run_announces_and_trains_nothing(space: Path) -> None:
    plans: list = []
    assert gptfl.select_study(workspace=space, dry_run=True, announce=plans.append, **BRIEF) is None
    (plan,) = plans
    assert (plan.runs, plan.runs_left, plan.subset, plan.steps) == (6, 6, SIZE, 4)
    assert not list(space.glob("*.select-study.*"))


class Offering(ClassShare):
    """An estimator that offers itself as a baseline."""

    tags = replace(ClassShare.tags, baseline_selector=True)


def test_baselines_offer_themselves_where_they_can_be_had(space: Path) -> None:
    found = build([])
    source = open_fitted(None, None, space, None, None)
    source = replace(source, recording=replace(source.recording, registry=found))
    assert rivals.baseline_selectors(source, None, None) == (
        [],
        ("no estimator that is installed offers itself as a baseline to train on beside it (see --rival)",),
    )
    found.claim("acme 1.0", "estimator", "offering", Offering)
    assert rivals.baseline_selectors(source, None, None) == ([EstimatorSpec("offering", {})], ())
    needy = type("Needy", (Offering,), {"name": "needy", "tags": replace(Offering.tags, requires={"gradients"})})
    found.claim("acme 1.0", "estimator", "needy", needy)
    found.claim("acme 1.0", "estimator", "broken", lambda: 1 / 0)
    specs, notes = rivals.baseline_selectors(source, None, None)
    assert specs == [EstimatorSpec("offering", {})]
    assert notes == (f"left out: needy needs gradients, which {source.recording.path.name} doesn't hold",)
    assert rivals.baseline_selectors(source, None, ["mean-run"]) == ([EstimatorSpec("mean-run", {})], ())
    own = replace(source, found=replace(source.found, estimator="offering"))
    assert rivals.baseline_selectors(own, None, None)[0] == []


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"size": 0}, UsageError, "size is 0: give a number from 1 to the size of the pool"),
        ({"random_subsets": 1}, UsageError, "random_subsets is 1: give 2 or more"),
        ({"repeats": 0}, UsageError, "repeats is 0: give 2 or more"),
        ({"score_on": 6}, UsageError, "--score-on is 6, and 6 test examples .*: give 1 to 5"),
        ({"score_on": 0}, UsageError, "score_on is 0"),
        ({"on": "self"}, UsageError, "--on self names no test examples"),
        ({"rivals": ("class-share:a",)}, UsageError, "--rival 'class-share:a': 'a' is not SETTING=VALUE"),
        ({"rivals": ("clas-share",)}, PluginError, "unknown estimator 'clas-share'"),
        ({"how": "derivative"}, DataError, "exposure-gp can't tell --how derivative"),
        ({"model": "pythia-41m"}, DataError, "unknown model 'pythia-41m'"),
        ({"output": "x.csv"}, UsageError, "--output x.csv is not a .json file"),
        ({"data": "folder"}, UsageError, "--data folder is not needed"),
    ],
)
def test_what_cannot_be_studied_is_reported_in_one_line(space: Path, options, error, says) -> None:
    with pytest.raises(error, match=says) as caught:
        gptfl.select_study(workspace=space, **{**BRIEF, **options})
    assert "\n" not in str(caught.value)
    assert not list(space.glob("*.select-study.*"))


def test_a_single_test_example_leaves_nothing_to_score_on(space: Path) -> None:
    _, dynamics = recording(space)
    on = f"test:{dynamics.test[0].id}"
    assert influence_target(on, dynamics).tests is not None
    with pytest.raises(UsageError, match=r"leaves nothing to score on.*name 2 test examples or more"):
        gptfl.select_study(workspace=space, on=on, **BRIEF)
