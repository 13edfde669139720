"""Results come before the files they are written to."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from gptfl.errors import DataError, NotKept, ResourceError
from gptfl.store.outputs import ResultWriter


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
