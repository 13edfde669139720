"""Calls of tokenizers end in time, on Ctrl-C, and in one line where their code panics."""

import os
import signal
import tempfile
import threading

import pytest
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from gptfl.errors import DataError
from gptfl.training import timed
from gptfl.training.timed import split_in_time


def test_a_call_gives_what_it_returns() -> None:
    assert split_in_time(lambda: [1, 2], 3, "T") == [1, 2]


def test_what_a_call_raises_is_one_line() -> None:
    def fail() -> None:
        raise ValueError("no\nsuch token")

    with pytest.raises(DataError, match=r"T can't split a text into tokens \(ValueError: no such token\)"):
        split_in_time(fail, 3, "T")


def test_a_call_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timed, "SECONDS", 0.0)
    release = threading.Event()
    with pytest.raises(DataError, match="T can't split a text into tokens: 20 characters take more than 0 s"):
        split_in_time(release.wait, 20, "T")
    release.set()


def test_ctrl_c_ends_the_wait() -> None:
    release = threading.Event()

    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        release.wait()

    # A process that a shell has put into the background begins with the signal ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            split_in_time(interrupt, 20, "T")
    finally:
        signal.signal(signal.SIGINT, before)
        release.set()


def test_an_expression_that_tries_all_ways_is_refused_without_a_word_of_rust(capfd: pytest.CaptureFixture[str]) -> None:
    made = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(".?" * 40 + "(?<=zz)"), "isolated")
    with pytest.raises(DataError, match=r"T can.t split a text into tokens .PanicException: .*retry-limit"):
        split_in_time(lambda: made.encode_batch(["the sun is red"]), 14, "T")
    assert capfd.readouterr().err == ""


def test_what_else_is_said_meanwhile_comes_after(capfd: pytest.CaptureFixture[str]) -> None:
    split_in_time(lambda: os.write(2, b"a warning\n"), 3, "T")
    assert capfd.readouterr().err == "a warning\n"


def test_of_two_threads_both_leave_stderr_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    first, second = threading.Event(), threading.Event()

    def call(mine: threading.Event, other: threading.Event) -> None:
        mine.set()
        other.wait()

    threads = [
        threading.Thread(target=split_in_time, args=(lambda pair=pair: call(*pair), 3, "T"))
        for pair in ((first, second), (second, first))
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


def test_without_room_for_a_file_it_goes_on(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    assert split_in_time(lambda: os.write(2, b"said"), 3, "T") == 4
    assert capfd.readouterr().err == "said"
