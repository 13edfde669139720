"""What a file of a certain size may unpack to, and how many lines and objects it may hold."""

import os
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from gptfl.core import Dynamics, Run
from gptfl.errors import DataError
from gptfl.store import hdf5, jsonlines, safety
from gptfl.store.chunks import read_array
from gptfl.store.files import create, open_file
from gptfl.store.kinds import SIMULATOR
from gptfl.store.recordings import append_run, read_dynamics, write_dynamics


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    with create(tmp_path / "a.h5", SIMULATOR, settings={"a": 1}, inputs={}) as file:
        hdf5.put_array(file, "value", np.arange(1000))
    return tmp_path / "a.h5"


def zeros(path: Path, size: int) -> None:
    """Puts in chunks of zeros, which take a thousandth of what they unpack to."""
    packed = zlib.compress(bytes(2**20), 9)
    with h5py.File(path, "r+", libver="v110") as file:
        made = file.create_dataset("x", (size,), "u1", chunks=(2**20,), compression="gzip")
        for start in range(0, size, 2**20):
            made.id.write_direct_chunk((start,), packed)
        del file.attrs["digest"]


def test_a_small_file_does_not_unpack_to_much(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zeros(plain, 2**30)
    with pytest.raises(DataError, match=r"unpacks to 1,07\d.* 64 MiB and 16 times its size.*GPTFL_TRUST_FILES=1"):
        open_file(plain, SIMULATOR).__enter__()
    monkeypatch.setenv(safety.TRUST, "1")
    with open_file(plain, SIMULATOR) as file:
        assert file["x"].size == 2**30


def test_holes_are_no_size(plain: Path) -> None:
    zeros(plain, 2**30)
    os.truncate(plain, 2**30)
    if plain.stat().st_blocks * 512 == 2**30:
        pytest.skip("the file system keeps no holes")
    with pytest.raises(DataError, match="unpacks to"):
        open_file(plain, SIMULATOR).__enter__()


def test_what_packs_very_well_is_written_so_that_it_is_read(
    tmp_path: Path, dynamics: Dynamics, make_run: Callable[[int], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.dynamics.h5"
    write_dynamics(path, dynamics)
    unbounded = path.stat().st_size
    monkeypatch.setattr(safety, "FREE_BYTES", 2**16)
    steps = np.arange(2001)
    always = {"loss": np.ones((2001, 2), dtype=np.float32)}
    curriculum = replace(
        dynamics.runs[0].curriculum, batches=np.zeros((2000, 8), dtype=np.int64), learning_rates=np.ones(2000)
    )
    runs = tuple(replace(make_run(index), curriculum=curriculum, steps=steps, metrics=always) for index in (0, 3))
    write_dynamics(path, replace(dynamics, runs=runs))
    assert unbounded < path.stat().st_size < 2**16
    append_run(path, replace(runs[0], index=5))
    found = read_dynamics(path)
    assert [run.index for run in found.runs] == [0, 3, 5]
    np.testing.assert_array_equal(found.runs[2].metrics["loss"], always["loss"])


def test_objects_count(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(plain, "r+", libver="v110") as file:
        for index in range(200):
            file.create_group(f"many/{index}")
    with open_file(plain, SIMULATOR):
        pass
    monkeypatch.setattr(safety, "FREE_BYTES", 2**20)
    monkeypatch.setattr(safety, "FREE_RATIO", 1)
    with pytest.raises(DataError, match=r"has at /many more than .* objects, too many for its size"):
        open_file(plain, SIMULATOR).__enter__()


def test_groups_of_an_old_form_are_refused(plain: Path) -> None:
    with h5py.File(plain, "r+", libver=("earliest", "latest")) as file:
        file.create_group("old")
    with pytest.raises(DataError, match="at /old a group of the form that HDF5 had before"):
        open_file(plain, SIMULATOR).__enter__()


def test_lines_are_counted_before_any_is_parsed(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "_FREE_LINES", 10)
    with h5py.File(plain, "r+", libver="v110") as file:
        text = np.frombuffer(b"1\n" * 5000, dtype=np.uint8)
        file.create_dataset("x", data=text, compression="gzip")
        monkeypatch.setattr(hdf5, "parse_json", lambda *args, **kwargs: pytest.fail("parsed"))
        with pytest.raises(DataError, match="5,000 lines 'x' in"):
            next(hdf5.get_lines(file, "x"))


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<i2", "u1", "?", "<f2"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_chunks_are_read_as_hdf5_reads_them(tmp_path: Path, dtype: str, shuffle: bool) -> None:
    values = np.random.default_rng(0).integers(0, 2, size=(7, 5, 3)).astype(dtype)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        packed = file.create_dataset("x", data=values, chunks=(3, 5, 2), compression="gzip", shuffle=shuffle)
        partly = file.create_dataset("y", (7, 5), dtype, chunks=(2, 2), compression="gzip", fillvalue=1)
        partly[:3, 1] = 0
        for dataset in (packed, partly, file.create_dataset("z", data=values)):
            found = read_array(dataset.id)
            assert found.dtype == dataset.dtype
            np.testing.assert_array_equal(found, dataset[()])


def test_wider_floats_than_any_file_of_gptfl_has_are_refused(plain: Path) -> None:
    with h5py.File(plain, "r+", libver="v110") as file:
        file["x"] = np.zeros(3, dtype=np.longdouble)
    with pytest.raises(DataError, match="values that are not numbers"):
        open_file(plain, SIMULATOR).__enter__()


def test_the_other_order_of_bytes_becomes_this_machines(plain: Path) -> None:
    with h5py.File(plain, "r+", libver="v110") as file:
        file["x"] = np.arange(3.0).astype(">f8")
        found = hdf5.get_array(file, "x")
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, [0, 1, 2])


def test_blank_lines_and_lines_beyond_the_limit_are_reported_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("{}\n" * 20)
    with pytest.raises(DataError, match="more than 10 lines"):
        next(jsonlines.read_json_lines(path, "x", jsonlines.Limits(100, 1000, 10)))
    monkeypatch.setattr(jsonlines, "MAX_BLANK", 5)
    path.write_text("\n" * 6)
    with pytest.raises(DataError, match="more than 5 blank lines"):
        list(jsonlines.read_json_lines(path, "x"))


def test_only_plain_files_are_read_whole(tmp_path: Path) -> None:
    (tmp_path / "zero").symlink_to("/dev/zero")
    with pytest.raises(DataError, match="not a plain file"):
        jsonlines.read_plain(tmp_path / "zero", 10)
    (tmp_path / "long").write_bytes(b"x" * 11)
    with pytest.raises(DataError, match="larger than 10 bytes"):
        jsonlines.read_plain(tmp_path / "long", 10)
    assert jsonlines.read_plain(tmp_path / "long", 11) == b"x" * 11


@pytest.mark.parametrize(
    "wrong",
    [
        {"learning_rate": 1e300},
        {"learning_rate": "fast"},
        {"learning_rate": True},
        {"betas": [0.9]},
        {"betas": [0.9, 1.0]},
        {"max_length": -1},
        {"max_length": 2**64},
        {"accumulate": 0},
        {"train_layers": [1]},
        {"flip_labels": float("nan")},
        {"lora": 3},
        {"metrics": [1]},
        {"shard": "yes"},
        {"seed": -1},
        {"steps": 10**400},
        {"task": None},
        {"source": {}},
    ],
)
def test_settings_of_another_kind_are_refused(tmp_path: Path, dynamics: Dynamics, wrong: dict[str, object]) -> None:
    with pytest.raises(DataError, match=f"has the setting {next(iter(wrong))} = "):
        write_dynamics(tmp_path / "a.h5", replace(dynamics, settings=wrong))


def test_settings_that_may_be_null(tmp_path: Path, dynamics: Dynamics) -> None:
    write_dynamics(tmp_path / "a.h5", replace(dynamics, settings={"learning_rate": None, "lora": None, "other": [1]}))
