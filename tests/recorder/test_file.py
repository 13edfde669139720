"""The recording that one's own runs go to, and which runs belong to it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gptfl.core import FIT, Curriculum, Dynamics, Example, MetricInfo, Run
from gptfl.errors import DataError, UsageError
from gptfl.recorder.file import Identity, RunFile
from gptfl.store.recordings import read_dynamics, write_dynamics

POOL = tuple(Example(f"p{i}", f"größe {i}", " t") for i in range(3))
TEST = (Example("t", "p", " t"),)
OWN = Identity(POOL, TEST, {"loss": MetricInfo("loss", False)}, 2, "tests", "m", "abc")


def run(seed: int) -> Run:
    curriculum = Curriculum(np.array([[0, 1], [2, -1]]), np.array([0.2, 0.1]))
    return Run(0, seed, FIT, curriculum, np.array([0, 2]), {"loss": np.full((2, 1), seed, np.float32)})


def test_runs_are_appended_under_the_next_index(tmp_path: Path) -> None:
    file = RunFile("own", tmp_path)
    assert file.read(OWN) is None
    added = [file.append(OWN, run(seed)) for seed in (7, 8, 9, 10)]
    assert [(one.index, one.role) for one in added] == [(0, "fit"), (1, "fit"), (2, "fit"), (3, "test")]
    found = file.read(OWN)
    assert found is not None
    assert [one.seed for one in found.runs] == [7, 8, 9, 10]
    assert {name: found.settings[name] for name in OWN.settings()} == OWN.settings()
    assert file.path == tmp_path / "own.dynamics.h5"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pool": POOL[:2]}, "another pool: 3 examples, not 2: give the pool of the earlier runs, in their order"),
        ({"pool": POOL[::-1]}, "another pool: 'p0' is there where this run has 'p2'"),
        ({"test": (replace(TEST[0], prompt="q", digest=""),)}, "another test set: 't' has another text"),
        ({"every": 3}, "was recorded with every=2, not 3"),
        ({"metrics": {"f1": MetricInfo("f1", True)}}, r"was recorded with metrics=\['loss'\], not \['f1'\]"),
        ({"fingerprint": "xyz"}, "the weights abc, and this run starts from xyz"),
    ],
)
def test_a_run_of_another_kind_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    file = RunFile("own", tmp_path)
    file.append(OWN, run(1))
    with pytest.raises(DataError, match=message) as found:
        file.append(replace(OWN, **change), run(2))
    assert found.value.remedy.endswith("or record under another name")
    assert len(read_dynamics(file.path).runs) == 1


def test_weights_of_which_nothing_is_known_are_taken(tmp_path: Path) -> None:
    file = RunFile("own", tmp_path)
    file.append(OWN, run(1))
    assert file.append(replace(OWN, fingerprint=None), run(2)).index == 1


def test_recordings_of_another_kind_are_left_alone(tmp_path: Path) -> None:
    file = RunFile("own", tmp_path)
    write_dynamics(file.path, Dynamics(POOL, TEST, OWN.metrics, (), {"task": "errands"}))
    with pytest.raises(DataError, match="holds no runs of your own training, and none are added"):
        file.append(OWN, run(1))


@pytest.mark.parametrize("name", ["a/b", "", "größe", "x" * 81])
def test_a_name_begins_the_names_of_files(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="can't begin the names of files"):
        RunFile(name, tmp_path)
