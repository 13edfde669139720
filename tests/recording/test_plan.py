"""The designs of ``collect``: what they default to, what they refuse, and that a recording of one holds together."""

import json
import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gptfl import collect
from gptfl.api.compare import compare
from gptfl.core import FIT, REPEAT, TEST, RecordingSettings
from gptfl.errors import DataError, GptflError, UsageError
from gptfl.options.recording import CollectOptions, DataOptions, DesignOptions, ExecutionOptions
from gptfl.plugins.guards import make_metric
from gptfl.plugins.registry import build
from gptfl.recording.cost import CostEstimate
from gptfl.recording.plan import FEW_RUNS, PAPER, plan_recording, reads_text
from gptfl.simulation.unseen import hold_out_examples
from gptfl.store.recordings import read_dynamics


def test_what_a_recording_of_the_usual_design_is_reported_by_has_not_changed() -> None:
    def identity(**more: Any) -> str:
        return RecordingSettings.of({"seed": 1, "pool": 12, **more}).identity("examples")

    assert identity(design="uniform", reserve_pool=0, leave_out_size=None) == identity()
    assert identity(design="contrast") != identity()


SMALL: dict[str, Any] = {"pool": 24, "test": 4, "subset_size": 6, "batch_size": 3, "steps": 4, "record_every": 4}


def record(model: Path, workspace: Path, **changed: Any):
    return collect(str(model), "errands", **{"workspace": workspace, "lr": 1e-3, "runs": 3, **SMALL, **changed})


def test_a_contrast_recording_with_a_reserve_and_repeats(neox: Path, tmp_path: Path) -> None:
    estimates: list[CostEstimate] = []
    options: dict[str, Any] = {"design": "contrast", "reserve_pool": 6}
    record(neox, tmp_path, **options)
    path = record(neox, tmp_path, runs=9, repeats=4, announce=estimates.append, **options).path
    dynamics = read_dynamics(path)
    assert [run.role for run in dynamics.runs] == [TEST if run in (2, 4, 6) else FIT for run in range(9)] + [REPEAT] * 4
    assert dynamics.settings["design"] == "contrast"
    reserved = {place for place, example in enumerate(dynamics.pool) if example.fields.get("reserved")}
    assert len(reserved) == 6
    for run in dynamics.runs[:9]:
        assert bool(set(run.curriculum.batches.ravel()) & reserved) == (run.role == TEST)
    np.testing.assert_array_equal(dynamics.runs[-1].metrics["loss"], dynamics.runs[0].metrics["loss"])
    assert (dynamics.runs[9].metrics["loss"][-1] != dynamics.runs[0].metrics["loss"][-1]).any()
    assert estimates[0].identifies is not None
    assert (estimates[0].identifies.runs, estimates[0].identifies.examples) == (6, 18)

    held_out = hold_out_examples(dynamics, "train", None, 42)
    assert held_out is not None
    assert set(held_out.pool) == reserved
    unseen = compare(dynamics=path, unseen="train", folds=3, estimators=["class-share"], figure=False)
    assert (unseen.held_out.names, unseen.folds, unseen.fit_runs) == (("run-0002", "run-0004", "run-0006"), None, 6)
    assert any("--folds 3 changes nothing" in note for note in unseen.notes)
    assert not any("intervals between recorded scores" in note for note in unseen.notes)
    whole = compare(dynamics=path, folds=3, estimators=["mean-run"], figure=False)
    assert whole.runs == 9
    assert whole.ceiling is not None
    assert (whole.ceiling.runs, whole.ceiling.subsets) == (6, 3)
    assert any(note.startswith("device noise: none, a curriculum carried out again (once)") for note in whole.notes)


def test_a_recording_goes_on_in_its_own_design_only(neox: Path, tmp_path: Path) -> None:
    record(neox, tmp_path, runs=1)
    with pytest.raises(DataError, match="was recorded with --design uniform, not --design contrast"):
        record(neox, tmp_path, runs=2, design="contrast")
    with pytest.raises(DataError, match="was recorded with --reserve-pool 0, not --reserve-pool 4"):
        record(neox, tmp_path, runs=2, reserve_pool=4)
    assert record(neox, tmp_path, runs=1, repeats=1).recorded_now == 1


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"design": "other"}, UsageError, "design 'other' is unknown"),
        ({"repeats": 4}, UsageError, "--repeats 4 is more than --runs 3"),
        (
            {"runs": 10**12, "repeats": 10**12},
            UsageError,
            "--runs 1000000000000 and --repeats 1000000000000 of 4 steps",
        ),
    ],
)
def test_collect_refuses_before_it_makes_anything(
    neox: Path, tmp_path: Path, changed: dict[str, Any], error: type[GptflError], message: str
) -> None:
    with pytest.raises(error, match=message):
        record(neox, tmp_path, **changed)
    assert list(tmp_path.iterdir()) == []


