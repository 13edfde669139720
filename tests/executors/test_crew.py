"""Processes that carry out units: replaced where one is lost, given up where it is the unit's fault, and gone in the end."""

import signal
import subprocess
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gptfl.errors import ResourceError, UsageError
from gptfl.executors import Local, crew
from gptfl.plugins.work import Unit, Work
from gptfl.testing.executors import PretendedTrainers
from tests.zygote import Popen


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, copied: type[Popen]) -> Iterator[list[Popen]]:
    """Every process that is started meanwhile, a copy of one that has loaded torch; none is left in the end."""
    processes: list[Popen] = []

    def start(*given: Any, **named: Any) -> Popen:
        processes.append(copied(*given, **named))
        return processes[-1]

    monkeypatch.setattr(crew, "subprocess", SimpleNamespace(Popen=start, PIPE=subprocess.PIPE))
    yield processes
    assert all(process.poll() is not None for process in processes)


DYING = """
import os
from gptfl.plugins import work
work.carry_out = lambda *given: {end}
from gptfl.executors.worker import work
work()
"""


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ("os.kill(os.getpid(), 9)", r"unit 7 was ended by SIGKILL, 4 times: if memory ran out, ask for fewer workers"),
        (
            "1 / 0",
            r"unit 7 ended with exit code 1: ZeroDivisionError: division by zero, 4 times: the same command goes on",
        ),
    ],
)
def test_a_unit_that_loses_its_process_again_and_again_is_given_up(
    monkeypatch: pytest.MonkeyPatch, copied: type[Popen], end: str, told: str
) -> None:
    def start(command: list[str], **named: Any) -> Popen:
        return copied([*command[:3], DYING.format(end=end)], **named)

    monkeypatch.setattr(crew, "subprocess", SimpleNamespace(Popen=start, PIPE=subprocess.PIPE))
    found = crew.carry_out_by_processes(_work(), [Unit(7)], lambda *given: None, workers=2, threads=1)
    with pytest.raises(ResourceError, match=told):
        list(found)


def _work(**changed: Any) -> Work:
    return Work(kind="check", settings=dict(vars(PretendedTrainers(""))), **changed)


def test_the_processes_end_with_the_one_that_started_them(started: list[Popen]) -> None:
    found = crew.carry_out_by_processes(_work(), _units(2), lambda *given: None, workers=2, threads=1)
    next(found)
    found.close()  # type: ignore[attr-defined]
    assert [process.poll() for process in started] == [-signal.SIGKILL] * len(started)


def _units(count: int) -> list[Unit]:
    return [Unit(index, {"echo": True}, {"a": np.arange(3)}) for index in range(count)]


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    assert crew.devices("cpu") == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert crew.devices("cuda") == ["2", "5"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert crew.devices("cuda") == ["0", "1", "2"]
    seen: list[str | None] = []

    class NotStarted(Exception):
        pass

    def start(command: list[str], env: dict[str, str], **named: Any) -> None:
        seen.append(env.get("CUDA_VISIBLE_DEVICES"))
        raise NotStarted

    monkeypatch.setattr(crew, "subprocess", SimpleNamespace(Popen=start, PIPE=subprocess.PIPE))
    with pytest.raises(NotStarted):
        list(Local(workers=4).perform(_work(device="cuda"), _units(4), lambda *given: None))
    assert seen == ["0"]
    with pytest.raises(UsageError, match="workers is 2 with --device cuda:1, and each process takes a GPU of its own"):
        list(Local(workers=2).perform(_work(device="cuda:1"), _units(1), lambda *given: None))


def test_words_between_the_processes_are_lines() -> None:
    line = crew.to_line("unit", {"index": 1, "text": "a\nb"}, {"a": np.arange(2)})
    assert line.index("\n") == len(line) - 1
    word, known, arrays = crew.from_line(line)
    assert (word, known) == ("unit", {"index": 1, "text": "a\nb"})
    np.testing.assert_array_equal(arrays["a"], np.arange(2))
