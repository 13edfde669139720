import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from gptfl.errors import DataError
from gptfl.store import hdf5
from gptfl.store.files import create, header_of, open_file
from gptfl.store.kinds import SIMULATOR
from tests.undigested import without_digests


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


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    with create(tmp_path / "a.h5", SIMULATOR, settings={"a": 1}, inputs={}) as file:
        hdf5.put_array(file, "value", np.arange(1000))
    return without_digests(tmp_path / "a.h5")


@pytest.mark.parametrize(("harm", "message"), HOSTILE, ids=lambda x: getattr(x, "__name__", ""))
def test_what_gptfl_does_not_write_is_refused(
    plain: Path, harm: Callable[[h5py.File, Path], None], message: str
) -> None:
    with h5py.File(plain, "r+", libver=("v110", "v110")) as file:
        harm(file, plain.parent)
    with pytest.raises(DataError, match=message), open_file(plain, SIMULATOR):
        pass


def test_more_than_the_limit_is_neither_read_nor_written(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="more than"), open_file(plain, SIMULATOR, max_bytes=8000):
        pass
    monkeypatch.setattr(hdf5, "_MAX_TEXT", 2000)
    with (
        pytest.raises(DataError, match="the examples take more than"),
        create(plain, SIMULATOR, settings={}, inputs={}) as file,
    ):
        hdf5.put_lines(file, "examples", ["x" * 1000] * 2)


@pytest.mark.parametrize(("mask", "shuffle"), [(0, False), (0, True), (1, True)])
@pytest.mark.parametrize(
    "packed",
    [zlib.compress(bytes(10**6)), zlib.compress(bytes(100)), zlib.compress(bytes(800))[:-2], b"no deflate"],
    ids=["bomb", "short", "cut", "noise"],
)
def test_a_chunk_unpacks_to_what_it_declares_or_is_refused(
    plain: Path, packed: bytes, mask: int, shuffle: bool
) -> None:
    with h5py.File(plain, "r+") as file:
        dataset = file.create_dataset("x", (100,), "f8", chunks=(100,), compression="gzip", shuffle=shuffle)
        dataset.id.write_direct_chunk((0,), packed, mask)
    with open_file(plain, SIMULATOR) as file, pytest.raises(DataError, match="chunk in /x"):
        hdf5.get_array(file, "x")


def test_a_chunk_that_skipped_its_filters_is_read(plain: Path) -> None:
    values = np.random.default_rng(0).random(100)
    with h5py.File(plain, "r+") as file:
        dataset = file.create_dataset("x", (100,), "f8", chunks=(100,), compression="gzip", shuffle=True)
        dataset.id.write_direct_chunk((0,), values.tobytes(), 3)
    with open_file(plain, SIMULATOR) as file:
        np.testing.assert_array_equal(hdf5.get_array(file, "x"), values)


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
