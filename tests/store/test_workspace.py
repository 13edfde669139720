import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from gptfl.errors import DataError, ResourceError
from gptfl.store.workspace import REFERENCE, FoundFile, Workspace, reference_folder, stem_for, stem_of


def test_the_workspace_is_the_argument_else_the_variable_else_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPTFL_WORKSPACE", "elsewhere")
    assert Workspace.resolve("here").root == Path("here")
    assert Workspace.resolve(None).root == Path("elsewhere")
    monkeypatch.delenv("GPTFL_WORKSPACE")
    assert Workspace.resolve(None).root == Path("gptfl-work")


def test_names_of_files(tmp_path: Path) -> None:
    space, stem = Workspace(tmp_path), stem_for("rte", "EleutherAI/pythia-1.4b")
    paths = [
        space.dynamics_path(stem),
        space.features_path(stem, "tfidf-svd"),
        space.simulator_path(stem, "mean-run", "rouge-l", "0123456789abcdef"),
        space.simulator_path(stem, "mean-run", "loss"),
        space.predictions_path(stem, "a.b/c", "loss"),
        space.predictions_path(stem, "mean-run", "loss", "0123456789abcdef"),
    ]
    assert [path.name for path in paths] == [
        "rte-pythia-1.4b.dynamics.h5",
        "rte-pythia-1.4b.tfidf-svd.features.h5",
        "rte-pythia-1.4b.mean-run.rouge-l-012345.simulator.h5",
        "rte-pythia-1.4b.mean-run.loss.simulator.h5",
        "rte-pythia-1.4b.a-b-c.loss.predictions.h5",
        "rte-pythia-1.4b.mean-run.loss-012345.predictions.h5",
    ]
    assert {stem_of(path) for path in paths} == {stem}


@pytest.mark.parametrize(
    ("task", "model", "stem"),
    [("a b/c", "../../etc", "a-b-c-etc"), ("é", "...", "unnamed-unnamed"), ("t", "x" * 300, "t-" + "x" * 80)],
)
def test_stems_are_safe(task: str, model: str, stem: str) -> None:
    assert stem_for(task, model) == stem


def touch(path: Path, time: int) -> Path:
    path.touch()
    os.utime(path, ns=(time, time))
    return path


def test_the_file_made_last_is_chosen_and_the_others_are_listed(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    old, new = touch(space.dynamics_path("a.1"), 1000), touch(space.dynamics_path("b"), 3000)
    same = touch(space.dynamics_path("a"), 1000)
    (tmp_path / ".b.dynamics.h5.1.part").touch()
    assert space.latest("dynamics") == FoundFile(new, [same, old])
    assert space.latest("dynamics", "a") == FoundFile(same, [])


def test_simulators_are_chosen_by_estimator_and_metric(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    plain = touch(space.simulator_path("s", "mean-run", "rouge-l"), 1)
    keyed = touch(space.simulator_path("s", "mean-run", "rouge-l", "abcdef12"), 2)
    other = touch(space.simulator_path("s", "mean-run", "rouge"), 3)
    assert space.latest("simulator", estimator="mean-run", metric="rouge-l") == FoundFile(keyed, [plain])
    assert space.latest("simulator", metric="rouge") == FoundFile(other, [])
    assert space.latest("simulator", "s").path == other


@pytest.mark.parametrize(
    ("kind", "conditions", "message"),
    [
        ("dynamics", {}, r"no recording in .*: run gptfl collect --model MODEL --task TASK first"),
        (
            "features",
            {"encoder": "minilm"},
            "no features file of encoder minilm in .*: run gptfl featurize --encoder minilm first",
        ),
        (
            "simulator",
            {"stem": "a", "metric": "loss"},
            "no simulator of metric loss for a in .*: run gptfl fit --metric loss first",
        ),
        ("predictions", {}, "no predictions file in .*: run gptfl simulate first"),
    ],
)
def test_nothing_to_choose_names_the_command_that_makes_it(
    tmp_path: Path, kind: str, conditions: dict[str, str], message: str
) -> None:
    for root in (tmp_path, tmp_path / "absent"):
        with pytest.raises(DataError, match=message):
            Workspace(root).latest(kind, **conditions)


def test_a_relative_folder_is_shown_as_such() -> None:
    assert [Workspace(Path(name)).shown for name in ("gptfl-work", "../x", "/x")] == ["./gptfl-work", "../x", "/x"]


HOLDER = """
import os, sys
from pathlib import Path
from gptfl.store.workspace import Workspace
with Workspace(Path(sys.argv[1])).lock("gptfl collect"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_dies(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        message = rf"another gptfl collect \(process {holder.pid}\) is writing to .*use another --workspace"
        with pytest.raises(ResourceError, match=message), space.lock("gptfl fit"):
            pass
        holder.kill()
        holder.wait()
        (tmp_path / ".a.h5.gptfl-0123abcd.part").write_text("half")
        with space.lock("gptfl fit"):
            assert not list(tmp_path.glob(".*.part"))


def test_the_same_thread_may_lock_again_and_another_may_not(tmp_path: Path) -> None:
    space, refused = Workspace(tmp_path / "new"), []

    def other() -> None:
        try:
            with space.lock("gptfl fit"):
                pass
        except ResourceError as error:
            refused.append(str(error))

    with space.lock("gptfl compare"), space.lock("gptfl fit"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert "another gptfl compare" in refused[0]
    other()
    assert len(refused) == 1


def test_what_fails_before_it_writes_leaves_nothing(tmp_path: Path) -> None:
    space = Workspace(tmp_path / "new" / "deep")
    for there in ((), ("notes.txt",)):
        for name in there:
            space.root.mkdir(parents=True)
            (space.root / name).write_text("mine")
        with pytest.raises(KeyboardInterrupt), space.lock("gptfl fit"), space.lock("gptfl fit"):
            raise KeyboardInterrupt
        assert sorted(path.name for path in space.root.glob("*")) == sorted(there)
        assert (tmp_path / "new").exists() == bool(there)


def test_what_was_there_or_was_written_stays(tmp_path: Path) -> None:
    space = Workspace(tmp_path / "new")
    with suppress(KeyboardInterrupt), space.lock("gptfl fit"):
        (space.root / "a.h5").write_text("mine")
        raise KeyboardInterrupt
    assert [path.name for path in space.root.iterdir()] == ["a.h5"]
    with space.lock("gptfl fit"):
        pass
    before = sorted(space.root.iterdir())
    with pytest.raises(KeyboardInterrupt), space.lock("gptfl fit"):
        raise KeyboardInterrupt
    assert sorted(space.root.iterdir()) == before


def test_a_folder_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(ResourceError, match="taken can't be written"), Workspace(tmp_path / "taken").lock("gptfl fit"):
        pass


def test_a_folder_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    space = Workspace(tmp_path / ("x" * 300))
    with pytest.raises(ResourceError, match=r"x can't be read: File name too long: .*another --workspace"):
        space.latest("dynamics")
    with pytest.raises(ResourceError, match="File name too long"), space.lock("gptfl fit"):
        pass


def test_a_full_disk_leaves_no_lock_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = Workspace(tmp_path / "work")

    def full(path: Path, *_: object, **__: object) -> None:
        path.touch()
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(ResourceError, match="work can't be written: No space left"), space.lock("gptfl fit"):
            pass
    assert not space.root.exists()
    with space.lock("gptfl fit"):
        pass


def test_a_reference_run_lies_beside_its_recording(tmp_path: Path) -> None:
    assert reference_folder(tmp_path / "a.dynamics.h5") == tmp_path / "a.dynamics.h5.reference"
    assert REFERENCE == "reference.json"
