"""``gptfl serve`` from the terminal: the address, and its end by Ctrl-C."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from gptfl.api.page_server import PageServer
from tests.api.sides import write
from tests.cli.test_errors import refuses


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("served"))


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_ctrl_c_ends_it_in_one_line(gptfl: Callable, space: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    number, answer = getattr(signal, name), PageServer.serve_forever

    def interrupted(self: PageServer) -> None:
        os.kill(os.getpid(), number)
        answer(self, poll_interval=0.01)

    monkeypatch.setattr(PageServer, "serve_forever", interrupted)
    files = sorted(space.iterdir())
    # A process that a shell has put into the background begins with the signal ignored.
    before = signal.signal(number, signal.default_int_handler)
    try:
        shown = gptfl("serve", "-w", str(space), "--no-comparison")
    finally:
        signal.signal(number, before)
    assert shown.code == 0, shown.err
    lines = shown.out.splitlines()
    assert lines[0].startswith("http://127.0.0.1:")
    assert lines[1:] == [
        "open it in a browser of this machine; Ctrl-C ends it",
        "stopped after 0 answers; nothing was written",
    ]
    assert "Traceback" not in shown.err
    assert sorted(space.iterdir()) == files


def test_what_cannot_be_shown_is_refused(gptfl: Callable, space: Path, tmp_path: Path) -> None:
    refuses(gptfl("serve", "-w", str(space), "--port", "99999"), 2, "--port is 99999: give a number from 0 to 65535")
    refuses(gptfl("serve", "-w", str(tmp_path)), 3)
    refuses(gptfl("serve", "-w", str(space), "--metric", "accuracy"), 3, "accuracy")
    refuses(gptfl("serve", "-w", str(space), "--estimator", "none"), 3, "none")
    refuses(gptfl("serve", "-w", str(space), "--port", "x"), 2, "port")
