"""Files of the sketches of a run that goes on later."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gptfl.errors import DataError, ResourceError
from gptfl.recorder.sketch_files import KeptSketches, path_of, read_point, remove_points, write_point

ARRAYS = {"train": np.arange(6, dtype=np.float32).reshape(3, 2), "test": np.full((1, 2), np.nan, np.float32)}
SHAPES = {"train": (3, 2), "test": (1, 2), "split": (3, 2)}
MAYBE = frozenset({"split"})
DIGEST = "0123456789abcdef" * 4


def test_a_point_is_read_as_it_was_written_and_the_same_makes_the_same_file(tmp_path: Path) -> None:
    digest = write_point(tmp_path / "a", 7, ARRAYS)
    found = read_point(tmp_path / "a", 7, digest, SHAPES, MAYBE)
    assert {name: one.tobytes() for name, one in found.items()} == {name: one.tobytes() for name, one in ARRAYS.items()}
    assert write_point(tmp_path / "b", 7, dict(reversed(ARRAYS.items()))) == digest
    assert [path.name for path in (tmp_path / "a").iterdir()] == [f"step-000007-{digest[:16]}.safetensors"]


def test_what_isnt_that_point_is_refused(tmp_path: Path) -> None:
    digest = write_point(tmp_path, 7, ARRAYS)
    path = path_of(tmp_path, 7, digest)
    with pytest.raises(DataError, match=r"step-000008.* does not exist"):
        read_point(tmp_path, 8, digest, SHAPES, MAYBE)
    for shapes, optional in (({**SHAPES, "train": (3, 3)}, MAYBE), (SHAPES, frozenset()), ({"train": (3, 2)}, MAYBE)):
        with pytest.raises(DataError, match=re.escape(f"{path} holds sketches of other examples")):
            read_point(tmp_path, 7, digest, shapes, frozenset(optional))
    whole = write_point(tmp_path, 7, {**ARRAYS, "train": ARRAYS["train"].astype(np.int32)})
    with pytest.raises(DataError, match="holds sketches of other examples"):
        read_point(tmp_path, 7, whole, SHAPES, MAYBE)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match="is damaged: begin the run anew"):
        read_point(tmp_path, 7, digest, SHAPES, MAYBE)
    path.write_bytes(b"\0" * 2**17)
    with pytest.raises(DataError, match="is larger than"):
        read_point(tmp_path, 7, digest, SHAPES, MAYBE)


def test_a_file_that_is_known_and_holds_no_arrays_is_refused(tmp_path: Path) -> None:
    import hashlib

    digest = hashlib.sha256(b"none").hexdigest()
    path_of(tmp_path, 1, digest).write_bytes(b"none")
    with pytest.raises(DataError, match="is no file of sketches"):
        read_point(tmp_path, 1, digest, SHAPES, MAYBE)


def test_a_disk_that_refuses_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match="can't be written"):
        write_point(tmp_path / "file", 1, ARRAYS)


def test_what_was_written_is_deleted_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "points"
    remove_points(folder)
    write_point(folder, 1, ARRAYS)
    remove_points(folder)
    assert not folder.exists()
    write_point(folder, 1, ARRAYS)
    (folder / "notes.txt").touch()
    remove_points(folder)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_what_a_checkpoint_says_goes_through_json() -> None:
    kept = KeptSketches(64, "*mlp*", {0: DIGEST, 3: DIGEST[::-1]}, (1.0, 0.1, 1 / 3), 2.5, True)
    assert KeptSketches.from_json(json.loads(json.dumps(kept.to_json())), 3) == kept
    assert kept.only((3,)).points == {3: DIGEST[::-1]}


@pytest.mark.parametrize(
    "change",
    [
        {"points": {"4": DIGEST}},
        {"points": {"1": "../../x"}},
        {"clipped": [1.0]},
        {"clipped": [1.0, 2.0, 1.0]},
        {"modules": 3},
        {"points": []},
        {"dimensions": None},
    ],
)
def test_what_says_something_else_is_no_state(change: dict[str, Any]) -> None:
    kept = KeptSketches(64, None, {0: DIGEST}, (1.0, 1.0, 1.0)).to_json()
    with pytest.raises((ValueError, TypeError, AttributeError)):
        KeptSketches.from_json({**kept, **change}, 3)
