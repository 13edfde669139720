"""Results come before the files they are written to, and what an output may overwrite."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from gptfl.errors import DataError, NotKept, ResourceError
from gptfl.store.files import create
from gptfl.store.kinds import FEATURES, SIMULATOR
from gptfl.store.outputs import ResultWriter, check_plain_target, check_target
from gptfl.store.parquet_rows import write_parquet


@dataclass(frozen=True)
class Result:
    value: int
    output: Path | None = Path("a.json")
    figure: Path | None = Path("a.png")
    unkept: tuple[str, ...] = ()


def fail(error: Exception) -> None:
    raise error


def test_what_can_be_written_is() -> None:
    seen = []
    writer = ResultWriter(Result(1))
    writer.draw("figure", lambda known: seen.append(known.value), required=False)
    writer.write("output", lambda known: seen.append(known.figure))
    assert writer.finish() == Result(1)
    assert seen == [1, Path("a.png")]


def test_a_lost_picture_is_reported_and_the_rest_written() -> None:
    writer = ResultWriter(Result(1))
    writer.draw("figure", lambda _: fail(ValueError("no such font")), required=False)
    writer.write("output", lambda known: None)
    message = "a.png can't be drawn (ValueError: no such font): the numbers stand without it"
    assert writer.finish() == Result(1, figure=None, unkept=(message,))


def test_what_was_asked_for_and_lost_is_an_error_that_has_the_result() -> None:
    writer = ResultWriter(Result(1))
    writer.draw("figure", lambda _: fail(ResourceError("a.png can't be written", "x")), required=True)
    writer.write("output", lambda _: fail(ResourceError("a.json can't be written", "y")))
    with pytest.raises(NotKept, match=r"a\.png can't be written: x") as caught:
        writer.finish()
    assert caught.value.exit_code == 5
    assert caught.value.result == Result(1, None, None, ("a.json can't be written: y",))


def test_other_errors_of_a_table_are_not_hidden() -> None:
    writer = ResultWriter(Result(1))
    with pytest.raises(DataError):
        writer.write("output", lambda _: fail(DataError("a bug")))


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


def test_parquet_of_other_people_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    write_parquet(path, {"id": str}, iter(()), "gptfl rank")
    check_plain_target(path, "--output")
    write_parquet(path, {"id": str}, iter(()), "my script")
    with pytest.raises(DataError, match=r"train\.parquet is not a \.parquet file as gptfl writes them"):
        check_plain_target(path, "--output")


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg", ".json", ".csv", ".parquet", ".tex", ".PNG"])
def test_a_picture_or_table_replaces_only_its_like(tmp_path: Path, simulator: Path, suffix: str) -> None:
    taken = tmp_path / f"a{suffix}"
    taken.write_bytes(simulator.read_bytes())
    with pytest.raises(DataError, match=r"a\.\w+ is not a \.\w+ file as gptfl writes them.*another --figure"):
        check_plain_target(taken, "--figure")
