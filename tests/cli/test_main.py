"""The application: what a user can mend is one line and an exit code."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gptfl.errors import DataError
from tests.cli.conftest import Outcome
from tests.cli.test_errors import refuses

Command = Callable[..., Outcome]


SMALL = ("--runs", "7", "--pool", "12", "--test", "6", "--subset-size", "6", "--batch-size", "3", "--steps", "4")


@pytest.mark.parametrize("option", ["--model", "--data", "--workspace", "--name"])
def test_a_name_that_is_not_utf8_is_refused(gptfl: Command, option: str) -> None:
    outcome = gptfl("collect", "--model", "tiny", "--task", "errands", option, "mod\udcffel")
    refuses(outcome, 2, r"the argument 'mod\xffel' is not UTF-8: rename it")


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


def test_ctrl_c_promises_only_what_holds(gptfl: Command, study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **settings: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gptfl.simulation.fit.fit_with", interrupted)
    outcome = gptfl("fit", "--workspace", str(study))
    assert outcome.code == 130
    assert outcome.err == "interrupted: nothing half-written was left\n"
