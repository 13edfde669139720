"""Recording: what a call keeps, what it repeats and what it refuses."""

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gptfl import collect
from gptfl.core import Dynamics
from gptfl.errors import DataError, GptflError, PluginError, ResourceError, UsageError
from gptfl.recording.cost import CostEstimate
from gptfl.recording.result import CollectResult
from gptfl.store.recordings import read_dynamics

SMALL: dict[str, Any] = {"runs": 3, "pool": 12, "test": 5, "subset_size": 6, "batch_size": 3, "steps": 4, "lr": 1e-3}


def record(model: Path, workspace: Path, **changed: Any) -> CollectResult:
    return collect(str(model), "errands", **{"workspace": workspace, **SMALL, **changed})


def same_recording(first: Dynamics, second: Dynamics) -> None:
    assert first.fingerprint == second.fingerprint
    assert [run.index for run in first.runs] == [run.index for run in second.runs]


def test_a_recording_holds_what_was_asked_for(neox: Path, tmp_path: Path) -> None:
    result = record(neox, tmp_path, metrics=("loss", "accuracy"), record_every=3)
    dynamics = read_dynamics(result.path)
    assert result.path == tmp_path / "errands-small-neox.dynamics.h5"
    assert (len(dynamics.pool), len(dynamics.test), len(dynamics.runs)) == (12, 5, 3)
    assert set(dynamics.metrics) == {"loss", "accuracy"}
    for run in dynamics.runs:
        assert run.curriculum.batches.shape == (4, 3)
        np.testing.assert_array_equal(np.bincount(run.curriculum.batches.ravel(), minlength=12).max(), 2)
        assert len(np.unique(run.curriculum.batches)) == 6
        np.testing.assert_allclose(run.curriculum.learning_rates, 1e-3 * np.array([1, 0.75, 0.5, 0.25]))
        np.testing.assert_array_equal(run.steps, [0, 3, 4])
        assert run.metrics["loss"].shape == (3, 5)
        assert set(np.unique(run.metrics["accuracy"])) <= {0.0, 1.0}
    first, second = dynamics.runs[0], dynamics.runs[1]
    np.testing.assert_array_equal(first.metrics["loss"][0], second.metrics["loss"][0])
    assert abs(first.metrics["loss"][-1] - second.metrics["loss"][-1]).max() > 0


def test_a_refused_recording_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(GptflError, match="model"):
        record(tmp_path / "model", tmp_path / "new" / "space")
    assert sorted(tmp_path.rglob("*")) == before


def test_the_same_call_gives_the_same_numbers_and_more_runs_keep_the_first(neox: Path, tmp_path: Path) -> None:
    record(neox, tmp_path / "a", runs=2)
    grown = record(neox, tmp_path / "a", runs=4)
    assert grown.recorded_now == 2
    at_once = record(neox, tmp_path / "b", runs=4)
    same_recording(read_dynamics(grown.path), read_dynamics(at_once.path))
    again = record(neox, tmp_path / "b", runs=4)
    assert again.recorded_now == 0
    assert "recorded already" in again.notes[0]


def test_another_seed_gives_other_runs(neox: Path, tmp_path: Path) -> None:
    first = read_dynamics(record(neox, tmp_path / "a", runs=1).path)
    other = read_dynamics(record(neox, tmp_path / "b", runs=1, seed=7).path)
    assert not np.array_equal(first.runs[0].curriculum.batches, other.runs[0].curriculum.batches)


def test_without_texts_only_hashes_are_kept(neox: Path, tmp_path: Path) -> None:
    kept = read_dynamics(record(neox, tmp_path / "a", runs=1).path)
    hashed = read_dynamics(record(neox, tmp_path / "b", runs=1, texts=False).path)
    assert hashed.examples == kept.examples
    assert all(not e.prompt and not e.target and not e.fields for e in (*hashed.pool, *hashed.test))
    words = {word for e in kept.pool for word in e.prompt.split() if len(word) > 5}
    content = (tmp_path / "b" / "errands-small-neox.dynamics.h5").read_bytes()
    assert words
    assert not any(word.encode() in content for word in words)


def test_a_dry_run_estimates_and_records_nothing(neox: Path, tmp_path: Path) -> None:
    estimates: list[CostEstimate] = []
    result = record(neox, tmp_path / "w", dry_run=True, announce=estimates.append)
    assert not (tmp_path / "w").exists()
    assert result.recorded_now == 0
    (plan,) = estimates
    assert (plan.runs, plan.runs_left, plan.steps, plan.recorded) == (3, 3, 4, 5)
    assert plan.seconds == pytest.approx(3 * (4 * plan.seconds_per_step + 5 * plan.seconds_per_evaluation))
    assert plan.backward_tokens < plan.forward_tokens
    assert plan.trained_parameters == plan.parameters
    # The estimate timed real updates: the recording that follows must not notice.
    recorded = record(neox, tmp_path / "w")
    assert recorded.path.stat().st_size < 4 * plan.file_bytes + 100_000
    other = record(neox, tmp_path / "v")
    same_recording(read_dynamics(recorded.path), read_dynamics(other.path))


