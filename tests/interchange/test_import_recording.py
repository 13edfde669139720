"""Importing the released layout: what is kept, what is counted, what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gptfl.core import role_of
from gptfl.core.curriculum import constant, linear_decay
from gptfl.core.schedules import cosine
from gptfl.errors import DataError, GptflError, PluginError, UsageError
from gptfl.interchange.import_recording import import_
from gptfl.simulation.schedule import Overrides, adjusted, recorded_schedule
from gptfl.store.features import check_features, read_features
from gptfl.store.recordings import append_run, read_dynamics, write_dynamics
from tests.released import lines, sketches, trajectory
from tests.synthetic import synthetic


def test_every_score_and_batch_is_where_its_file_says(folder: Path, tmp_path: Path) -> None:
    result = import_("gptdynamics", folder, workspace=tmp_path / "ws")
    dynamics = read_dynamics(result.path)
    assert result.path == tmp_path / "ws" / "rte.dynamics.h5"
    assert [example.id for example in dynamics.pool] == [str(i) for i in range(6)]
    assert dynamics.test[1].prompt == "Is test 1 so? "
    assert dynamics.test[1].target == "no"
    for index, run in enumerate(dynamics.runs):
        assert (run.index, run.seed, run.role) == (index, index + 1, role_of(index))
        np.testing.assert_array_equal(run.steps, [1, 2, 3, 4])
        expected = 100 * run.seed + 10 * np.arange(1, 5)[:, None] + np.arange(3)
        np.testing.assert_array_equal(run.metrics["loss"], expected)
        assert run.curriculum.batches.shape == (4, 2)
    assert (result.runs, result.steps, result.first_step, result.pool, result.test) == (8, (4, 4), 1, 6, 3)
    assert result.metrics["loss"].scores == 8 * 4 * 3
    assert result.metrics["loss"].missing == 0
    assert dynamics.settings["run_names"] == [f"run_seed-{i}" for i in range(1, 9)]
    assert "learning_rate" not in dynamics.settings


def test_a_recorded_step_0_is_kept(folder: Path, tmp_path: Path) -> None:
    for run in folder.glob("run*"):
        lines(run / "all_loss_trajectory.out", [trajectory(z, {0: 1, 4: 2}) for z in range(3)])
    result = import_("gptdynamics", folder, workspace=tmp_path)
    assert result.first_step == 0
    np.testing.assert_array_equal(read_dynamics(result.path).runs[0].steps, [0, 4])


@pytest.mark.parametrize(
    ("schedule", "rates"), [(None, linear_decay), ("linear", linear_decay), ("constant", constant)]
)
def test_learning_rates_are_those_of_the_schedule(folder: Path, tmp_path: Path, schedule: Any, rates: Any) -> None:
    result = import_("gptdynamics", folder, lr=2e-5, schedule=schedule, workspace=tmp_path)
    dynamics = read_dynamics(result.path)
    np.testing.assert_allclose(dynamics.runs[3].curriculum.learning_rates, rates(2e-5, 4))
    assert dynamics.settings["learning_rate"] == 2e-5
    assert dynamics.settings["schedule"] == (schedule or "linear")


def test_a_warm_up_is_kept_and_needs_a_rate(folder: Path, tmp_path: Path) -> None:
    dynamics = read_dynamics(
        import_("gptdynamics", folder, lr=2e-5, schedule="cosine", warmup=2, workspace=tmp_path).path
    )
    np.testing.assert_array_equal(dynamics.runs[3].curriculum.learning_rates, cosine(2e-5, 4, 2))
    assert dynamics.settings.warmup == 2
    stretched = adjusted(recorded_schedule(dynamics, dynamics.metrics["loss"]), dynamics, 3, Overrides(steps=8))
    np.testing.assert_array_equal(stretched.learning_rates, cosine(2e-5, 8, 2))
    with pytest.raises(UsageError, match="--warmup 2 alone tells no learning rates: give --lr, too"):
        import_("gptdynamics", folder, warmup=2, workspace=tmp_path)


def test_without_learning_rates_every_step_counts_alike_and_no_other_rate_can_be_asked(
    folder: Path, tmp_path: Path
) -> None:
    result = import_("gptdynamics", folder, workspace=tmp_path)
    dynamics = read_dynamics(result.path)
    np.testing.assert_array_equal(dynamics.runs[0].curriculum.learning_rates, np.ones(4))
    assert any("learning rates are not known" in note for note in result.notes)
    recipe = recorded_schedule(dynamics, dynamics.metrics["loss"])
    np.testing.assert_array_equal(recipe.grid, [1, 2, 3, 4])
    with pytest.raises(DataError, match="--lr 1e-05: the learning rates of the recording are not known"):
        adjusted(recipe, dynamics, 3, Overrides(learning_rate=1e-5))
    adjusted(recipe, dynamics, 3, Overrides(steps=8))


def test_sketches_become_features_and_products(folder: Path, tmp_path: Path) -> None:
    with (folder / "test_texts.json").open("a") as file:
        file.write('{"id": "never", "input": "x"}\n')
    archive = sketches(tmp_path / "s.npz", test=4)
    result = import_("gptdynamics", folder, lr=1.0, sketches=archive, workspace=tmp_path)
    assert result.features == tmp_path / "rte.gradients.features.h5"
    features = read_features(result.features)
    dynamics = read_dynamics(result.path)
    check_features(features, dynamics, result.features)
    assert set(features.sets) == {"raw-0", "raw-4", "preconditioned-4"}
    assert {one.kind for one in features.sets.values()} == {"gradient"}
    with np.load(archive) as saved:
        scaled = {
            name: saved[name].astype(np.float32) * saved[f"{name}_scale"] for name in ("tr4", "trp4", "te4", "tr0")
        }
    # The test text that no run scores is left out of the sketches, too.
    np.testing.assert_allclose(features.sets["preconditioned-4"].train, scaled["trp4"], rtol=1e-6)
    np.testing.assert_allclose(features.sets["preconditioned-4"].test, scaled["te4"][:3], rtol=1e-6)
    found = dynamics.gradients
    assert found is not None
    np.testing.assert_array_equal(found.steps, [0, 4])
    np.testing.assert_allclose(found.learning_rates, linear_decay(1.0, 4))
    np.testing.assert_allclose(found.raw[1], scaled["tr4"] @ scaled["te4"][:3].T, rtol=1e-5)
    np.testing.assert_allclose(found.preconditioned[1], scaled["trp4"] @ scaled["te4"][:3].T, rtol=1e-5)
    assert np.isnan(found.preconditioned[0]).all()
    np.testing.assert_allclose(found.self_raw[0], (scaled["tr0"] ** 2).sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(found.self_preconditioned[1], (scaled["trp4"] * scaled["tr4"]).sum(axis=1), rtol=1e-5)
    assert any("approximate" in note for note in result.notes)


def test_importing_again_replaces_an_import_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    import_("gptdynamics", folder, workspace=tmp_path, name="x")
    result = import_("gptdynamics", folder, workspace=tmp_path, name="x", lr=1e-3)
    assert read_dynamics(result.path).settings["learning_rate"] == 1e-3
    write_dynamics(tmp_path / "own.dynamics.h5", synthetic(3)[0])
    before = (tmp_path / "own.dynamics.h5").read_bytes()
    with pytest.raises(DataError, match="was not imported, and is not overwritten"):
        import_("gptdynamics", folder, workspace=tmp_path, name="own")
    assert (tmp_path / "own.dynamics.h5").read_bytes() == before
    append_run(tmp_path / "own.dynamics.h5", synthetic(4)[0].runs[3])
    (tmp_path / "own.dynamics.h5").unlink()
    with pytest.raises(DataError, match="runs holds runs of another recording"):
        import_("gptdynamics", folder, workspace=tmp_path, name="own")


def test_progress_counts_the_runs(folder: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int, str]] = []
    import_("gptdynamics", folder, workspace=tmp_path, progress=lambda *args: seen.append((*args, "")[:4]))
    assert seen[0] == ("import", 0, 8, "run_seed-1")
    assert seen[-1] == ("import", 8, 8, "")


@pytest.mark.parametrize(
    ("options", "error", "piece"),
    [
        ({"layout": "hdf5"}, UsageError, "'hdf5' is no layout"),
        ({"lr": 0.0}, UsageError, "lr is 0.0"),
        ({"lr": float("nan")}, UsageError, "lr is nan"),
        ({"schedule": "cosin", "lr": 1.0}, UsageError, "schedule 'cosin' is unknown"),
        ({"schedule": "linear"}, UsageError, "give --lr, too"),
        ({"name": "a/b"}, UsageError, "--name 'a/b'"),
        ({"metrics": ("blue",)}, PluginError, "unknown metric 'blue'"),
        ({"metrics": ("bleu",)}, DataError, "has all_bleu_trajectory.out: there are loss"),
        ({"train_texts": "absent.json"}, DataError, "absent.json does not exist"),
        ({"sketches": "absent.npz"}, DataError, "--sketches absent.npz can't be read"),
    ],
)
def test_options_that_make_no_sense_leave_nothing(
    folder: Path, tmp_path: Path, options: dict[str, Any], error: type[GptflError], piece: str
) -> None:
    with pytest.raises(error, match=piece):
        import_(**{"layout": "gptdynamics", "folder": folder, "workspace": tmp_path / "ws", **options})
    assert not (tmp_path / "ws").exists()


@pytest.mark.parametrize("name", ["train_texts.json", "test_texts.json"])
def test_a_folder_without_texts(folder: Path, tmp_path: Path, name: str) -> None:
    (folder / name).unlink()
    flag = f"--{name.split('_')[0]}-texts"
    with pytest.raises(DataError, match=f"holds no {name}: name the file of texts with {flag}"):
        import_("gptdynamics", folder, workspace=tmp_path)


def test_runs_without_any_score(folder: Path, tmp_path: Path) -> None:
    for path in folder.glob("*/all_loss_trajectory.out"):
        lines(path, [])
    with pytest.raises(DataError, match=r"no run in .* has a score"):
        import_("gptdynamics", folder, workspace=tmp_path)
    for path in folder.glob("*/all_loss_trajectory.out"):
        path.rename(path.with_name("all_mood_trajectory.out"))
    with pytest.raises(DataError, match="has scores of a metric that gptfl knows"):
        import_("gptdynamics", folder, workspace=tmp_path)
