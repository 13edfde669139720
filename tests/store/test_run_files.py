"""Runs that lie beside their recording until they are merged into it."""

import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from gptfl.core import Dynamics, GradientProducts, Run
from gptfl.errors import DataError, ResourceError
from gptfl.recording.inspect import inspect
from gptfl.recording.unlock import unlock
from gptfl.store import safety
from gptfl.store.recordings import append_gradients, append_run, merge_runs, read_dynamics, write_dynamics
from gptfl.store.run_files import read_run
from gptfl.store.workspace import Workspace

RunMaker = Callable[[int], Run]


@pytest.fixture
def recording(tmp_path: Path, dynamics: Dynamics, make_run: RunMaker) -> Path:
    """A recording of one run, with runs 1 and 2 beside it."""
    path = tmp_path / "a.dynamics.h5"
    write_dynamics(path, replace(dynamics, runs=(make_run(0),)))
    append_run(path, make_run(1))
    append_run(path, make_run(2))
    return path


def beside(recording: Path) -> list[str]:
    folder = recording.with_name(f"{recording.name}.runs")
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def indices(recording: Path) -> list[int]:
    return [run.index for run in read_dynamics(recording).runs]


def test_a_run_is_a_file_until_it_is_merged(recording: Path, dynamics: Dynamics, make_run: RunMaker) -> None:
    whole = replace(dynamics, runs=tuple(map(make_run, range(3))))
    before = recording.read_bytes()
    assert beside(recording) == ["run-0001.h5", "run-0002.h5"]
    assert read_dynamics(recording).fingerprint == whole.fingerprint
    assert recording.read_bytes() == before
    merge_runs(recording)
    assert beside(recording) == []
    assert not recording.with_name(f"{recording.name}.runs").exists()
    assert read_dynamics(recording).fingerprint == whole.fingerprint
    before = recording.read_bytes()
    merge_runs(recording)
    assert recording.read_bytes() == before


def test_what_a_run_costs_does_not_grow_with_the_recording(
    tmp_path: Path, dynamics: Dynamics, make_run: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gptfl.store import safety

    looked_at: list[str] = []
    check = safety.check_dataset
    monkeypatch.setattr(
        safety, "check_dataset", lambda one, path, where: looked_at.append(where) or check(one, path, where)
    )
    counts = []
    for size in (1, 30):
        path = tmp_path / f"{size}.h5"
        write_dynamics(path, replace(dynamics, runs=tuple(map(make_run, range(size)))))
        looked_at.clear()
        append_run(path, make_run(100))
        append_run(path, make_run(101))
        counts.append(len(looked_at))
    assert counts[0] == counts[1]


def test_a_merge_looks_at_each_array_once(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gptfl.store import safety

    looked_at: list[str] = []
    check = safety.check_dataset
    merge_runs(recording)
    append_gradients(recording, products(4, 2))
    monkeypatch.setattr(
        safety, "check_dataset", lambda one, path, where: looked_at.append(where) or check(one, path, where)
    )
    append_run(recording, replace(read_dynamics(recording).runs[0], index=7))
    looked_at.clear()
    merge_runs(recording)
    in_recording = [where for where in looked_at if where.startswith("/runs/run-0000")]
    assert len(in_recording) == len(set(in_recording)) > 0


def products(pool: int, test: int) -> GradientProducts:
    steps, rates = np.array([0]), np.array([0.1])
    both, own = np.ones((1, pool, test), np.float32), np.ones((1, pool), np.float32)
    return GradientProducts(1, steps, rates, both, both, own, own)


def test_what_is_added_to_a_recording_takes_the_runs_in(recording: Path) -> None:
    append_gradients(recording, products(4, 2))
    assert beside(recording) == []
    assert indices(recording) == [0, 1, 2]
    assert read_dynamics(recording).gradients is not None


def test_a_run_in_both_counts_where_it_was_merged(recording: Path, make_run: RunMaker) -> None:
    kept = {path: path.read_bytes() for path in recording.with_name(f"{recording.name}.runs").iterdir()}
    merge_runs(recording)
    before = recording.read_bytes()
    recording.with_name(f"{recording.name}.runs").mkdir()
    for path in kept:
        path.write_bytes(b"damaged meanwhile")
    assert indices(recording) == [0, 1, 2]
    with pytest.raises(DataError, match="has run-0001 already"):
        append_run(recording, make_run(1))
    merge_runs(recording)
    assert (beside(recording), recording.read_bytes()) == ([], before)


def test_a_run_is_appended_once(recording: Path, make_run: RunMaker) -> None:
    for index in (0, 2):
        with pytest.raises(DataError, match=f"has run-{index:04d} already"):
            append_run(recording, make_run(index))


@pytest.mark.parametrize("harm", [b"", b"no HDF5 file", None])
def test_a_damaged_run_is_named_with_what_helps(recording: Path, harm: bytes | None) -> None:
    path = recording.with_name(f"{recording.name}.runs") / "run-0002.h5"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 4] if harm is None else harm)
    for read in (read_dynamics, merge_runs, inspect):
        with pytest.raises(DataError, match=r"run-0002\.h5 .*: delete that file, and gptfl collect records the run"):
            read(recording)
    path.unlink()
    assert indices(recording) == [0, 1]


