"""Numbers and texts that go into an open file come back as they were, or are refused in one line."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from gptfl.errors import DataError
from gptfl.store import hdf5
from gptfl.store.examples import get_examples
from gptfl.store.files import create, open_file
from gptfl.store.kinds import SIMULATOR


def test_lines_are_counted_before_any_is_parsed(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "_FREE_LINES", 10)
    with h5py.File(whole, "r+", libver="v110") as file:
        text = np.frombuffer(b"1\n" * 5000, dtype=np.uint8)
        file.create_dataset("x", data=text, compression="gzip")
        monkeypatch.setattr(hdf5, "parse_json", lambda *args, **kwargs: pytest.fail("parsed"))
        with pytest.raises(DataError, match="5,000 lines 'x' in"):
            next(hdf5.get_lines(file, "x"))


def test_the_other_order_of_bytes_becomes_this_machines(whole: Path) -> None:
    with h5py.File(whole, "r+", libver="v110") as file:
        file["x"] = np.arange(3.0).astype(">f8")
        found = hdf5.get_array(file, "x")
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, [0, 1, 2])


def test_more_than_the_limit_is_neither_read_nor_written(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="more than"), open_file(plain, SIMULATOR, max_bytes=8000):
        pass
    monkeypatch.setattr(hdf5, "_MAX_TEXT", 2000)
    with (
        pytest.raises(DataError, match="the examples take more than"),
        create(plain, SIMULATOR, settings={}, inputs={}) as file,
    ):
        hdf5.put_lines(file, "examples", ["x" * 1000] * 2)


ROW = {"id": "a", "prompt": "p", "target": "t", "choices": [], "label": None, "fields": {}, "digest": "d"}


def test_the_first_wrong_line_ends_the_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = []
    monkeypatch.setattr(hdf5, "parse_json", lambda text, lenient: parsed.append(text) or json.loads(text))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        hdf5.put_lines(file, "pool", [ROW, 3, *[ROW] * 50])
        with pytest.raises(DataError, match="line 2 is no example"):
            get_examples(file, "pool")
    assert len(parsed) == 2
