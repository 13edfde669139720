"""Runs as tasks of a cluster of several nodes on this machine: the same as here, even if a node is lost."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ray", reason="ray is not installed")

import ray

from gptfl import collect, testing
from gptfl.errors import PluginError, ResourceError, UsageError
from gptfl.plugins import Outcome, Unit, Work
from gptfl.plugins.guards import workers_of
from gptfl.plugins.registry import build
from gptfl.store.recordings import read_dynamics
from gptfl.testing.executors import PretendedTrainers
from gptfl_ray import task
from gptfl_ray.executor import Ray
from gptfl_ray.task import Board, carry_out_units, files_of, here
from tests.models import neox  # noqa: F401

NODES = 2
RECORDED: dict[str, Any] = {"runs": 6, "pool": 12, "test": 5, "steps": 50, "batch_size": 3}
SMALL = 80 * 2**20
"""Bytes of memory for the objects of a node."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Three nodes: two that can be lost, and the one that this process is joined to, which carries out nothing."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PYTHONPATH", ":".join(filter(None, sys.path)))
        # A node that goes silent is given up within seconds.
        patch.setenv("RAY_health_check_initial_delay_ms", "0")
        patch.setenv("RAY_health_check_period_ms", "500")
        patch.setenv("RAY_health_check_failure_threshold", "3")
        quiet = {"object_store_memory": SMALL, "include_dashboard": False}
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **quiet})
        try:
            for _ in range(NODES):
                made.add_node(num_cpus=1, object_store_memory=SMALL)
            made.wait_for_nodes()
            ray.init(address=made.address, log_to_driver=False)
            yield made
        finally:
            ray.shutdown()
            made.shutdown()


def _work(**changed: Any) -> Work:
    return Work(kind="check", settings=dict(vars(PretendedTrainers(""))), **changed)


def _units(count: int) -> list[Unit]:
    return [Unit(index, {"echo": True}, {"a": np.arange(3)}) for index in range(count)]


def _still(index: int, done: int, total: int) -> None:
    pass


@pytest.mark.usefixtures("cluster")
def test_the_promises_are_kept() -> None:
    testing.check_executor(Ray, runs_per_task=2)


def test_a_recording_is_that_of_this_process_even_if_a_node_is_killed(
    cluster: Any,
    neox: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    alone = collect(str(neox), "errands", workspace=tmp_path / "here", **RECORDED)
    killed: list[str] = []
    seen: set[str] = set()

    def kill_one(what: str, done: int, total: int, note: str = "") -> None:
        if what == "collect":
            seen.add(note)
        if len(seen) < NODES or killed:
            return
        # Each node has begun a run by then; the one that is killed is at work.
        free = ray._private.state.available_resources_per_node()
        for node in [node for node in cluster.worker_nodes if not free.get(node.node_id, {}).get("CPU")][:1]:
            killed.append(node.node_id)
            cluster.remove_node(node, allow_graceful=False)

    there = collect(
        str(neox),
        "errands",
        workspace=tmp_path / "there",
        executor="ray",
        executor_set=("num_cpus=1,workers=2",),
        progress=kill_one,
        **RECORDED,
    )
    assert len(killed) == 1
    assert len(cluster.worker_nodes) == NODES - 1
    first, second = read_dynamics(alone.path), read_dynamics(there.path)
    assert first.fingerprint == second.fingerprint
    assert first.settings == second.settings
    assert [run.index for run in second.runs] == list(range(6))


@pytest.mark.usefixtures("cluster")
def test_tasks_are_cancelled_where_the_call_ends_early() -> None:
    work = Work(kind="check", settings={**vars(PretendedTrainers(""))})
    found = Ray(workers=2).perform(work, iter(_units(200)), _still)
    next(found)
    found.close()  # type: ignore[attr-defined]
    # All of the cluster is free again.
    assert [one.index for one in Ray(workers=2).perform(work, iter(_units(1)), _still)] == [0]


@pytest.mark.usefixtures("cluster")
def test_a_task_that_is_lost_again_and_again_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*given: Any) -> list[bytes]:
        import os

        os._exit(1)

    monkeypatch.setattr("gptfl_ray.executor.carry_out_units", die)
    with pytest.raises(ResourceError, match="executor ray: the task of unit 7 was lost 4 times"):
        list(Ray().perform(_work(), iter([Unit(7)]), _still))


@pytest.mark.usefixtures("cluster")
def test_a_node_that_lacks_gptfl_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(*given: Any) -> list[bytes]:
        raise ModuleNotFoundError("No module named 'gptfl'")

    monkeypatch.setattr("gptfl_ray.executor.carry_out_units", lacking)
    with pytest.raises(
        ResourceError, match=r"No module named 'gptfl'.*: install gptfl and the same plugins on every node"
    ):
        list(Ray().perform(_work(), iter([Unit(7)]), _still))


