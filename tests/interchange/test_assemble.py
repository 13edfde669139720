"""Runs put together from the files of the released layout."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from gptfl.core import Curriculum, Example
from gptfl.core.recording_settings import UNKNOWN_RATE
from gptfl.interchange.assemble import MOST_CLASSES, Assembly, listed, only_scored, with_classes, with_rates
from gptfl.interchange.gptdynamics import Duplicates
from gptfl.interchange.import_recording import import_
from gptfl.store.recordings import read_dynamics
from tests.released import lines, trajectory
from tests.synthetic import synthetic


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


def test_only_targets_that_repeat_are_classes() -> None:
    def of(*targets: str, prompt: str = "Is it? ") -> list[Example]:
        return [Example(f"{place}-{target}", prompt, target) for place, target in enumerate(targets)]

    pool, test, note = with_classes(of("no", "yes", "no", "yes"), of("yes"))
    assert [one.label for one in pool] == [0, 1, 0, 1]
    assert (test[0].label, test[0].choices) == (1, ("no", "yes"))
    assert note == "took the 2 different targets for classes: 'no', 'yes'"
    for plain in (
        of("no", "yes", "no"),  # one of them once
        of("no", "no"),  # a single one
        of("no", "yes", "no", "yes", prompt=""),
        of(*(f"t{place % (MOST_CLASSES + 1)}" for place in range(40))),
    ):
        assert with_classes(plain, of("no"))[2] == ""
        assert with_classes(plain, [])[0] == tuple(plain)
    assert with_classes(of("no", "yes", "no", "yes"), of("maybe"))[2] == "", "a test target that no training text has"


def test_names_are_listed_as_text_and_the_rest_counted() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
    assert "\x1b" not in listed(["\x1b[31mred"])
    assert listed(map(repr, ["a"])) == "'a'"


def test_learning_rates_are_given_by_the_length_of_a_run_or_stand_for_unknown_ones() -> None:
    runs = [
        replace(run, curriculum=Curriculum(run.curriculum.batches[:steps], np.zeros(steps)))
        for run, steps in zip(synthetic(2)[0].runs, (3, 5), strict=True)
    ]
    made = Assembly(runs=runs)
    found = with_rates(made, {3: np.full(3, 0.5), 5: np.full(5, 0.25)})
    assert [run.curriculum.learning_rates.tolist() for run in found] == [[0.5] * 3, [0.25] * 5]
    assert {rate for run in with_rates(made, None) for rate in run.curriculum.learning_rates} == {UNKNOWN_RATE}
    assert not any(run.curriculum.learning_rates.any() for run in made.runs), "what was read stays as it was"


def test_test_texts_that_no_run_scores_are_left_out_of_all_scores() -> None:
    dynamics = synthetic(2, test=4)[0]
    made = Assembly(runs=list(dynamics.runs), scored={0, 2, 3})
    kept, places = only_scored(made, dynamics.test)
    assert [one.id for one in kept] == ["test-0", "test-2", "test-3"]
    assert places.tolist() == [0, 2, 3]
    np.testing.assert_array_equal(made.runs[1].metrics["loss"], dynamics.runs[1].metrics["loss"][:, [0, 2, 3]])
    assert made.notes == ["1 test text left out, for having a score in no run: test-1"]
    whole = Assembly(runs=list(dynamics.runs), scored={0, 1, 2, 3})
    assert only_scored(whole, dynamics.test)[0] == dynamics.test
    assert whole.notes == []
