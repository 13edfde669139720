"""Compressed files are read like others, and only where they are whole, plain and of a fair size."""

import gzip
import os
from pathlib import Path

import pyarrow as pa
import pytest

from gptfl.errors import DataError, ResourceError
from gptfl.store import unpacked
from gptfl.store.safety import TRUST
from tests.store.rows_of_files import KINDS, MUCH, compressed, read, rows, written


@pytest.mark.parametrize("how", ["gz", "zst"])
@pytest.mark.parametrize(("kind", "unit"), [("jsonl", b'{"text":"a"}\n'), ("csv", b"text\n"), ("parquet", bytes(100))])
def test_a_small_file_does_not_become_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, unit: bytes, how: str
) -> None:
    monkeypatch.setattr(unpacked, "FREE_BYTES", 2**16)
    path = tmp_path / f"a.{kind}.{how}"
    text = b"text\n" * (kind == "csv") + unit * 20_000
    if how == "gz":
        path.write_bytes(gzip.compress(text))
    else:
        with pa.CompressedOutputStream(str(path), "zstd") as file:
            file.write(text)
    with pytest.raises(DataError, match=MUCH):
        rows(path)
    if kind == "jsonl":
        monkeypatch.setenv(TRUST, "1")
        assert len(rows(path)) == 20_000


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.json.gz", "a.parquet", "a.jsonl.zst"])
def test_rows_come_from_plain_files_alone(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match="is not a plain file"):
        rows(tmp_path / name)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(DataError, match="is not a plain file"):
        rows(tmp_path / name)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["gz", "zst"])
def test_a_compressed_file_that_is_cut_or_none_is_reported(tmp_path: Path, kind: str, how: str) -> None:
    path = compressed(written(tmp_path, kind), how)
    for data in (path.read_bytes()[:-9], b"nothing of the kind"):
        path.write_bytes(data)
        with pytest.raises(DataError, match=f"{path.name} is no whole (gzip|Zstandard) file: compress or copy"):
            read(path)


def test_zstandard_that_nothing_can_read_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = compressed(written(tmp_path, "jsonl"), "zst")
    monkeypatch.setattr("gptfl.store.compressed.arrow_reads", lambda name: False)
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    with pytest.raises(ResourceError, match="pip install zstandard"):
        read(path)