def _folder(place: Path) -> Path:
    (place / "deep").mkdir(parents=True)
    (place / "config.json").write_text("{}")
    (place / "deep" / "model.safetensors").write_bytes(b"weights")
    return place


def test_a_model_s_files_are_copied_to_a_node_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task.tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    folder = _folder(tmp_path / "model")
    sizes = files_of(str(folder))
    assert sizes == {"config.json": 2, "deep/model.safetensors": 7}
    assert files_of(None) == {}
    fetched: list[str] = []

    def fetch(name: str) -> np.ndarray:
        fetched.append(name)
        return np.frombuffer({"config.json": b"{}", "deep/model.safetensors": b"weights"}[name], dtype=np.uint8)

    assert here(str(folder), sizes, fetch) == folder
    assert fetched == []
    copy = here(str(tmp_path / "elsewhere"), sizes, fetch)
    assert sorted(fetched) == sorted(sizes)
    assert (copy / "deep" / "model.safetensors").read_bytes() == b"weights"
    assert here(str(tmp_path / "elsewhere"), sizes, fetch) == copy
    assert len(fetched) == 2
    assert copy.parent.stat().st_mode & 0o077 == 0
    # Half a copy under that name, as nobody of ours leaves it, is passed over.
    (copy / "config.json").unlink()
    other = here(str(tmp_path / "elsewhere"), sizes, fetch)
    assert other != copy
    assert files_of(str(other)) == sizes
    monkeypatch.setattr(task.os, "getuid", lambda: 12345)
    (tmp_path / "tmp" / "gptfl-ray-12345").mkdir()
    with pytest.raises(ResourceError, match="gptfl-ray-12345 belongs to somebody else: set TMPDIR"):
        here(str(tmp_path / "elsewhere"), sizes, fetch)
    monkeypatch.undo()
    monkeypatch.setattr(task.tempfile, "gettempdir", lambda: str(tmp_path / "none"))
    with pytest.raises(ResourceError, match=r"the model can't be copied to .*: No such file or directory: make room"):
        here(str(tmp_path / "elsewhere"), sizes, fetch)


def test_a_task_takes_the_copy_s_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _folder(tmp_path / "model")
    seen: list[Work] = []
    monkeypatch.setattr(task, "carry_out", lambda work, unit, step: seen.append(work) or Outcome(unit.index))
    monkeypatch.setattr(task, "here", lambda folder, sizes, fetch: tmp_path / "copy")
    described = json.dumps(_work(folder=str(folder)).to_json()).encode()
    given = described, files_of(str(folder)), {}, [unit.to_bytes() for unit in _units(2)]
    for name in ("a", "a", "b"):
        found = carry_out_units(name, *given, None)
    assert [Outcome.of_bytes(one).index for one in found] == [0, 1]
    assert {work.folder for work in seen} == {str(tmp_path / "copy")}
    assert len({id(work) for work in seen}) == 2


def test_steps_are_told_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    board, clock = Board(), iter([0.0, 0.1, 0.6, 0.6, 0.7])
    remote = SimpleNamespace(say=SimpleNamespace(remote=board.say))
    monkeypatch.setattr(task.time, "monotonic", lambda: next(clock))

    def carry_out(work: Work, unit: Unit, on_step: Any) -> Outcome:
        for done in (1, 2, 3):
            on_step(done, 3)
        return Outcome(unit.index)

    monkeypatch.setattr(task, "carry_out", carry_out)
    carry_out_units("c", json.dumps(_work().to_json()).encode(), {}, {}, [Unit(5).to_bytes()], remote)
    assert board.read() == {5: (2, 3)}
    assert board.read() == {}


def test_settings_are_checked() -> None:
    import gptfl_ray.plugin

    found = build([gptfl_ray.plugin])
    assert found.names("executor") == ["local", "ray"]
    made = found.make("executor", "ray", num_cpus=4, num_gpus=0.5, resources={"fast": 1})
    assert (made.threads, workers_of(made), made.resources) == (4, None, {"fast": 1})
    assert workers_of(found.make("executor", "ray", workers=8)) == 8
    for wrong, told in (
        ({"num_gpus": -1}, "executor ray: num_gpus is -1"),
        ({"resources": "fast"}, "executor ray: resources is 'fast'"),
        ({"ship": "no"}, "executor ray: ship is 'no'"),
    ):
        with pytest.raises(UsageError, match=told):
            found.make("executor", "ray", **wrong)
    with pytest.raises(PluginError, match="executor 'ray' has no setting 'num_gpu': did you mean 'num_gpus'"):
        found.make("executor", "ray", num_gpu=1)
    with pytest.raises(UsageError, match="--device cuda, and num_gpus is 0: give --executor-set num_gpus=1"):
        list(Ray().perform(_work(device="cuda"), iter(_units(1)), _still))


def test_the_plugin_is_light() -> None:
    code = "import sys, gptfl_ray.plugin; print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
