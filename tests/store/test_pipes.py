"""What is read once: plain files, pipes and devices, some of which keep their reader waiting."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gptfl.errors import GptflWarning
from gptfl.store import pipes
from gptfl.store.jsonlines import Limits, text_lines

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="others open pipes otherwise")
LIMITS = Limits(100, 10_000)


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "fifo")
    return tmp_path / "fifo"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipes, "PATIENCE", 0.02)


def lines(path: Path) -> list[str]:
    return [text for _, text in text_lines(path, LIMITS)]


def writing(path: Path, *pieces: tuple[float, bytes]) -> threading.Thread:
    """A thread that opens a pipe and writes each piece so many seconds later."""

    def write() -> None:
        with path.open("wb", buffering=0) as file:
            for wait, piece in pieces:
                time.sleep(wait)
                file.write(piece)

    thread = threading.Thread(target=write)
    thread.start()
    return thread


@pytest.mark.usefixtures("impatient")
def test_a_pipe_that_nobody_writes_to_is_reported_and_then_read(fifo: Path) -> None:
    later = threading.Timer(0.1, writing, [fifo, (0.0, b"a\nb"), (0.1, b"c\n")])
    later.start()
    with pytest.warns(
        GptflWarning, match=rf"waiting for what the pipe {fifo} has to give \(Ctrl-C ends that\)"
    ) as warned:
        assert lines(fifo) == ["a", "bc"]
    assert len(warned) == 1


def test_what_comes_soon_is_read_without_a_word(fifo: Path) -> None:
    writer = writing(fifo, (0.0, b"a\n" * 3000))
    assert lines(fifo) == ["a"] * 3000
    writer.join()


def test_a_pipe_that_is_closed_unwritten_is_empty(fifo: Path) -> None:
    writing(fifo)
    assert lines(fifo) == []


def test_the_shells_own_pipes_are_read() -> None:
    reading, write = os.pipe()
    try:
        os.write(write, b"a\nb\n")
        os.close(write)
        assert lines(Path(f"/dev/fd/{reading}")) == ["a", "b"]
    finally:
        os.close(reading)
    assert lines(Path("/dev/null")) == []


@pytest.fixture
def alarm() -> Iterator[None]:
    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    former = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, former)


@pytest.mark.usefixtures("impatient", "alarm")
def test_waiting_can_be_interrupted(fifo: Path) -> None:
    with pytest.warns(GptflWarning, match="waiting"), pytest.raises(KeyboardInterrupt):
        lines(fifo)


def test_no_handle_is_left_open(fifo: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    writer = writing(fifo, (0.0, b"x" * 200))
    with pytest.raises(Exception, match="longer than 100 bytes"):
        lines(fifo)
    writer.join()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