def test_a_later_gptfl_is_asked_for_and_nothing_else(recording: Path) -> None:
    path = recording.with_name(f"{recording.name}.runs") / "run-0002.h5"
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = 9
    with pytest.raises(DataError, match=r"run-0002\.h5 has format version 9.*: upgrade gptfl"):
        read_dynamics(recording)


@pytest.mark.parametrize("change", ["settings", "examples"])
def test_runs_of_another_recording_are_not_mixed_in(recording: Path, dynamics: Dynamics, change: str) -> None:
    other = recording.with_name("b.dynamics.h5")
    changed = {"settings": {"task": "another"}, "examples": {}}[change]
    test = dynamics.test if change == "settings" else dynamics.test[::-1]
    write_dynamics(other, replace(dynamics, runs=dynamics.runs[:1], test=test, settings=changed or dynamics.settings))
    other.replace(recording)
    for read in (read_dynamics, merge_runs):
        with pytest.raises(DataError, match=r"run-000.\.h5 is a run of another recording than .*: move .* away"):
            read(recording)
    assert beside(recording) == ["run-0001.h5", "run-0002.h5"]


def test_runs_of_another_recording_are_not_deleted_where_it_has_runs_of_these_names(
    recording: Path, dynamics: Dynamics, make_run: RunMaker
) -> None:
    other = recording.with_name("b.dynamics.h5")
    write_dynamics(other, replace(dynamics, runs=tuple(map(make_run, range(4))), settings={"task": "another"}))
    other.replace(recording)
    for change in (read_dynamics, merge_runs, lambda path: append_gradients(path, products(4, 2))):
        with pytest.raises(DataError, match=r"run-0001\.h5 is a run of another recording than .*: move .* away"):
            change(recording)
    assert beside(recording) == ["run-0001.h5", "run-0002.h5"]


def test_a_recording_is_not_begun_where_runs_of_another_lie(recording: Path, dynamics: Dynamics) -> None:
    recording.unlink()
    with pytest.raises(
        DataError, match=r"a\.dynamics\.h5\.runs holds runs of another recording.*put that recording back"
    ):
        write_dynamics(recording, dynamics)
    assert beside(recording) == ["run-0001.h5", "run-0002.h5"]


def test_a_link_to_a_recording_has_its_runs(recording: Path, tmp_path: Path, make_run: RunMaker) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.dynamics.h5"
    link.symlink_to(recording)
    assert indices(link) == [0, 1, 2]
    append_run(link, make_run(4))
    assert indices(recording) == [0, 1, 2, 4]
    merge_runs(link)
    assert link.is_symlink()
    assert beside(recording) == []
    assert indices(recording) == indices(link) == [0, 1, 2, 4]


def test_other_things_in_the_folder_stay(recording: Path) -> None:
    folder = recording.with_name(f"{recording.name}.runs")
    for name in ("notes.txt", "run-7.h5", "run-00012.h5"):
        (folder / name).write_text("mine")
    assert indices(recording) == [0, 1, 2]
    merge_runs(recording)
    assert beside(recording) == ["notes.txt", "run-00012.h5", "run-7.h5"]


def test_a_place_that_is_taken_is_named(recording: Path, make_run: RunMaker) -> None:
    merge_runs(recording)
    folder = recording.with_name(f"{recording.name}.runs")
    folder.write_text("mine")
    assert indices(recording) == [0, 1, 2]
    with pytest.raises(ResourceError, match=r"a\.dynamics\.h5\.runs can't be written.*clear the way"):
        append_run(recording, make_run(5))
    assert folder.read_text() == "mine"


