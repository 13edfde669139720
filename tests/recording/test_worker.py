"""One of several processes that record a run: what it says, and that it ends with the one that started it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gptfl.options.base import make
from gptfl.options.files import to_json
from gptfl.options.recording import CollectOptions
from gptfl.recording import launch as launching
from gptfl.recording.launch import launch
from tests.zygote import Popen


@pytest.mark.usefixtures("quick")
def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gptfl.recording.launch.to_json", lambda options: ["no options"])
    with pytest.raises(RuntimeError, match=r"(?s)process 1 of 1: Traceback.*AttributeError: 'list' object"):
        launch(make(CollectOptions, model="tiny", task="errands"), lambda *given: None, None)


@pytest.mark.usefixtures("quick")
def test_a_process_ends_when_the_one_that_started_it_is_gone(tmp_path: Path) -> None:
    """It waits for a second one that never comes, until the pipe to the first closes, as it does at a kill."""
    with (tmp_path / "noise").open("w+", encoding="utf-8") as noise:
        process = launching.start_process(0, 2, launching.free_port(), noise)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"model": "tiny", "task": "errands", "workspace": str(tmp_path)}) + "\n")
        process.stdin.flush()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1)
        process.stdin.close()
        assert process.wait(timeout=60) == 1
        process.stdout.close()
    assert [path.name for path in tmp_path.iterdir()] == ["noise"]


def said(copied: type[Popen], line: str) -> list[dict[str, Any]]:
    """What a process says that is given this line."""
    command = [sys.executable, "-c", "from gptfl.recording.worker import work; print('noise'); work()"]
    process = copied(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()
    words = [json.loads(word) for word in process.stdout if word.strip() != "noise"]
    process.stdout.close()
    process.stdin.close()
    process.wait()
    return words


def test_a_refusal_is_said_by_its_kind_problem_and_remedy(copied: type[Popen]) -> None:
    line = json.dumps(to_json(make(CollectOptions, model="pythia-411m", task="errands")))
    (word,) = said(copied, line)
    assert (word["kind"], word["error"]) == ("refused", "DataError")
    assert word["problem"] == "unknown model 'pythia-411m'"
    assert "pythia-410m" in word["remedy"]
    (odd,) = said(copied, json.dumps({"model": "tiny", "größe": 1}))
    assert odd["kind"] == "refused"
    assert "what the process that started this one says" in odd["problem"]
