import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import gptfl
from gptfl.core.curriculum import fill_batches, run_seed
from gptfl.errors import DataError, UsageError
from gptfl.plugins.guards import make_metric
from gptfl.plugins.interfaces import Plan
from gptfl.plugins.registry import get_registry
from gptfl.recording.trainers import recipe_of
from gptfl.report.relabel import PERFECT_ORDER, RANDOM_ORDER
from gptfl.scores.detection import found_shares
from gptfl.store.recordings import read_dynamics, write_dynamics
from gptfl.studies.retraining import orders_of
from gptfl.tasks.label_noise import corrected, flipped_of
from gptfl.training.load import load_model
from gptfl.training.trainer import RecordingTrainer

POOL = 10


@pytest.fixture(scope="module")
def made(neox: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("flips")
    recorded = gptfl.collect(
        str(neox), "errands", workspace=root, runs=4, pool=POOL, test=4, subset_size=5, batch_size=2, steps=4, lr=1e-2,
        flip_labels=0.4,
    )  # fmt: skip
    gptfl.fit("class-share", dynamics=recorded.path)
    return root


@pytest.fixture
def space(made: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(made, tmp_path / "space"))


def recording(space: Path):
    (path,) = space.glob("*.dynamics.h5")
    return path, read_dynamics(path)


@pytest.mark.usefixtures("laid_out")
def test_every_point_is_a_plain_training_on_the_corrected_pool(space: Path) -> None:
    _, dynamics = recording(space)
    announced = []
    study = gptfl.relabel_study(
        workspace=space,
        shares=(0.4,),
        repeats=2,
        progress=lambda *given: announced.append(given),
        announce=announced.append,
    )
    assert study is not None
    assert (study.shares, study.steps, study.flips) == ((0.0, 0.4, 1.0), POOL * 4 * 2 // 5 // 2, 4)
    assert study.orders == ("class-share", RANDOM_ORDER, PERFECT_ORDER)
    np.testing.assert_array_equal(study.found[:, 0], 0)
    np.testing.assert_array_equal(study.found[:, -1], 1)
    np.testing.assert_array_equal(study.found[2, 1], 1)
    for values in study.values.values():
        assert (values[:, 0] == values[0, 0]).all()
        assert (values[:, -1] == values[0, -1]).all()
        np.testing.assert_array_equal(values[2, 1], values[2, 2])
    # A pool that holds the correct versions only, trained on by itself.
    clean = tuple(corrected(e) if e.fields.get("flipped") else e for e in dynamics.pool)
    metrics = tuple(make_metric(get_registry(), name) for name in ("accuracy", "loss"))
    recipe = replace(recipe_of(dynamics), record_every=study.steps)
    trainer = RecordingTrainer(load_model(dynamics.settings["model"]), clean, dynamics.test, metrics, recipe)
    for repeat in range(2):
        seed = run_seed(42, repeat)
        batches = fill_batches(np.arange(POOL), 2, study.steps, seed)
        run = trainer.run(Plan(0, seed, "fit", batches), lambda *_: None)
        for name in ("accuracy", "loss"):
            assert study.values[name][2, 2, repeat] == pytest.approx(run.metrics[name][-1].mean(), rel=1e-5)
    assert announced[-1][:1] == ("retrain",)
    assert announced[-1][1] == announced[-1][2]
    estimates = [one for one in announced if not isinstance(one, tuple)]
    assert estimates[0].runs == study.trained == study.trained_now
    stored = json.loads(study.output.read_text())
    assert stored["orders"][2]["loss"] == study.values["loss"][2].tolist()
    assert study.figure.read_bytes()[:4] == b"\x89PNG"
    assert study.output.parent == space


def test_an_interrupted_study_goes_on_where_it_stopped(space: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = gptfl.relabel_study(workspace=space, shares=(0.3,), repeats=1)
    assert whole is not None
    (kept,) = space.glob("*.relabel-study.jsonl")
    lines = kept.read_text().splitlines()
    assert len(lines) == whole.trained
    kept.unlink()
    train = RecordingTrainer.run
    calls = []

    def interrupted(self, plan, on_step):
        calls.append(plan.index)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return train(self, plan, on_step)

    monkeypatch.setattr(RecordingTrainer, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        gptfl.relabel_study(workspace=space, shares=(0.3,), repeats=1)
    assert len(kept.read_text().splitlines()) == 2
    again = gptfl.relabel_study(workspace=space, shares=(0.3,), repeats=1)
    assert again is not None
    assert again.trained_now == whole.trained - 2
    assert kept.read_text().splitlines() == lines
    for name in whole.values:
        np.testing.assert_array_equal(again.values[name], whole.values[name])
    more = gptfl.relabel_study(workspace=space, shares=(0.3,), repeats=1)
    assert more is not None
    assert more.trained_now == 0
    # A training that has but one of the metrics is done again, and keeps what else was measured after it.
    first, *rest = (json.loads(line) for line in kept.read_text().splitlines())
    accuracy = first["metrics"].pop("accuracy")
    first["metrics"]["other"] = 7.0
    kept.write_text("".join(json.dumps(line) + "\n" for line in [first, *rest]))
    more = gptfl.relabel_study(workspace=space, shares=(0.3,), repeats=1)
    assert more is not None
    assert more.trained_now == 1
    found = json.loads(kept.read_text().splitlines()[0])["metrics"]
    assert (found["accuracy"], found["other"]) == (accuracy, 7.0)


def test_a_dry_run_announces_and_trains_nothing(space: Path) -> None:
    plans: list = []
    assert gptfl.relabel_study(workspace=space, repeats=2, steps=3, dry_run=True, announce=plans.append) is None
    (plan,) = plans
    assert (plan.steps, plan.runs_left, plan.recorded) == (3, plan.runs, 2)
    assert not list(space.glob("*.relabel-study.*"))


def test_suspects_alike_are_checked_in_random_order() -> None:
    shuffle = np.random.default_rng(0).permutation(6)
    flipped = np.arange(6) < 2
    orders = orders_of({"all": np.zeros(6), "own": np.arange(6.0), "two": flipped.astype(float)}, shuffle)
    assert np.array_equal(orders["all"], shuffle)
    assert orders["own"].tolist() == [5, 4, 3, 2, 1, 0]
    assert set(orders["two"][:2].tolist()) == {0, 1}
    assert found_shares(flipped.astype(float), flipped)[2] == 1


def test_a_flipped_example_is_put_right(space: Path) -> None:
    _, dynamics = recording(space)
    for example in dynamics.pool:
        if example.fields.get("flipped"):
            right = corrected(example)
            assert (right.label, right.prompt) == (example.fields["clean_label"], example.prompt)
            assert right.target == right.choices[right.label] != example.target
            assert right.digest != example.digest
            assert "flipped" not in right.fields
    broken = replace(dynamics.pool[0], fields={"flipped": True, "clean_label": 17})
    with pytest.raises(DataError, match="its clean_label 17 is none of its 6 choices"):
        corrected(broken)
    assert flipped_of([broken, replace(broken, fields={"flipped": "yes"})]).tolist() == [True, False]


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"shares": (0.1, 1.5)}, UsageError, "--shares has 1.5: give shares of the pool from 0 to 1"),
        ({"shares": (float("nan"),)}, UsageError, "--shares has nan"),
        ({"repeats": 0}, UsageError, "repeats is 0: give 1 or more"),
        ({"epochs": 1, "steps": 3}, UsageError, "--epochs and --steps both say how long"),
        ({"steps": 0}, UsageError, "steps is 0: give a positive number"),
        ({"how": "foo"}, UsageError, "^how 'foo' is unknown"),
        ({"output": "x.csv"}, UsageError, "--output x.csv is not a .json file"),
        ({"data": "folder"}, UsageError, "--data folder is not needed"),
        ({"model": "pythia-41m"}, DataError, "unknown model 'pythia-41m'"),
    ],
)
def test_what_cannot_be_studied_is_reported_in_one_line(space: Path, options, error, says) -> None:
    with pytest.raises(error, match=says):
        gptfl.relabel_study(workspace=space, **options)
    assert not list(space.glob("*.relabel-study.*"))


