"""``~`` is expanded wherever a path is given."""

import json
from pathlib import Path

import pytest

import gptfl
from gptfl.plugins.registry import get_registry
from gptfl.recording.new_examples import read_new_examples
from gptfl.store.id_files import ExampleIndex
from gptfl.store.recordings import read_dynamics, write_dynamics
from gptfl.store.workspace import Workspace
from gptfl.tasks.mixture import open_task
from gptfl.training.models import cache_folder
from tests.synthetic import LOSS, synthetic


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_dynamics(tmp_path / "syn.dynamics.h5", synthetic(6)[0])
    return tmp_path


def test_in_python(home: Path) -> None:
    assert dict(gptfl.inspect("~/syn.dynamics.h5").rows)["file"] == str(home / "syn.dynamics.h5")
    assert (
        gptfl.fit("mean-run", dynamics="~/syn.dynamics.h5", output="~/m.simulator.h5").path == home / "m.simulator.h5"
    )
    (home / "ids.txt").write_text("train-1\n")
    known = read_dynamics(home / "syn.dynamics.h5")
    assert ExampleIndex(known.pool).select("~/ids.txt", "--subset").tolist() == [1]
    (home / "tests.txt").write_text("test-1\n")
    (home / "new.jsonl").write_text(json.dumps({"prompt": "p", "target": "t"}))
    assert len(read_new_examples("~/new.jsonl", None, known, LOSS, get_registry()).pool) == 1
    files = {"dynamics": "~/syn.dynamics.h5", "on": "group:~/tests.txt", "output": "~/r.csv"}
    assert gptfl.rank(["~/m.simulator.h5"], orders=1, **files).output == home / "r.csv"
    assert gptfl.export("~/out", dynamics="~/syn.dynamics.h5").path == home / "out"
    assert gptfl.import_("gptdynamics", "~/out", workspace="~/w").path == home / "w" / "out.dynamics.h5"


def test_of_tasks_and_variables(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = home / "data"
    data.mkdir()
    for name in ("train.jsonl", "test.jsonl"):
        (data / name).write_text(json.dumps({"id": None, "prompt": "p", "target": "t", "choices": None, "label": None}))
    task = open_task(get_registry(), "jsonl", Path("~/data"))
    assert [example.id for example in task.load(1, 1, 0).pool] == ["0"]
    monkeypatch.setenv("GPTFL_WORKSPACE", "~/w")
    monkeypatch.setenv("GPTFL_CACHE", "~/c")
    assert Workspace.resolve().root == home / "w"
    assert cache_folder() == home / "c"
