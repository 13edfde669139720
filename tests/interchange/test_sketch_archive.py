"""Archives of gradient sketches, whole and hostile."""

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gptfl.errors import DataError
from gptfl.interchange import sketch_archive
from gptfl.interchange.sketch_archive import read_sketches
from tests.released import sketches


def test_sketches_are_scaled_and_in_order(tmp_path: Path) -> None:
    path = sketches(tmp_path / "s.npz")
    first, last = read_sketches(path, 6, 3)
    with np.load(path) as saved:
        np.testing.assert_allclose(first.train, saved["tr0"].astype(np.float32) * saved["tr0_scale"], rtol=1e-6)
        np.testing.assert_allclose(last.test, saved["te4"].astype(np.float32) * saved["te4_scale"], rtol=1e-6)
        np.testing.assert_allclose(
            last.preconditioned, saved["trp4"].astype(np.float32) * saved["trp4_scale"], rtol=1e-6
        )
    assert (first.step, last.step) == (0, 4)
    assert first.preconditioned is None
    assert first.train.dtype == np.float32


def test_a_scale_may_be_missing_and_an_array_in_fortran_order(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    train, test = np.asfortranarray(random.normal(size=(6, 4))), random.normal(size=(3, 4))
    np.savez(tmp_path / "s.npz", tr0=train, te0=test)
    (point,) = read_sketches(tmp_path / "s.npz", 6, 3)
    np.testing.assert_allclose(point.train, train, rtol=1e-6)
    np.testing.assert_allclose(point.test, test, rtol=1e-6)


@pytest.mark.parametrize(
    ("arrays", "pieces"),
    [
        ({"tr0": np.ones((5, 4))}, ("'tr0' has shape (5, 4), not (6, 4)", "6 training and 3 test")),
        ({"te4": np.ones((3, 5))}, ("'te4' has shape (3, 5), not (3, 4)",)),
        ({"tr0_scale": np.ones(2)}, ("'tr0_scale' has shape (2,), not ()",)),
        ({"tr9": np.ones((6, 4))}, ("'tr9' without 'te9'",)),
        ({"te9": np.ones((3, 4))}, ("'te9' without 'tr9'",)),
        ({"trp9": np.ones((6, 4)), "te9": np.ones((3, 4))}, ("'trp9' without 'tr9'",)),
        ({"extra": np.ones(3)}, ("holds 'extra.npy'",)),
        ({"tr04": np.ones((6, 4))}, ("holds 'tr04.npy'",)),
        ({"tr0": np.ones((6, 4), dtype=int)}, ("holds int64, not floats",)),
        ({"tr0": np.array([[None] * 4] * 6)}, ("tr0.npy holds object, not floats",)),
        ({"tr0": np.full((6, 4), np.nan)}, ("'tr0' holds values that are not finite",)),
        ({"tr0": np.full((6, 4), 1e300)}, ("'tr0' holds values that are not finite",)),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, arrays: dict[str, Any], pieces: tuple[str, ...]) -> None:
    path = sketches(tmp_path / "s.npz", **arrays)
    with pytest.raises(DataError) as caught:
        read_sketches(path, 6, 3)
    assert "--sketches" in str(caught.value)
    for piece in pieces:
        assert piece in str(caught.value)


def test_sketches_of_another_pool(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the texts are of 7 training and 3 test examples"):
        read_sketches(sketches(tmp_path / "s.npz"), 7, 3)


def header(shape: tuple[int, ...]) -> bytes:
    made = io.BytesIO()
    np.lib.format.write_array_header_1_0(made, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return made.getvalue()


@pytest.mark.parametrize(
    ("content", "piece"),
    [
        (b"", "tr0.npy is no array"),
        (b"\x93NUMPY\x01\x00\xff\xff" + b"{" * 60_000, "tr0.npy is no array"),
        (header((10**12, 10**6)), "declares shape (1000000000000, 1000000)"),
        (header((-6, -4)), "declares shape (-6, -4)"),
        (header((6, 4)) + bytes(10), "and holds"),
    ],
)
def test_hostile_arrays(tmp_path: Path, content: bytes, piece: str) -> None:
    path = tmp_path / "s.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tr0.npy", content)
    with pytest.raises(DataError) as caught:
        read_sketches(path, 6, 3)
    assert piece in str(caught.value)


def test_an_archive_that_unpacks_to_too_much_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sketch_archive, "MAX_UNPACKED", 100)
    with pytest.raises(DataError, match="unpacks to more than"):
        read_sketches(sketches(tmp_path / "s.npz"), 6, 3)


def test_what_the_directory_declares_is_all_that_is_unpacked(tmp_path: Path) -> None:
    path = sketches(tmp_path / "s.npz")
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = struct.pack("<I", 2**31 - 1)  # the unpacked size that the directory tells
    path.write_bytes(data)
    with pytest.raises(DataError, match="declares shape"):
        read_sketches(path, 6, 3)


@pytest.mark.parametrize(
    ("change", "piece"),
    [
        (lambda data: b"", "no whole .npz archive"),
        (lambda data: data[: len(data) // 2], "no whole .npz archive"),
        (lambda data: data[:100] + bytes([data[100] ^ 255]) + data[101:], "no whole .npz archive"),
    ],
)
def test_damaged_archives(tmp_path: Path, change: Any, piece: str) -> None:
    path = sketches(tmp_path / "s.npz")
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match=piece):
        read_sketches(path, 6, 3)
    with pytest.raises(DataError, match="can't be read"):
        read_sketches(tmp_path / "absent.npz", 6, 3)


def test_packings_that_bombs_use_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("te0.npy", b"0" * 1000)
    with pytest.raises(DataError, match="packed in an unknown way"):
        read_sketches(path, 6, 3)
