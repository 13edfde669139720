"""The process that carries out units: it hears its work, then units, and ends with whoever started it."""

import subprocess
from types import SimpleNamespace

import pytest

from gptfl.executors import crew
from gptfl.plugins.work import Work
from gptfl.testing.executors import PretendedTrainers
from tests.zygote import Popen


def test_a_worker_answers_each_unit_and_ends_with_its_starter(
    monkeypatch: pytest.MonkeyPatch, copied: type[Popen]
) -> None:
    monkeypatch.setattr(crew, "subprocess", SimpleNamespace(Popen=copied, PIPE=subprocess.PIPE))
    process = crew.start_process(1, None, subprocess.DEVNULL)  # type: ignore[arg-type]
    assert process.stdin is not None
    assert process.stdout is not None
    work = Work(kind="check", settings=dict(vars(PretendedTrainers(""))))
    said = [crew.to_line("work", work.to_json())]
    said += [crew.to_line("unit", {"index": index, "settings": {"echo": True}}) for index in (4, 2)]
    process.stdin.writelines(said)
    process.stdin.flush()
    words = [crew.from_line(process.stdout.readline()) for _ in range(2)]
    assert [(word, known["index"], known["failure"]) for word, known, _ in words] == [
        ("outcome", 4, None),
        ("outcome", 2, None),
    ]
    process.stdin.close()
    assert process.wait() == 0
    process.stdout.close()
