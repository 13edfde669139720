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
from gptfl.store import safety
from gptfl.store.files import header_of, open_file
from gptfl.store.kinds import SIMULATOR
from gptfl.store.recordings import append_run, read_dynamics, write_dynamics


def external_link(file: h5py.File, folder: Path) -> None:
    file["x"] = h5py.ExternalLink(str(folder / "secret.h5"), "/x")


def soft_link(file: h5py.File, folder: Path) -> None:
    file["x"] = h5py.SoftLink("/settings")


def two_names(file: h5py.File, folder: Path) -> None:
    file["x"] = file["settings"]


def a_circle(file: h5py.File, folder: Path) -> None:
    group = file.create_group("x")
    group["x"] = group


def external_storage(file: h5py.File, folder: Path) -> None:
    (folder / "secret").write_bytes(bytes(range(8)))
    file.create_dataset("x", (8,), "u1", external=[(str(folder / "secret"), 0, 8)])


def virtual(file: h5py.File, folder: Path) -> None:
    with h5py.File(folder / "secret.h5", "w") as secret:
        secret["x"] = np.arange(8)
    layout = h5py.VirtualLayout((8,), "i8")
    layout[:] = h5py.VirtualSource(str(folder / "secret.h5"), "x", (8,))
    file.create_virtual_dataset("x", layout)


def long_strings(file: h5py.File, folder: Path) -> None:
    file.create_dataset("x", data=["a", "b"], dtype=h5py.string_dtype())


def references(file: h5py.File, folder: Path) -> None:
    file.create_dataset("x", data=file["settings"].ref, dtype=h5py.ref_dtype)


def compound(file: h5py.File, folder: Path) -> None:
    file["x"] = np.zeros(3, dtype=[("a", "i4"), ("b", "f8")])


def no_values(file: h5py.File, folder: Path) -> None:
    file["x"] = h5py.Empty("f8")


def a_type(file: h5py.File, folder: Path) -> None:
    file["x"] = np.dtype("f8")


def other_filter(file: h5py.File, folder: Path) -> None:
    file.create_dataset("x", data=np.zeros(100), compression="lzf")


def many_groups(file: h5py.File, folder: Path) -> None:
    file.create_group("/".join("x" * 20))


def never_written(file: h5py.File, folder: Path) -> None:
    file.create_dataset("x", (2**40,), "f8", chunks=(1024,), compression="gzip")


def large_chunks(file: h5py.File, folder: Path) -> None:
    file.create_dataset("x", data=np.zeros(2**23 + 1), chunks=(2**23 + 1,), compression="gzip")


HOSTILE: list[tuple[Callable[[h5py.File, Path], None], str]] = [
    (external_link, "at /x a link to elsewhere"),
    (soft_link, "at /x a link to elsewhere"),
    (two_names, "one object too many"),
    (a_circle, "at /x/x one object too many"),
    (external_storage, "keeps the data of /x elsewhere"),
    (virtual, "keeps the data of /x elsewhere"),
    (long_strings, "at /x values that are not numbers"),
    (references, "at /x values that are not numbers"),
    (compound, "at /x values that are not numbers"),
    (no_values, "at /x no values"),
    (a_type, "at /x neither an array nor a group"),
    (other_filter, "packs /x with a filter other than gzip"),
    (many_groups, "neither an array nor a group"),
    (never_written, "declares 8,796,093,022,208 bytes at /x and holds 0"),
    (large_chunks, "chunks of more than 64 MiB"),
]


@pytest.mark.parametrize(("harm", "message"), HOSTILE, ids=lambda x: getattr(x, "__name__", ""))
def test_what_gptfl_does_not_write_is_refused(
    plain: Path, harm: Callable[[h5py.File, Path], None], message: str
) -> None:
    with h5py.File(plain, "r+", libver=("v110", "v110")) as file:
        harm(file, plain.parent)
    with pytest.raises(DataError, match=message), open_file(plain, SIMULATOR):
        pass


@pytest.mark.parametrize("value", ["long and of any length", np.bytes_(b"x" * 5000), np.arange(3), h5py.Empty("S4")])
def test_a_strange_kind_is_refused(plain: Path, value: object) -> None:
    with h5py.File(plain, "r+") as file:
        file.attrs["kind"] = value
    with pytest.raises(DataError, match="strange attribute 'kind'"), open_file(plain, None):
        pass


@pytest.mark.parametrize("text", [b"{", b"[]", b'{"a": NaN, "b": ', b"\xff\xfe", b"[" * 100_000])
def test_a_malformed_header_is_damage(plain: Path, text: bytes) -> None:
    with h5py.File(plain, "r+") as file:
        del file["settings"]
        file["settings"] = np.bytes_(text)
    with open_file(plain, None) as file, pytest.raises(DataError, match="is damaged"):
        header_of(file)


def zeros(path: Path, size: int) -> None:
    """Puts in chunks of zeros, which take a thousandth of what they unpack to."""
    packed = zlib.compress(bytes(2**20), 9)
    with h5py.File(path, "r+", libver="v110") as file:
        made = file.create_dataset("x", (size,), "u1", chunks=(2**20,), compression="gzip")
        for start in range(0, size, 2**20):
            made.id.write_direct_chunk((start,), packed)
        del file.attrs["digest"]


def test_a_small_file_does_not_unpack_to_much(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zeros(whole, 2**30)
    with pytest.raises(DataError, match=r"unpacks to 1,07\d.* 64 MiB and 16 times its size.*GPTFL_TRUST_FILES=1"):
        open_file(whole, SIMULATOR).__enter__()
    monkeypatch.setenv(safety.TRUST, "1")
    with open_file(whole, SIMULATOR) as file:
        assert file["x"].size == 2**30


def test_holes_are_no_size(whole: Path) -> None:
    zeros(whole, 2**30)
    os.truncate(whole, 2**30)
    if whole.stat().st_blocks * 512 == 2**30:
        pytest.skip("the file system keeps no holes")
    with pytest.raises(DataError, match="unpacks to"):
        open_file(whole, SIMULATOR).__enter__()


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


def test_objects_count(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(whole, "r+", libver="v110") as file:
        for index in range(200):
            file.create_group(f"many/{index}")
    with open_file(whole, SIMULATOR):
        pass
    monkeypatch.setattr(safety, "FREE_BYTES", 2**20)
    monkeypatch.setattr(safety, "FREE_RATIO", 1)
    with pytest.raises(DataError, match=r"has at /many more than .* objects, too many for its size"):
        open_file(whole, SIMULATOR).__enter__()


def test_groups_of_an_old_form_are_refused(whole: Path) -> None:
    with h5py.File(whole, "r+", libver=("earliest", "latest")) as file:
        file.create_group("old")
    with pytest.raises(DataError, match="at /old a group of the form that HDF5 had before"):
        open_file(whole, SIMULATOR).__enter__()


def test_wider_floats_than_any_file_of_gptfl_has_are_refused(whole: Path) -> None:
    with h5py.File(whole, "r+", libver="v110") as file:
        file["x"] = np.zeros(3, dtype=np.longdouble)
    with pytest.raises(DataError, match="values that are not numbers"):
        open_file(whole, SIMULATOR).__enter__()
