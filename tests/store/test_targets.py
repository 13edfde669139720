"""What an output may overwrite, and that everything else stays as it is."""

from pathlib import Path

import pytest

from gptfl.errors import DataError
from gptfl.store.files import create
from gptfl.store.kinds import FEATURES, SIMULATOR
from gptfl.store.outputs import check_plain_target, check_target


@pytest.fixture
def simulator(tmp_path: Path) -> Path:
    with create(tmp_path / "a.h5", SIMULATOR, settings={}, inputs={}):
        pass
    return tmp_path / "a.h5"


def test_a_free_path_and_a_file_of_the_same_kind_may_be_written(tmp_path: Path, simulator: Path) -> None:
    check_target(simulator, SIMULATOR)
    check_target(tmp_path / "new" / "b.h5", SIMULATOR)
    check_plain_target(tmp_path / "b.png", "--figure")


def test_another_kind_is_kept(tmp_path: Path, simulator: Path) -> None:
    with pytest.raises(DataError, match=r"a\.h5 is a simulator, not a features file, and is not.*another --output"):
        check_target(simulator, FEATURES)
    (tmp_path / "ids.txt").write_text("one\n")
    with pytest.raises(DataError, match=r"ids\.txt is no whole simulator .*no HDF5 file"):
        check_target(tmp_path / "ids.txt", SIMULATOR)
    with pytest.raises(DataError, match="is not a file"):
        check_target(tmp_path, SIMULATOR)
    with pytest.raises(DataError, match=r"--output .*name too long"):
        check_target(tmp_path / ("x" * 300), SIMULATOR)


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg", ".json", ".csv", ".tex", ".PNG"])
def test_a_picture_or_table_replaces_only_its_like(tmp_path: Path, simulator: Path, suffix: str) -> None:
    taken = tmp_path / f"a{suffix}"
    taken.write_bytes(simulator.read_bytes())
    with pytest.raises(DataError, match=r"a\.\w+ is not a \.\w+ file as gptfl writes them.*another --figure"):
        check_plain_target(taken, "--figure")