@pytest.fixture(scope="module")
def one_run(neox: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(neox, tmp_path_factory.mktemp("one"), runs=1).path


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"lr": 2e-3}, DataError, r"was recorded with --lr 0\.001, not --lr 0\.002"),
        ({"steps": 5}, DataError, "was recorded with --steps 4, not --steps 5"),
        ({"metrics": ("accuracy",)}, DataError, r"was recorded with --metric loss, not --metric accuracy:"),
        ({"texts": False}, DataError, "was recorded with --texts, not --no-texts"),
    ],
)
def test_other_settings_under_the_same_name_are_refused(
    neox: Path, one_run: Path, tmp_path: Path, changed: dict[str, Any], error: type[GptflError], message: str
) -> None:
    path = Path(shutil.copy2(one_run, tmp_path))
    before = path.read_bytes()
    with pytest.raises(error, match=message):
        record(neox, tmp_path, runs=2, **changed)
    assert path.read_bytes() == before
    assert record(neox, tmp_path, runs=1, name="beside", **changed).path.exists()


def test_a_message_names_options_as_they_are_typed(neox: Path, tmp_path: Path) -> None:
    record(neox, tmp_path, runs=1, texts=False, metrics=("loss", "accuracy"))
    with pytest.raises(DataError, match="was recorded with --metric loss --metric accuracy, not --metric loss: "):
        record(neox, tmp_path, runs=1, texts=False)
    with pytest.raises(DataError, match="was recorded with --no-texts, not --texts"):
        record(neox, tmp_path, runs=1, metrics=("loss", "accuracy"))
    with pytest.raises(DataError, match="was recorded with no --train-layers, not --train-layers 1"):
        record(neox, tmp_path, runs=1, texts=False, metrics=("loss", "accuracy"), train_layers=1)


def test_a_metric_named_twice_is_recorded_once(neox: Path, tmp_path: Path) -> None:
    path = record(neox, tmp_path, runs=1, metrics=("loss", "loss")).path
    assert read_dynamics(path).settings["metrics"] == ["loss"]
    assert record(neox, tmp_path, runs=1).recorded_now == 0


def test_other_weights_under_the_same_name_are_refused(neox: Path, tmp_path: Path) -> None:
    from tests.models import save_small

    record(neox, tmp_path, runs=1)
    (tmp_path / "other").mkdir()
    other = save_small(tmp_path / "other" / neox.name, "llama")
    with pytest.raises(DataError, match=r"--model|other weights"):
        record(other, tmp_path, runs=2)


def test_the_weights_say_which_model_it_is(neox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.models import save_small

    space = tmp_path / "space"
    first = record(neox, space, runs=1, name="own")
    moved = Path(shutil.copytree(neox, tmp_path / "models" / "moved"))
    monkeypatch.chdir(tmp_path)
    for spelling, runs, new in (("models/moved", 2, 1), ("./models/moved/", 2, 0), (str(moved), 3, 1)):
        assert record(Path(spelling), space, runs=runs, name="own").recorded_now == new, spelling
    same_recording(read_dynamics(first.path), read_dynamics(record(neox, tmp_path / "apart", runs=3).path))
    other = save_small(tmp_path / "models" / "other", "gpt-neox", width=16)
    for runs in (3, 4):
        with pytest.raises(DataError, match=rf"recorded from --model {neox}, and --model {other} has other weights"):
            record(other, space, runs=runs, name="own")
    with pytest.raises(DataError, match="has other weights"):
        record(other, space, runs=4, name="own", dry_run=True)


def test_weights_that_were_written_after_the_recording_are_looked_at(neox: Path, tmp_path: Path) -> None:
    from tests.models import save_small

    own = Path(shutil.copytree(neox, tmp_path / "own"))
    weights = own / "model.safetensors"
    path = record(own, tmp_path / "space", runs=1).path
    later = path.stat().st_mtime + 10
    os.utime(weights, (later, later))
    assert record(own, tmp_path / "space", runs=1).recorded_now == 0
    shutil.copy(save_small(tmp_path / "other", "gpt-neox", width=16) / "model.safetensors", weights)
    os.utime(weights, (later, later))
    with pytest.raises(DataError, match="the weights don't fit"):
        record(own, tmp_path / "space", runs=1)
    shutil.copy(tmp_path / "other" / "config.json", own)
    with pytest.raises(DataError, match="other weights"):
        record(own, tmp_path / "space", runs=1)


def test_checkpoints_are_kept_when_the_model_has_moved(neox: Path, tmp_path: Path) -> None:
    record(neox, tmp_path, runs=1, name="own", checkpoints=2)
    moved = Path(shutil.copytree(neox, tmp_path / "moved"))
    again = record(moved, tmp_path, runs=1, name="own", checkpoints=2)
    assert (again.recorded_now, again.notes[0]) == (0, "the run is recorded already")


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"subset_size": 13}, UsageError, "--subset-size 13 is larger than --pool 12"),
        ({"runs": 0}, UsageError, "runs is 0"),
        ({"epochs": float("nan"), "steps": None}, UsageError, "epochs is nan"),
        ({"epochs": 3.0}, UsageError, "--epochs and --steps both say how long to train: give one of them"),
        ({"steps": 10**12}, UsageError, r"--runs 3 of 1000000000000 steps.* GiB.*: lower --runs, --steps"),
        ({"epochs": 1e300, "steps": None}, UsageError, r"lower --runs, --steps \(or --epochs\)"),
        ({"runs": 10**12}, UsageError, "--runs 1000000000000 of 4 steps"),
        ({"test": 10**12}, UsageError, "--test 1000000000000 examples"),
        ({"batch_size": 10**12}, UsageError, "--batch-size 1000000000000"),
        ({"seed": -1}, UsageError, "seed is -1"),
        ({"seed": 2**63}, UsageError, "seed is 9223372036854775808"),
        ({"name": "a/b"}, UsageError, "--name 'a/b' can't begin the names of files: .*such as 'a-b'"),
        ({"name": "../../x"}, UsageError, "--name '../../x'"),
        ({"name": ""}, UsageError, "--name ''"),
        ({"name": "x" * 300}, UsageError, "--name 'x+'"),
        ({"lr": -1.0}, UsageError, "^lr is"),
        ({"schedule": "cosin"}, UsageError, "schedule 'cosin' is unknown: use linear, cosine, constant, polynomial or"),
        ({"precision": "int8"}, UsageError, "^precision 'int8'"),
        ({"device": "tpu9"}, DataError, "--device 'tpu9' is not a device"),
        ({"metrics": ("los",)}, PluginError, "unknown metric 'los': did you mean 'loss'"),
        ({"executor": "cluster"}, PluginError, "unknown executor 'cluster'"),
    ],
)
def test_settings_that_make_no_sense(
    neox: Path, tmp_path: Path, changed: dict[str, Any], error: type[GptflError], message: str
) -> None:
    with pytest.raises(error, match=message):
        record(neox, tmp_path, **changed)
    assert list(tmp_path.iterdir()) == []


