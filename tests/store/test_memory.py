"""Files in memory know the paths they are meant for."""

from pathlib import Path

import h5py
import pytest

from gptfl.store.memory import Memory, path_of


@pytest.mark.parametrize("name", ["a.h5", "größe a%20b.h5", "memory:a.h5", "line\nend", "\udcff.h5"])
def test_a_file_is_named_by_its_path_in_memory_and_on_disk(tmp_path: Path, name: str) -> None:
    memory = Memory(tmp_path / name)
    with h5py.File(memory, "w") as file:
        file["a/b"] = 1
        assert path_of(file["a"]) == tmp_path / name
    if name.isprintable():
        (tmp_path / name).write_bytes(memory.getvalue())
        with h5py.File(tmp_path / name) as file:
            assert path_of(file["a"]) == tmp_path / name


def test_what_was_written_is_there_to_read(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "a.h5")
    with h5py.File(memory, "w") as file:
        file["a"] = [1, 2]
    with h5py.File(Memory(tmp_path / "b.h5", memory.getvalue())) as file:
        assert file["a"][()].tolist() == [1, 2]