def test_a_recording_without_flips_has_nothing_to_correct(space: Path) -> None:
    path, dynamics = recording(space)
    clean = replace(dynamics, pool=tuple(replace(e, fields={}) for e in dynamics.pool))
    write_dynamics(path, clean)
    gptfl.fit("class-share", dynamics=path)
    with pytest.raises(DataError, match="has no flipped labels to correct: record with gptfl collect --flip-labels"):
        gptfl.relabel_study(workspace=space)


def test_a_damaged_file_of_trainings_is_reported(space: Path) -> None:
    path, _ = recording(space)
    kept = path.with_name(path.name.replace(".dynamics.h5", ".relabel-study.jsonl"))
    kept.write_text('{"key": "a", "metrics": {"loss": "1.0"}}\n')
    with pytest.raises(DataError, match="line 1: no result of a training: delete"):
        gptfl.relabel_study(workspace=space, repeats=1)
    kept.write_text("[]\n")
    with pytest.raises(DataError, match="line 1 is"):
        gptfl.relabel_study(workspace=space, repeats=1)


def test_a_recording_without_texts_loads_them_anew_with_its_flips(space: Path, neox: Path, tmp_path: Path) -> None:
    bare = gptfl.collect(
        str(neox), "errands", workspace=tmp_path / "bare", runs=4, pool=POOL, test=4, subset_size=5, batch_size=2,
        steps=4, lr=1e-2, flip_labels=0.4, texts=False,
    )  # fmt: skip
    gptfl.fit("class-share", dynamics=bare.path)
    once, again = (gptfl.relabel_study(workspace=root, shares=(), repeats=1) for root in (space, tmp_path / "bare"))
    assert once is not None
    assert again is not None
    for name in once.values:
        np.testing.assert_array_equal(once.values[name][:, [0, -1]], again.values[name][:, [0, -1]])
    measured = gptfl.rank(workspace=tmp_path / "bare", model=str(neox))
    assert "own first loss" in measured.detections
