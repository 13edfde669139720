"""What a group lists, under the names that were given."""

from pathlib import Path

import h5py
import pytest

from gptfl.errors import DataError
from gptfl.store.links import encode_name, links_in, names_in

NAMES = ["b/c", ".", "..", "a b", "größe", "100%", "%2E", "a\nb", "🙂"]


def test_any_name_is_given_back(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for number, name in enumerate(NAMES):
            file[encode_name(name)] = number
        assert names_in(file) == sorted(NAMES)
        assert [int(file[encode_name(name)][()]) for name in NAMES] == list(range(len(NAMES)))


def test_links_come_with_their_types_in_the_order_of_their_bytes(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w", track_order=True) as file:
        file["é"] = 1
        file["z"] = h5py.SoftLink("/nowhere")
        file["a"] = h5py.ExternalLink("other.h5", "/x")
        assert links_in(file.id) == [
            (b"a", h5py.h5l.TYPE_EXTERNAL),
            (b"z", h5py.h5l.TYPE_SOFT),
            ("é".encode(), h5py.h5l.TYPE_HARD),
        ]
        assert links_in(file.create_group("empty").id) == []


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(DataError, match="an array has an empty name: name it"):
        encode_name("")
