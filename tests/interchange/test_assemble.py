"""Runs put together from the files of the released layout."""

from pathlib import Path

import numpy as np

from gptfl.interchange.gptdynamics import Duplicates
from gptfl.interchange.import_recording import import_
from gptfl.store.recordings import read_dynamics
from tests.released import lines, trajectory


def test_gaps_and_repeats_are_counted_and_stay_open(folder: Path, tmp_path: Path) -> None:
    # Run 1 lacks a test example, step 3, and has a step twice; run 2 lacks a batch; run 3 was scored further.
    lines(
        folder / "run_seed-1" / "all_loss_trajectory.out",
        [trajectory(0, {1: 1, 2: 2, 4: 4}), trajectory(1, {1: 5, 2: 6, 4: 8}), trajectory(0, {2: 2, 4: 9})],
    )
    lines(folder / "run_seed-2" / "train_samples_id.json", [{"step": s, "samples_id": [s]} for s in (1, 2, 4)])
    lines(folder / "run_seed-3" / "all_loss_trajectory.out", [trajectory(z, {1: 1, 5: 2}) for z in range(3)])
    result = import_("gptdynamics", folder, workspace=tmp_path)
    first, second, third = read_dynamics(result.path).runs[:3]
    np.testing.assert_array_equal(first.steps, [1, 2, 4])
    np.testing.assert_array_equal(first.metrics["loss"], [[1, 5, np.nan], [2, 6, np.nan], [9, 8, np.nan]])
    np.testing.assert_array_equal(second.curriculum.batches, [[1], [2], [-1], [4]])
    assert third.curriculum.batches.shape == (5, 2)
    counts = result.metrics["loss"]
    assert counts.duplicates == Duplicates(repeats=2, differing=1)
    assert counts.scores == 6 + 6 + 6 * 12
    # Of steps 1 to 5 for three test examples each: step 5 is beyond all runs but the third.
    assert counts.missing == (12 - 6) + (15 - 6)
    notes = "\n".join(result.notes)
    assert "without a batch at some steps, which are taken as empty: run_seed-2" in notes
    assert "scored beyond the last batch; the steps after it are taken as empty: run_seed-3" in notes


def test_metrics_runs_and_test_examples_without_scores(folder: Path, tmp_path: Path) -> None:
    (folder / "run_seed-4" / "all_loss_trajectory.out").unlink()
    lines(folder / "run_seed-2" / "all_bleu_trajectory.out", [trajectory(0, {2: 150.0})])
    lines(folder / "run_seed-2" / "all_warmth_trajectory.out", [trajectory(0, {2: 150.0})])
    lines(folder / "lost" / "all_loss_trajectory.out", [])
    with (folder / "test_texts.json").open("a") as file:
        file.write('{"id": "never", "input": "x"}\n')
    result = import_("gptdynamics", folder, workspace=tmp_path)
    dynamics = read_dynamics(result.path)
    assert list(dynamics.metrics) == ["loss", "bleu"]
    assert len(dynamics.runs) == 7
    assert len(dynamics.test) == 3
    assert np.isfinite(dynamics.runs[1].metrics["bleu"]).sum() == 1
    assert np.isnan(dynamics.runs[0].metrics["bleu"]).all()
    notes = "\n".join(result.notes)
    for piece in (
        "1 run left out, for having no scores: run_seed-4",
        "1 test text left out, for having a score in no run: never",
        "6 runs without the file of a metric, which stays open there: run_seed-1 (no bleu)",
        "no metric that gptfl knows: all_warmth_trajectory.out",
        "for having no batches: lost",
        "outside the range of bleu, 0 to 100: 1 score",
    ):
        assert piece in notes


def test_classes_are_read_off_targets_that_repeat(folder: Path, tmp_path: Path) -> None:
    result = import_("gptdynamics", folder, workspace=tmp_path)
    dynamics = read_dynamics(result.path)
    assert [example.label for example in dynamics.pool] == [1, 0] * 3
    assert dynamics.test[0].choices == ("no", "yes")
    assert "took the 2 different targets for classes: 'no', 'yes'" in result.notes
    with (folder / "train_texts.json").open("a") as file:
        file.write('{"id": "free", "input": "x perhaps", "target": "perhaps"}\n')
    again = import_("gptdynamics", folder, workspace=tmp_path)
    assert {example.label for example in read_dynamics(again.path).pool} == {None}
