"""Starts Python processes as copies of one that has loaded the libraries, which takes ten seconds of a processor.

What such a process does, what it is given and how it ends is as of ``subprocess.Popen``. How an interpreter starts is
left to the tests that start one.
"""

import contextlib
import gc
import io
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, NoReturn

_LINK: list[socket.socket] = []
"""To the process that is copied, where there is one."""


def begin() -> None:
    """Set a copy of this process aside, unless there is one: before it computes, since what torch starts then can't be copied."""
    if _LINK:
        return
    import transformers.models.gpt_neox.modeling_gpt_neox
    import transformers.models.llama.modeling_llama  # noqa: F401

    import gptfl.recording.collect  # noqa: F401

    ours, theirs = socket.socketpair()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other threads of this process hold nothing that the copy needs
        if os.fork() == 0:
            ours.close()
            _serve(theirs)
    theirs.close()
    _LINK.append(ours)


def end() -> None:
    """Let go of the copy, which ends."""
    while _LINK:
        _LINK.pop().close()


class Popen:
    """A Python process with the part of ``subprocess.Popen`` that gptfl and its tests ask for."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] = os.environ,
        cwd: Any = None,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | IO[str] | None = None,
        **_: object,
    ) -> None:
        assert command[0] == sys.executable
        self.returncode: int | None = None
        self._waiting = threading.Lock()
        ends = [os.pipe() if one == subprocess.PIPE else None for one in (stdin, stdout, stderr)]
        nowhere = os.open(os.devnull, os.O_RDWR)
        places = [nowhere if one == subprocess.DEVNULL else one for one in (stdin, stdout, stderr)]
        given = [
            ends[place][0 if place == 0 else 1] if ends[place] else _number(places[place], place)  # type: ignore[index]
            for place in range(3)
        ]
        self._report, theirs = socket.socketpair()
        message = {"command": [*command[1:]], "env": dict(env), "cwd": str(cwd or Path.cwd())}
        text = json.dumps(message).encode()
        socket.send_fds(_LINK[0], [len(text).to_bytes(4, "big")], [*given, theirs.fileno()])
        _LINK[0].sendall(text)
        theirs.close()
        os.close(nowhere)
        for place, pair in enumerate(ends):
            if pair:
                os.close(pair[0 if place == 0 else 1])
        self.stdin, self.stdout, self.stderr = (
            None if pair is None else os.fdopen(pair[0 if place else 1], "r" if place else "w", encoding="utf-8")
            for place, pair in enumerate(ends)
        )
        self.pid = int.from_bytes(self._report.recv(4), "big")

    def poll(self) -> int | None:
        """The exit code, if it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, minus the signal's number where one ended it."""
        # Several threads may wait.
        if self.returncode is None and not select.select([self._report], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("a copied process", timeout or 0)
        with self._waiting:
            if self.returncode is None:
                self.returncode = int.from_bytes(self._report.recv(4), "big", signed=True)
            return self.returncode

    def __del__(self) -> None:
        self._report.close()

    def kill(self) -> None:
        """End it by SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it hasn't ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def communicate(self) -> tuple[str | None, str | None]:
        """What it printed, once it has ended; one of the streams alone may be a pipe."""
        if self.stdin is not None:
            self.stdin.close()
        out, err = (None if one is None else one.read() for one in (self.stdout, self.stderr))
        for one in (self.stdout, self.stderr):
            if one is not None:
                one.close()
        self.wait()
        return out, err


def run(command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """What ``subprocess.run`` gives of such a process whose output is captured as text."""
    with TemporaryFile("w+", encoding="utf-8") as stderr:
        process = Popen(command, stdout=subprocess.PIPE, stderr=stderr, **options)
        out, _ = process.communicate()
        stderr.seek(0)
        return subprocess.CompletedProcess([*command], process.wait(), out, stderr.read())


def _number(stream: int | IO[str] | None, place: int) -> int:
    return place if stream is None else stream if isinstance(stream, int) else stream.fileno()


def _serve(link: socket.socket) -> NoReturn:
    """Copy this process whenever it is asked for, until the one that asks is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        head, given, _, _ = socket.recv_fds(link, 4, 4)
        if not head:
            os._exit(0)
        text = b""
        while len(text) < int.from_bytes(head, "big"):
            text += link.recv(2**16)
        if os.fork() == 0:
            link.close()
            _watch(json.loads(text), given)
        for one in given:
            os.close(one)


def _watch(message: Mapping[str, Any], given: list[int]) -> NoReturn:
    """Start one process, and tell its number and how it ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    report = given.pop()
    pid = os.fork()
    if pid == 0:
        os.close(report)
        _become(message, given)
    for one in given:
        os.close(one)
    os.write(report, pid.to_bytes(4, "big"))
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(BrokenPipeError):
        os.write(report, os.waitstatus_to_exitcode(status).to_bytes(4, "big", signed=True))
    os._exit(0)


def _become(message: Mapping[str, Any], given: list[int]) -> NoReturn:
    """Be what a new interpreter would be."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for place, one in enumerate(given):
        os.dup2(one, place)
        os.close(one)
    sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False), encoding="utf-8")
    sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(n, "w", closefd=False), encoding="utf-8", line_buffering=True) for n in (1, 2))  # fmt: skip
    os.environ.clear()
    os.environ.update(message["env"])
    os.chdir(message["cwd"])
    here = [] if "-P" in message["command"] else [message["cwd"]]
    more = [*here, *message["env"].get("PYTHONPATH", "").split(os.pathsep)]
    sys.path[:0] = [one for one in more if one and one not in sys.path]
    warnings.resetwarnings()
    warnings.simplefilter("ignore", DeprecationWarning)
    gc.enable()
    import torch

    from gptfl.plugins.registry import installed

    torch.set_num_threads(1)
    installed.cache_clear()  # plugins are looked for along this process's path
    code = 0
    try:
        _run([one for one in message["command"] if one != "-P"])
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1 if stop.code else 0
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run(command: list[str]) -> None:
    kind, what, *arguments = command
    sys.argv = [kind, *arguments]
    if kind == "-c":
        exec(what, {"__name__": "__main__"})
    else:
        runpy.run_module(what, run_name="__main__", alter_sys=True)
