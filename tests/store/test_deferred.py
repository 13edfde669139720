"""What is wrong with an open file and is told last."""

import threading
from pathlib import Path

import h5py
import pytest

from gptfl.errors import DataError
from gptfl.store.deferred import check_unchanged, defer, raise_deferred


def problem(text: str) -> DataError:
    return DataError(text, "make it again")


def test_the_first_problem_is_told_at_the_end(whole: Path) -> None:
    reached = []

    def read(file: h5py.File) -> None:
        with raise_deferred(file):
            defer(file["value"], problem("first"))
            defer(file, problem("second"))
            reached.append(True)

    with h5py.File(whole) as file, pytest.raises(DataError, match="first"):
        read(file)
    assert reached


def test_what_is_raised_within_is_told_instead_and_nothing_is_left(whole: Path) -> None:
    def read(file: h5py.File) -> None:
        with raise_deferred(file):
            defer(file, problem("first"))
            raise problem("another")

    with h5py.File(whole) as file:
        with pytest.raises(DataError, match="another"):
            read(file)
        check_unchanged(file)
        with raise_deferred(file):
            pass


def test_a_problem_is_told_once_and_of_its_file_alone(whole: Path, tmp_path: Path) -> None:
    with h5py.File(whole) as file, h5py.File(tmp_path / "b.h5", "w") as other:
        defer(file, problem("first"))
        check_unchanged(other)
        with pytest.raises(DataError, match="first"):
            check_unchanged(file)
        check_unchanged(file)


def test_each_thread_hears_of_what_it_read(whole: Path) -> None:
    with h5py.File(whole) as file, raise_deferred(file):
        thread = threading.Thread(target=defer, args=(file, problem("elsewhere")))
        thread.start()
        thread.join()
