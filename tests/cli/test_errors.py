"""Every kind of wrong input: one line on stderr, the right exit code, no traceback, nothing lost."""

import errno
import os
import resource
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gptfl.errors import DataError
from gptfl.store.recordings import read_dynamics
from tests.cli.conftest import Outcome
from tests.zygote import Popen

Command = Callable[..., Outcome]
SMALL = ("--runs", "7", "--pool", "12", "--test", "6", "--subset-size", "6", "--batch-size", "3", "--steps", "4")


def refuses(outcome: Outcome, code: int, *pieces: str) -> None:
    assert outcome.code == code, outcome
    assert outcome.out == ""
    (line,) = outcome.err.strip().split("\n")
    assert line.startswith("error: ")
    for piece in pieces:
        assert piece in line


@pytest.mark.parametrize(
    ("arguments", "code", "pieces"),
    [
        (("collect", "--model", "pythia-41m", "--task", "rte"), 3, ("'pythia-41m'", "did you mean")),
        (("collect", "--model", "tiny", "--task", "rta"), 4, ("unknown task 'rta'", "'rte'")),
        (("collect", "--model", "tiny", "--task", "errands", "--metric", "acuracy"), 4, ("'acuracy'", "'accuracy'")),
        (
            ("collect", "--model", "tiny", "--task", "errands", "--pool", "9", "--subset-size", "10"),
            2,
            ("--subset-size 10",),
        ),
        (("collect", "--model", "tiny", "--task", "rte"), 5, ("rte", "--data DIR")),
        (("featurize", "--encoder", "minilmm"), 3, ("no recording in", "gptfl collect")),
        (("fit",), 3, ("no recording in", "gptfl collect")),
        (("simulate",), 3, ("no simulator in", "gptfl fit")),
        (("compare", "--json", "--csv"), 2, ("--json, --csv",)),
        (("inspect", "absent.h5"), 3, ("absent.h5", "does not exist")),
    ],
)
def test_wrong_names_and_missing_files(
    gptfl: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int, pieces: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    refuses(gptfl(*arguments), code, *pieces)
    assert not list(tmp_path.glob("**/*.h5"))


@pytest.mark.parametrize("option", ["--model", "--data", "--workspace", "--name"])
def test_a_name_that_is_not_utf8_is_refused(gptfl: Command, option: str) -> None:
    outcome = gptfl("collect", "--model", "tiny", "--task", "errands", option, "mod\udcffel")
    refuses(outcome, 2, r"the argument 'mod\xffel' is not UTF-8: rename it")


def test_a_workspace_of_the_environment_that_is_not_utf8(gptfl: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPTFL_WORKSPACE", "work\udcff")
    refuses(gptfl("fit"), 2, r"the workspace 'work\xff' is not UTF-8")


@pytest.mark.usefixtures("quick_tiny")
@pytest.mark.parametrize("kind", ["gpu", "machine", "torch", "kernels"])
def test_full_memory_is_reported_in_one_line(
    gptfl: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    import torch

    full = "CUDA out of memory. Tried to allocate 30.00 MiB. GPU 0 has 22.94 MiB free. Process 8 has 7 GiB in use."
    errors = {"gpu": torch.OutOfMemoryError(full), "machine": MemoryError()}
    texts = {
        "torch": "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes.",
        "kernels": "could not create a primitive",
    }
    error = errors.get(kind) or RuntimeError(texts[kind])

    def run_out(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gptfl.training.trainer.RecordingTrainer.run", run_out)
    outcome = gptfl("collect", "--model", "tiny", "--task", "errands", *SMALL)
    reason = {"gpu": "Tried to allocate 30.00 MiB", "machine": "the system gave no more", **texts}[kind].rstrip(".")
    assert outcome.code == 5
    last = outcome.err.strip().split("\n")[-1]
    assert last.startswith("error: memory is full: ")
    assert reason in last
    assert "; no run was finished, the same command begins anew: " in last
    assert "Process 8" not in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    "error", [np.linalg.LinAlgError("no eigenvalues"), ValueError("must not contain infs or NaNs")]
)
def test_numbers_that_nothing_can_be_computed_with(
    gptfl: Command, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def stumble(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.setattr("gptfl.recording.inspect.inspect", stumble)
    refuses(gptfl("inspect", "x.h5"), 3, "can't be computed with", "absurd values")


def test_overflow_is_one_note(gptfl: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def overflow(*args: Any, **kwargs: Any) -> None:
        warnings.simplefilter("always")
        for _ in range(3):
            np.float64(1e300) * np.array([1e300])
        raise DataError("x", "y")

    monkeypatch.setattr("gptfl.recording.inspect.inspect", overflow)
    lines = gptfl("inspect", "x.h5").err.strip().split("\n")
    assert len(lines) == 2
    assert lines[0].startswith("note: some numbers are too large or none (overflow encountered")


@pytest.mark.parametrize(
    ("arguments", "piece"),
    [
        (("collect", "--task", "errands"), "--model"),
        (("collect", "--model", "tiny", "--task", "errands", "--runs", "many"), "many"),
        (("colect",), "colect"),
        (("collect", "--gradients"), "see gptfl collect --help"),
    ],
)
def test_usage_errors_exit_with_two(gptfl: Command, arguments: tuple[str, ...], piece: str) -> None:
    refuses(gptfl(*arguments), 2, piece, "--help")


@pytest.mark.parametrize(
    ("arguments", "code", "pieces"),
    [
        (("featurize", "--encoder", "minilmm"), 4, ("unknown encoder 'minilmm'", "'minilm'")),
        (("featurize", "--encoder", "tfidf-svd", "--set", "dim=3"), 4, ("'tfidf-svd' has no setting 'dim'",)),
        (("fit", "--estimator", "gptfluense"), 4, ("unknown estimator 'gptfluense'", "'gptfluence'")),
        (("fit", "--set", "order"), 2, ("--set 'order' is not NAME=VALUE",)),
        (("fit", "--metric", "bleu"), 3, ("'bleu'",)),
        (("simulate", "--subset", "absent.txt"), 3, ("absent.txt",)),
        (("compare", "--folds", "1"), 2, ("folds",)),
        (("compare", "--set", "order=2"), 2, ("ESTIMATOR.NAME=VALUE",)),
    ],
)
def test_wrong_settings_of_later_stages(
    gptfl: Command, study: Path, arguments: tuple[str, ...], code: int, pieces: Any
) -> None:
    before = {path: path.read_bytes() for path in study.glob("*.h5")}
    refuses(gptfl(*arguments, "--workspace", str(study)), code, *pieces)
    assert {path: path.read_bytes() for path in study.glob("*.h5")} == before


@pytest.mark.parametrize(
    ("content", "pieces"),
    [
        ("", ("ids.txt", "names no example")),
        ("# nothing\n\n", ("ids.txt",)),
        ("lend-9999999\n", ("ids.txt", "lend-9999999")),
        ("{first}\n{second}\n{first}\n", ("ids.txt", "3", "{first}")),
    ],
)
def test_wrong_ids(gptfl: Command, study: Path, tmp_path: Path, content: str, pieces: tuple[str, ...]) -> None:
    pool = read_dynamics(next(study.glob("*.dynamics.h5"))).pool
    names = {"first": pool[0].id, "second": pool[1].id}
    ids = tmp_path / "ids.txt"
    ids.write_text(content.format(**names), encoding="utf-8")
    outcome = gptfl("simulate", "--subset", str(ids), "--workspace", str(study))
    assert outcome.code in (2, 3)
    refuses(outcome, outcome.code, *(piece.format(**names) for piece in pieces))


@pytest.mark.parametrize(
    ("line", "pieces"),
    [
        ("{not json", ("train.jsonl", "2")),
        ('{"prompt": "who"}', ("train.jsonl", "2", "target")),
        ('{"prompt": "who", "target": 3}', ("train.jsonl", "2", "target")),
        ('{"prompt": "who", "target": " it", "id": "same"}', ("train.jsonl", "same")),
    ],
)
def test_a_broken_task_file(gptfl: Command, tmp_path: Path, line: str, pieces: tuple[str, ...]) -> None:
    good = '{"prompt": "who sees it", "target": " sun", "id": "same"}\n'
    (tmp_path / "train.jsonl").write_text(good + line + "\n", encoding="utf-8")
    (tmp_path / "test.jsonl").write_text(good, encoding="utf-8")
    outcome = gptfl(
        "collect", "--model", "tiny", "--task", "jsonl", "--data", str(tmp_path), "--pool", "2", "--test", "1"
    )
    refuses(outcome, 3, *pieces)


def test_a_damaged_or_foreign_file_is_refused_by_every_stage(gptfl: Command, study: Path, tmp_path: Path) -> None:
    whole = next(study.glob("*.dynamics.h5")).read_bytes()
    broken = tmp_path / "broken.dynamics.h5"
    for content in (whole[: len(whole) // 2], b"something else", b""):
        broken.write_bytes(content)
        for command in ("inspect", "featurize --encoder tfidf-svd --dynamics", "fit --dynamics", "compare --dynamics"):
            refuses(gptfl(*command.split(), str(broken)), 3, "broken.dynamics.h5")


def test_features_of_another_recording_are_refused(gptfl: Command, study: Path, neox: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert (
        gptfl("collect", "--model", str(neox), "--task", "errands", *SMALL, "--seed", "5", "-w", str(other)).code == 0
    )
    features = next(study.glob("*.features.h5"))
    outcome = gptfl("fit", "--features", str(features), "-w", str(other))
    refuses(outcome, 3, features.name, "gptfl featurize")


def test_a_full_disk_loses_nothing(study: Path, neox: Path) -> None:
    """The disk is full as far as this process is concerned: no file may grow past a kilobyte."""
    path = next(study.glob("*.dynamics.h5"))
    before = path.read_bytes()

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    command = [sys.executable, "-m", "gptfl", "featurize", "--encoder", "tfidf-svd", "-w", str(study)]
    # Bytecode would be cut off, too, and break every later process.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, preexec_fn=small_files)
    assert done.returncode == 5, done.stderr
    assert os.strerror(errno.EFBIG).lower() in done.stderr.lower() or "room" in done.stderr or "space" in done.stderr
    assert "Traceback" not in done.stderr
    assert path.read_bytes() == before
    assert not list(study.glob(".*.part"))


def test_ctrl_c_exits_with_130_and_keeps_the_finished_runs(neox: Path, tmp_path: Path, copied: type[Popen]) -> None:
    path = tmp_path / "errands-small-neox.dynamics.h5"
    command = [sys.executable, "-m", "gptfl", "collect", "--model", str(neox), "--task", "errands"]
    command += ["--runs", "600", "--pool", "12", "--test", "6", "--steps", "4", "-w", str(tmp_path)]
    # Signals while an interpreter starts are for tests/cli/test_streams.py.
    process = copied(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not path.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert "interrupted: finished runs are kept" in err
    assert "Traceback" not in err
    assert len(read_dynamics(path).runs) >= 1


def test_ctrl_c_promises_only_what_holds(gptfl: Command, study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **settings: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gptfl.simulation.fit.fit_with", interrupted)
    outcome = gptfl("fit", "--workspace", str(study))
    assert outcome.code == 130
    assert outcome.err == "interrupted: nothing half-written was left\n"


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--estimator", "mean-run:"), 2, "--estimator 'mean-run:' names no setting: write NAME:SETTING=VALUE"),
        (("--estimator", "gptfluence:order"), 2, "'order' is not SETTING=VALUE"),
        (("--estimator", "gptfluence:order=1,order=2"), 2, "gives order twice"),
        (("--estimator", "gptfluence:ordr=1"), 4, "has no setting 'ordr': did you mean 'order'?"),
        (("--estimator", "gptfluence:order=0"), 2, "order is 0"),
        (("--estimator", "mean-run", "--calibrate"), 2, "none of the estimators compared can be calibrated"),
    ],
)
def test_wrong_estimators_to_compare_are_one_line(
    gptfl: Command, finished_study: Path, options: tuple[str, ...], code: int, words: str
) -> None:
    refuses(gptfl("compare", "-w", str(finished_study), *options), code, words)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--sweep", "order"), "is not AXIS=V1,V2"),
        (("--sweep", "order=1,,2"), "is not AXIS=V1,V2"),
        (("--sweep", "order=1", "--sweep", "order=2"), "given twice"),
        (("--sweep", "order=1", "--cost"), "--cost does not go with --sweep"),
        (("--sweep", "order=1", "--estimator", "gptfluence:order=2"), "varies one estimator"),
        (("--sweep", "order=0"), "order"),
        (("--every", "0"), "--every is 0"),
        (("--sweep", "order=1", "--estimator", "gptfluence@minilm"), "varies one estimator"),
        (("--sweep", "runs=2,3", "--sweep", "order=1"), "--sweep runs goes with no other axis, and order is given"),
        (("--sweep", "runs=2", "--folds", "2"), "--folds does not go with --sweep runs"),
        (("--sweep", "runs=1"), "runs=1: give whole numbers of at least 2"),
        (("--sweep", "runs=2", "--held-out", "0"), "--held-out is 0"),
        (("--sweep", "order=1", "--held-out", "2"), "--held-out is of --sweep runs alone"),
        (("--draws", "2"), "--draws is of --sweep runs alone"),
    ],
)
def test_wrong_sweeps_are_one_line(gptfl: Command, finished_study: Path, options: tuple[str, ...], words: str) -> None:
    refuses(gptfl("compare", "-w", str(finished_study), *options), 2, words)


def test_costs_and_sweeps_are_tables(gptfl: Command, finished_study: Path, tmp_path: Path) -> None:
    small = ("-w", str(finished_study), "--set", "gptfluence.epochs=5", "--figure", str(tmp_path / "a.png"))
    costs = gptfl("compare", "--cost", *small)
    assert costs.code == 0
    assert "Cost of one simulated trajectory" in costs.out
    swept = gptfl("compare", "--sweep", "order=1,2", "--sweep", "every=1,2", "--csv", *small)
    assert swept.code == 0
    lines = swept.out.strip().splitlines()
    assert lines[0].startswith("estimator,order,every,mse,")
    assert [line.split(",")[1:3] for line in lines[1:]] == [["1", "1"], ["1", "2"], ["2", "1"], ["2", "2"]]


def test_a_sweep_over_runs_is_a_table_a_picture_and_csv(gptfl: Command, finished_study: Path, tmp_path: Path) -> None:
    few = ("compare", "-w", str(finished_study), "--sweep", "runs=2,4", "--estimator", "exposure-gp")
    few += ("--estimator", "gptfluence:epochs=5", "--held-out", "3", "--figure", str(tmp_path / "a.png"))
    shown = gptfl(*few)
    assert shown.code == 0, shown.err
    assert "by the number of runs" in shown.out
    assert (tmp_path / "a.png").is_file()
    lines = gptfl(*few, "--csv").out.strip().splitlines()
    assert lines[0].startswith("estimator,name,encoder,runs,groups,mse,")
    # The runs were timed as they were recorded.
    assert all(float(line.split(",")[-3]) > 0 for line in lines[1:])
