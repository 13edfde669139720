"""Every kind of wrong input: one line on stderr, the right exit code, no traceback, nothing lost."""

import errno
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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


def test_a_workspace_of_the_environment_that_is_not_utf8(gptfl: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPTFL_WORKSPACE", "work\udcff")
    refuses(gptfl("fit"), 2, r"the workspace 'work\xff' is not UTF-8")


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