def test_paths_that_the_system_refuses_are_one_line(neox: Path, tmp_path: Path) -> None:
    for dry_run in (True, False):
        with pytest.raises(ResourceError, match="File name too long"):
            record(neox, tmp_path / ("x" * 300), dry_run=dry_run)
    with pytest.raises(ResourceError, match=r"--data .*x can't be read: File name too long"):
        collect(str(neox), "jsonl", data=tmp_path / ("x" * 300), workspace=tmp_path, **SMALL)


def test_unknown_model_and_task(tmp_path: Path, neox: Path) -> None:
    with pytest.raises(DataError, match="unknown model 'pythia-411m': did you mean 'pythia-410m'"):
        collect("pythia-411m", "errands", workspace=tmp_path)
    with pytest.raises(PluginError, match="unknown task 'errand': did you mean 'errands'"):
        collect(str(neox), "errand", workspace=tmp_path)


def test_a_hub_model_without_network_says_what_to_pass_instead(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"pythia-70m-deduped is not in the cache.*pass a local folder"):
        collect("pythia-70m", "errands", workspace=tmp_path, **SMALL)


def test_accuracy_needs_choices(neox: Path, tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text('{"prompt": "who sees", "target": " it"}\n' * 1, encoding="utf-8")
    with pytest.raises(DataError, match=r"accuracy: test example '.*' has no choices"):
        collect(str(neox), "jsonl", data=tmp_path, pool=1, test=1, workspace=tmp_path / "w", metrics=("accuracy",))


def test_an_executor_may_send_the_maker_of_trainers_elsewhere(neox: Path) -> None:
    from gptfl.metrics import Loss
    from gptfl.plugins.interfaces import Plan
    from gptfl.recording.trainers import TrainerMaker
    from gptfl.tasks.errands import Errands
    from gptfl.training.trainer import TrainerSettings

    data = Errands().load(6, 3, 0)
    maker = TrainerMaker(str(neox), "cpu", data, (Loss(),), TrainerSettings(1e-3))
    plan = Plan(0, 1, "fit", np.array([[0, 1], [2, 3]]))
    here = maker().run(plan, lambda done, total: None)
    there = pickle.loads(pickle.dumps(maker))().run(plan, lambda done, total: None)
    np.testing.assert_array_equal(here.metrics["loss"], there.metrics["loss"])


def test_the_result_tells_how_far_the_metrics_moved_and_warns_if_they_did_not(neox: Path, tmp_path: Path) -> None:
    moving = record(neox, tmp_path / "a", lr=1e-2)
    losses = [run.metrics["loss"] for run in read_dynamics(moving.path).runs]
    first, last = moving.moved["loss"]
    assert first == pytest.approx(np.mean([loss[0] for loss in losses]))
    assert last == pytest.approx(np.mean([loss[-1] for loss in losses]))
    assert moving.notes == ()
    still = record(neox, tmp_path / "b", lr=1e-7)
    assert "the loss hardly moved" in still.notes[0]
    fewer = record(neox, tmp_path / "a", lr=1e-2, runs=2)
    assert (fewer.runs, fewer.recorded_now) == (3, 0)
