"""``gptfl collect`` from the command line."""

from collections.abc import Callable
from pathlib import Path

from tests.cli.test_errors import refuses

SIZES = ("--pool", "12", "--test", "6", "--subset-size", "6", "--batch-size", "3", "--steps", "4", "--lr", "1e-2")
SIZES += ("--metric", "loss", "--metric", "accuracy")


def test_a_finished_recording_is_found_done_and_more_runs_are_added(gptfl: Callable, study: Path, neox: Path) -> None:
    call = ("collect", "--model", str(neox), "--task", "errands", *SIZES, "-w", str(study))
    again = gptfl(*call, "--runs", "10")
    assert again.code == 0, again.err
    (path,) = study.glob("*.dynamics.h5")
    assert f"{path}: 10 runs, 0 of them new\n" in again.out
    assert again.out.splitlines()[-1].startswith("next: gptfl featurize")
    more = gptfl(*call, "--runs", "11")
    assert f"{path}: 11 runs, 1 of them new\n" in more.out
    moved = [line for line in more.out.splitlines() if line.endswith("mean of all runs and test examples")]
    assert [line.split()[0] for line in moved] == ["loss", "accuracy"]
    assert all(" → " in line for line in moved)
    refuses(gptfl(*call, "--runs", "11", "--seed", "7"), 3, path.name)


def test_a_dry_run_records_nothing(gptfl: Callable, neox: Path, tmp_path: Path) -> None:
    planned = gptfl(
        "collect", "--model", str(neox), "--task", "errands", *SIZES, "--dry-run", "-w", str(tmp_path / "w")
    )
    assert planned.code == 0, planned.err
    assert planned.out.splitlines()[-1] == "Nothing was recorded (--dry-run)."
    assert not (tmp_path / "w").exists()
