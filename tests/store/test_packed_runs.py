"""A run as one array of bytes comes back as it was, and bytes that are no run are one line."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from gptfl.core import Run
from gptfl.core.runs import run_fingerprint
from gptfl.errors import DataError
from gptfl.store import files
from gptfl.store.kinds import RUN
from gptfl.store.packed_runs import MAX_HEAD, put_packed_run
from gptfl.store.run_files import read_run
from gptfl.store.runs import put_run

RunMaker = Callable[[int], Run]


def write(path: Path, put: Callable[[h5py.File], None]) -> Path:
    with files.create(path, RUN, settings={}, inputs={"examples": "e", "recording": "r"}) as file:
        put(file)
    return path


def put_bytes(file: h5py.File, data: bytes) -> None:
    from gptfl.store import hdf5

    hdf5.put_array(file, "run", np.frombuffer(data, np.uint8), packed=False)


def packed(run: Run, tmp_path: Path) -> tuple[dict[str, Any], bytes]:
    """The line of JSON of a run, and the bytes behind it."""
    with h5py.File(write(tmp_path / "whole.h5", lambda file: put_packed_run(file, run))) as file:
        head, values = file["run"][()].tobytes().split(b"\n", 1)
    return json.loads(head), values


@pytest.mark.parametrize("seconds", [None, 1.5])
def test_a_run_comes_back(tmp_path: Path, make_run: RunMaker, seconds: float | None) -> None:
    losses = np.arange(6, dtype=np.float32).reshape(3, 2)
    run = replace(
        make_run(7),
        metrics={"loss": losses, "été/x": losses.astype(np.float64) * np.nan},
        derivatives={"loss": losses.astype(">f4")},
        seconds=seconds,
    )
    read, header = read_run(write(tmp_path / "a.h5", lambda file: put_packed_run(file, run)))
    assert run_fingerprint(read) == run_fingerprint(replace(run, derivatives={"loss": losses}))
    assert (read.name, read.seed, read.role, read.seconds) == (run.name, run.seed, run.role, seconds)
    assert [array.dtype for array in read.metrics.values()] == [np.float32, np.float64]
    np.testing.assert_array_equal(read.derivatives["loss"], losses)
    assert header.inputs == {"examples": "e", "recording": "r"}
    read.metrics["loss"][0] = 5  # what is read can be written to


def test_the_first_version_is_read(tmp_path: Path, make_run: RunMaker) -> None:
    run = make_run(3)
    read, _ = read_run(write(tmp_path / "a.h5", lambda file: put_run(file.create_group("runs"), run)))
    assert run_fingerprint(read) == run_fingerprint(run)


def test_any_numpy_reads_it(tmp_path: Path, make_run: RunMaker) -> None:
    run = make_run(3)
    head, values = packed(run, tmp_path)
    for group, name, dtype, shape in head["arrays"]:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if (group, name) == ("metrics", "loss"):
            np.testing.assert_array_equal(np.frombuffer(values[:size], dtype).reshape(shape), run.metrics["loss"])
        values = values[size:]
    assert values == b""


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda head: head.update(index=True), "has no index and seed"),
        (lambda head: head.update(seed=2**64), "has no index and seed"),
        (lambda head: head.update(role=None), "has no role"),
        (lambda head: head.update(seconds=-1.0), "took no length of time"),
        (lambda head: head.update(seconds=10**400), "took no length of time"),
        (lambda head: head.update(arrays={}), "lists no arrays"),
        (lambda head: head["arrays"].pop(), "has other arrays than a run"),
        (lambda head: head["arrays"].append(["metrics", "x", "<f8", [9, 9]]), "ends too early"),
        (lambda head: head["arrays"].append(["metrics", "x", "<f8", [2**60, 9]]), "lists an array of another kind"),
        (lambda head: head["arrays"].append(["metrics", "x", "<f8", [2**40, 2**40]]), "ends too early"),
        (lambda head: head["arrays"].append(["metrics", "x", "O", [1, 1]]), "lists an array of an unknown type"),
        (lambda head: head["arrays"].append(["metrics", "x", "<f1", [1, 1]]), "lists an array of an unknown type"),
        (lambda head: head["arrays"].append(["metrics", "x", "<i8", [0, 0]]), "of another kind than a run's metrics"),
        (lambda head: head["arrays"].append(["metrics", "x", "<f8", [0, -1]]), "of another kind than a run's metrics"),
        (lambda head: head["arrays"].append(["metrics", "x", "<f8"]), "lists an array without name, type and shape"),
        (lambda head: head["arrays"].append(["", "x", "<f8", [0]]), "an array that belongs to no run"),
        (lambda head: head["arrays"].append(["others", "x", "<f8", [0, 0]]), "an array that belongs to no run"),
        (lambda head: head["arrays"].append(head["arrays"][0]), "an array that belongs to no run, or one twice"),
        (lambda head: head["arrays"].pop(0), "has other arrays than a run|ends too early"),
    ],
)
def test_a_line_that_lies_is_refused(
    tmp_path: Path, make_run: RunMaker, change: Callable[[dict[str, Any]], None], problem: str
) -> None:
    head, values = packed(make_run(3), tmp_path)
    change(head)
    data = json.dumps(head).encode() + b"\n" + values
    path = write(tmp_path / "a.h5", lambda file: put_bytes(file, data))
    with pytest.raises(DataError, match=rf"a\.h5 is damaged: /run .*({problem})"):
        read_run(path)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "doesn't begin with a line"),
        (b"x" * (MAX_HEAD + 1) + b"\n", "doesn't begin with a line"),
        (b"\xff\n", "is not UTF-8 text"),
        (b"{\n", "is no JSON|is not"),
        (b"[" * 100_000 + b"\n", "deep"),
        (b"[]\n", "lists no arrays"),
        (b'{"index": 1, "index": 2}\n', "twice"),
    ],
)
def test_what_is_no_line_is_refused(tmp_path: Path, data: bytes, problem: str) -> None:
    path = write(tmp_path / "a.h5", lambda file: put_bytes(file, data))
    with pytest.raises(DataError, match=rf"a\.h5 is damaged: /run .*({problem})"):
        read_run(path)


def test_numbers_of_other_widths_are_no_bytes(tmp_path: Path) -> None:
    from gptfl.store import hdf5

    path = write(tmp_path / "a.h5", lambda file: hdf5.put_array(file, "run", np.zeros(3, np.uint16)))
    with pytest.raises(DataError, match=r"a\.h5 is damaged: /run holds uint16, not bytes"):
        read_run(path)


def test_a_changed_byte_is_found(tmp_path: Path, make_run: RunMaker) -> None:
    path = write(tmp_path / "a.h5", lambda file: put_packed_run(file, make_run(3)))
    with h5py.File(path, "r+", libver="v110") as file:
        file["run"][-1] = file["run"][-1] ^ 1
    with pytest.raises(DataError, match=r"a\.h5 is damaged: /run is not as it was written"):
        read_run(path)