def test_the_plan_of_leave_small_says_what_its_runs_lack(
    neox: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    from gptfl.cli.plan import announce

    plans: list[Any] = []
    options: dict[str, Any] = {"design": "leave-small:25%", "subset_size": None, "runs": 4}
    record(neox, tmp_path, **options, announce=plans.append)
    announce(plans[0])
    shown = " ".join(capsys.readouterr().out.split())
    assert "all 24 examples, or all but 6" in shown
    assert "how trainings on all 24 examples but another 6 end" in shown


@pytest.mark.parametrize("few", [True, False])
def test_a_preset_holds_unless_something_is_given(neox: Path, few: bool) -> None:
    preset = FEW_RUNS if few else PAPER
    examples = DataOptions(model=str(neox), task="errands")
    plan = plan_recording(CollectOptions(examples=examples, design=DesignOptions(few_runs=few)), build([]))
    assert plan.design.runs == preset.runs
    assert plan.design.settings.get("design", "uniform") == preset.design
    assert (plan.sketches is not None) == (preset.sketching is not None)
    own = plan_recording(CollectOptions(examples=examples, design=DesignOptions(few_runs=few, runs=9)), build([]))
    assert own.design.runs == 9


@pytest.mark.parametrize(
    ("options", "subset"),
    [
        ({}, 100),
        ({"design": "balanced"}, 100),
        ({"reserve_pool": 41}, 79),
        ({"subset_size": 32}, 32),
        ({"design": "uniform"}, 128),
        ({"design": "leave-out"}, 32),
        ({"design": "leave-small"}, 200),
    ],
)
def test_few_runs_are_on_half_of_the_pool_each(neox: Path, options: dict[str, Any], subset: int) -> None:
    examples = DataOptions(model=str(neox), task="errands")
    made = DesignOptions(few_runs=True, pool=200, **options)
    plan = plan_recording(CollectOptions(examples=examples, design=made), build([]))
    assert plan.design.subset == subset


def test_text_is_generated_where_any_metric_reads_it() -> None:
    found = build([])
    loss, bleu = make_metric(found, "loss"), make_metric(found, "bleu")
    assert not reads_text(())
    assert not reads_text((loss,))
    assert reads_text((loss, bleu))


@pytest.mark.parametrize(
    ("workers", "left", "seconds"), [(1, 6, 60.0), (4, 6, 20.0), (9, 6, 10.0), (2, 0, 0.0), (None, 6, None)]
)
def test_runs_at_once_end_sooner(workers: int | None, left: int, seconds: float | None) -> None:
    known: dict[str, Any] = {one.name: 0 for one in fields(CostEstimate) if one.default is MISSING}
    guess = CostEstimate(**{**known, "runs": 6, "runs_left": left, "seconds": 10.0 * left, "workers": workers})
    assert guess.elapsed == seconds


def test_where_runs_are_carried_out_is_no_part_of_what_is_asked() -> None:
    here, there = ExecutionOptions(), ExecutionOptions(executor_set={"workers": 2})
    assert repr(here) == repr(there)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("train='none.jsonl'", "--train none.jsonl does not exist"),
        ("train='empty.jsonl'", "empty.jsonl holds no rows"),
        ("train='rows.jsonl', fields='prompt=question,target=b'", "has no field 'question'"),
        ("train='rows.jsonl', subset_size=9", "--subset-size 9 is larger than --pool 3"),
    ],
)
def test_files_and_numbers_are_looked_at_before_torch_is_loaded(tmp_path: Path, options: str, message: str) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    for name in ("rows", "eval"):
        rows = [{"prompt": f"{name} {number}", "target": " b"} for number in range(3)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code = (
        "import sys, gptfl\n"
        f"try: gptfl.collect('tiny', eval='eval.jsonl', workspace='.', {options})\n"
        "except gptfl.errors.GptflError as error: print(error, 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert message in done.stdout
    assert done.stdout.split()[-1] == "False"
