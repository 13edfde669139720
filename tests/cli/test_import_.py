"""``gptfl import`` and ``gptfl export``, and every stage on what was imported."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gptfl.store.recordings import read_dynamics
from tests.cli.conftest import Outcome
from tests.cli.test_errors import refuses
from tests.released import lines, released, sketches

Command = Callable[..., Outcome]


def test_import_then_every_stage_without_a_model(gptfl: Command, tmp_path: Path) -> None:
    folder, space = released(tmp_path / "rte", runs=9, steps=6), ("--workspace", str(tmp_path / "ws"))
    texts = [str(folder / f"{name}_texts.json") for name in ("train", "test")]
    outcome = gptfl("import", "gptdynamics", str(folder), "--train-texts", texts[0], "--test-texts", texts[1], *space)
    assert outcome.code == 0, outcome
    for piece in ("9 runs of 6 steps", "from step 1", "6 training and 3 test", "162 scores of 9 runs, 0 missing"):
        assert piece in outcome.out
    assert "learning rates are not known" in outcome.err
    assert gptfl("featurize", "--encoder", "tfidf-svd", *space).code == 0
    assert gptfl("fit", "--set", "epochs=3", *space).code == 0
    compared = gptfl("compare", "--folds", "3", "--estimator", "class-share", *space)
    assert compared.code == 0, compared
    (tmp_path / "ids.txt").write_text("0\n3\n", encoding="utf-8")
    result = gptfl("simulate", "--subset", str(tmp_path / "ids.txt"), *space)
    assert result.code == 0, result
    assert "at step 6" in result.out
    refuses(gptfl("simulate", "--subset", str(tmp_path / "ids.txt"), "--lr", "1e-5", *space), 3, "--lr 1e-05")
    shown = gptfl("inspect", str(tmp_path / "ws" / "rte.dynamics.h5"))
    assert shown.code == 0
    assert "learning rates               not known: every step counts alike" in shown.out


def test_imported_sketches_are_features_as_they_are(gptfl: Command, tmp_path: Path) -> None:
    folder, space = released(tmp_path / "rte"), ("--workspace", str(tmp_path / "ws"))
    archive = str(sketches(tmp_path / "s.npz"))
    plain = gptfl("import", "gptdynamics", str(folder), *space)
    assert plain.out.splitlines()[-1].startswith("next: gptfl featurize")
    outcome = gptfl("import", "gptdynamics", str(folder), "--lr", "1e-3", "--sketches", archive, *space)
    assert outcome.out.splitlines()[-1] == "next: gptfl fit"
    fitted = gptfl("fit", *space)
    assert fitted.code == 0, fitted
    assert "exposure-gp of the loss" in fitted.out
    assert "on features by gradients" in " ".join(fitted.out.split())
    # Without sketches of the recording's own, featurize embeds the texts, and fit still prefers the gradients.
    assert gptfl("featurize", "--encoder", "tfidf-svd", *space).code == 0
    assert "on features by gradients" in " ".join(gptfl("fit", *space).out.split())
    result = gptfl("featurize", "--encoder", "gradients", *space)
    refuses(
        result, 3, "was imported without gradient sketches", "what gptfl import --sketches takes are features already"
    )


def test_an_imported_recording_is_not_continued(gptfl: Command, tmp_path: Path) -> None:
    space = ("--workspace", str(tmp_path))
    assert gptfl("import", "gptdynamics", str(released(tmp_path / "rte")), *space).code == 0
    outcome = gptfl("collect", "--model", "tiny", "--task", "errands", "--name", "rte", *space)
    refuses(outcome, 3, "rte.dynamics.h5 was imported and can't be continued", "--name")


def break_batch(folder: Path) -> None:
    lines(folder / "run_seed-3" / "train_samples_id.json", [{"step": 1, "samples_id": [0, 77]}])


def break_line(folder: Path) -> None:
    with (folder / "run_seed-2" / "all_loss_trajectory.out").open("a") as file:
        file.write('{"id": 1, "loss_traj\n')


def break_step(folder: Path) -> None:
    lines(folder / "run_seed-1" / "train_samples_id.json", [{"step": "first", "samples_id": [0]}])


def remove_texts(folder: Path) -> None:
    (folder / "test_texts.json").unlink()


def remove_runs(folder: Path) -> None:
    for path in folder.glob("run*/train_samples_id.json"):
        path.unlink()


@pytest.mark.parametrize(
    ("change", "arguments", "code", "pieces"),
    [
        (remove_runs, (), 3, ("rte holds no run", "train_samples_id.json")),
        (remove_texts, (), 3, ("rte holds no test_texts.json", "--test-texts")),
        (break_batch, (), 3, ("run_seed-3", "train_samples_id.json, line 1", '"77"', "--train-texts")),
        (break_line, (), 3, ("run_seed-2", "all_loss_trajectory.out, line 4", "is no JSON")),
        (break_step, (), 3, ("run_seed-1", "line 1", '"step" is "first"')),
        (None, ("--metric", "blue"), 4, ("unknown metric 'blue'", "bleu")),
        (None, ("--metric", "rougeL"), 3, ("all_rougeL_trajectory.out", "--metric rougeL")),
        (None, ("--lr", "-1"), 2, ("--lr is -1",)),
        (None, ("--schedule", "linear"), 2, ("--schedule linear", "--lr")),
        (None, ("--sketches", "SKETCHES"), 3, ("--sketches", "shape (9, 4), not (6, 4)")),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    gptfl: Command,
    tmp_path: Path,
    change: Callable[[Path], None] | None,
    arguments: tuple[str, ...],
    code: int,
    pieces: tuple[str, ...],
) -> None:
    folder = released(tmp_path / "rte")
    given = [str(sketches(tmp_path / "s.npz", pool=9)) if one == "SKETCHES" else one for one in arguments]
    if change is not None:
        change(folder)
    outcome = gptfl("import", "gptdynamics", str(folder), *given, "--workspace", str(tmp_path / "ws"))
    refuses(outcome, code, *pieces)
    assert not list(tmp_path.glob("**/*.h5"))


def test_other_bad_input(gptfl: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refuses(gptfl("import", "gptdynamic", "x"), 2, "'gptdynamic' is no layout")
    refuses(gptfl("import", "gptdynamics", "absent"), 3, "absent does not exist")
    refuses(gptfl("import", "gptdynamics"), 2, "DIR")
    refuses(gptfl("export"), 2, "--to")
    refuses(gptfl("export", "--to", "out"), 3, "no recording in", "gptfl collect")


def test_the_real_recording(gptfl: Command, shared: Path, tmp_path: Path) -> None:
    folder = shared / "dynamics" / "sst2-contrast"
    if not folder.is_dir():
        pytest.skip("no recording beside the repository")
    space = ("--workspace", str(tmp_path))
    sketched = ("--sketches", str(folder / "gradient_sketches.npz"))
    outcome = gptfl("import", "gptdynamics", str(folder), "--lr", "2e-5", *sketched, *space)
    assert outcome.code == 0, outcome
    assert "30 runs of 48 steps" in outcome.out
    assert "92,160 scores of 30 runs, 0 missing, 0 repeated" in outcome.out
    dynamics = read_dynamics(tmp_path / "sst2-contrast.dynamics.h5")
    first = dynamics.runs[0]
    np.testing.assert_array_equal(first.curriculum.batches[0], [164, 175, 87, 177])
    np.testing.assert_allclose(first.curriculum.learning_rates, 2e-5 * (1 - np.arange(48) / 48))
    assert first.metrics["loss"][0, 0] == np.float32(3.682562)
    gradients: Any = dynamics.gradients
    assert gradients.raw.shape == (4, 200, 64)
    outcome = gptfl("compare", "--folds", "3", "--estimator", "class-share", "--json", *space)
    assert outcome.code == 0, outcome