def test_more_than_can_be_read_is_reported_without_advice_to_delete(
    recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gptfl.store.run_files.MAX_BYTES", 100)
    with pytest.raises(DataError, match=r"runs holds more than .* GiB unpacked: gptfl reads no recording that large"):
        read_dynamics(recording)


def zeros(path: Path, size: int) -> None:
    """Puts in chunks of zeros, which take a thousandth of what they unpack to, and no digest tells."""
    packed = zlib.compress(bytes(2**20), 9)
    with h5py.File(path, "r+", libver="v110") as file:
        made = file.create_dataset("x", (size,), "u1", chunks=(2**20,), compression="gzip")
        for start in range(0, size, 2**20):
            made.id.write_direct_chunk((start,), packed)
        del file.attrs["digest"]


def test_together_they_unpack_to_no_more_than_one_file_of_their_sizes(
    recording: Path, make_run: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safety, "FREE_BYTES", 3 * 2**20)
    append_run(recording, make_run(3))
    for index in (1, 2, 3):
        path = recording.with_name(f"{recording.name}.runs") / f"run-000{index}.h5"
        zeros(path, 2**21)
        read_run(path)  # each is within its own bounds
    with pytest.raises(DataError, match=r"a\.dynamics\.h5\.runs of .* bytes unpacks to .*GPTFL_TRUST_FILES=1"):
        read_dynamics(recording)
    with pytest.raises(DataError, match=r"a\.dynamics\.h5\.runs of .* bytes unpacks to"):
        merge_runs(recording)
    assert beside(recording) == ["run-0001.h5", "run-0002.h5", "run-0003.h5"]
    monkeypatch.setenv(safety.TRUST, "1")
    assert indices(recording) == [0, 1, 2, 3]


def test_files_that_hold_nothing_count(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = recording.with_name(f"{recording.name}.runs")
    for index in range(5, 50):
        (folder / f"run-00{index:02}.h5").touch()
    with pytest.raises(DataError, match=r"run-0005\.h5 is empty"):
        read_dynamics(recording)
    monkeypatch.setattr(safety, "FREE_BYTES", 20 * safety.OBJECT_BYTES)
    with pytest.raises(DataError, match=r"a\.dynamics\.h5\.runs of .* bytes unpacks to"):
        read_dynamics(recording)


def test_any_number_of_runs_that_gptfl_wrote_is_within_the_bounds(
    recording: Path, make_run: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    always = {"loss": np.ones((3, 2), dtype=np.float32)}
    monkeypatch.setattr(safety, "FREE_BYTES", 2**18)
    for index in range(3, 10):
        append_run(recording, replace(make_run(index), metrics=always))
    assert indices(recording) == list(range(10))
    merge_runs(recording)
    assert indices(recording) == list(range(10))


def test_inspect_counts_them_and_shows_one(recording: Path) -> None:
    rows = dict(inspect(recording).rows)
    assert rows["runs"].startswith("3 (")
    assert rows["beside the file"] == "2 of the runs lie in a.dynamics.h5.runs until gptfl collect merges them"
    rows = dict(inspect(recording.with_name(f"{recording.name}.runs") / "run-0002.h5").rows)
    assert rows["kind"] == "run of a recording (gptfl-run, format version 2)"
    assert rows["run"] == "run 2 (fit)"
    merge_runs(recording)
    assert "beside the file" not in dict(inspect(recording).rows)


def test_a_run_that_was_left_open_is_unlocked(recording: Path) -> None:
    path = recording.with_name(f"{recording.name}.runs") / "run-0002.h5"
    code = f"import h5py, os; file = h5py.File({str(path)!r}, 'r+', libver='v110'); os._exit(0)"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(ResourceError, match=r"run-0002\.h5 is open to write.*gptfl unlock .*run-0002\.h5"):
        read_dynamics(recording)
    assert unlock(path).changed
    assert indices(recording) == [0, 1, 2]


def test_the_recording_that_a_run_was_added_to_last_is_taken(recording: Path, dynamics: Dynamics) -> None:
    other = recording.with_name("b.dynamics.h5")
    write_dynamics(other, dynamics)
    later = other.stat().st_mtime_ns + 10**9
    assert Workspace(recording.parent).latest("dynamics").path == other
    os.utime(recording.with_name(f"{recording.name}.runs"), ns=(later, later))
    assert Workspace(recording.parent).latest("dynamics").path == recording
