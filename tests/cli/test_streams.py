"""Streams that are lost and signals that come at any moment: one line, the right exit code, no traceback."""

import os
import signal
import subprocess
import sys
import time

import pytest

from gptfl.cli.streams import Sink

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and /dev/full of other systems differ")
GPTFL = f"{sys.executable} -m gptfl"


def shell(line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", f"set -o pipefail; {line}"], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("arguments", "code"), [("--version", 0), ("--help", 0), ("plugins --jsn", 2)])
def test_a_reader_that_leaves_is_no_failure(arguments: str, code: int) -> None:
    done = shell(f"{GPTFL} {arguments} | true")
    assert done.returncode == code
    assert done.stderr.count("\n") == (code != 0)


@pytest.mark.parametrize(
    ("streams", "code", "message"),
    [
        (">&-", 5, "error: stdout can't be written (it is closed): send it elsewhere"),
        (">/dev/full", 5, "error: stdout can't be written (No space left on device): send it elsewhere"),
        ("2>&-", 0, ""),
        ("2>/dev/full", 0, ""),
        (">&- 2>&- <&-", 5, ""),
    ],
)
def test_what_can_not_be_printed_is_reported_once(streams: str, code: int, message: str) -> None:
    done = shell(f"{GPTFL} --version {streams}")
    assert done.returncode == code
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == bool(message)


def test_a_failure_is_reported_rather_than_a_lost_stream() -> None:
    done = shell(f"{GPTFL} plugins --jsn >&-")
    assert done.returncode == 2
    assert done.stderr.startswith("error: No such option: --jsn")


def test_a_full_pipe_that_does_not_block_is_waited_for() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    code = f"import time; time.sleep(0.2); import os; print(len(open({read}, 'rb').read()))"
    with subprocess.Popen([sys.executable, "-c", code], pass_fds=[read], stdout=subprocess.PIPE, text=True) as reader:
        os.close(read)
        sink = Sink(write)
        assert sink.write(b"x" * 300_000) == 300_000
        os.close(write)
        assert reader.stdout is not None
        assert reader.stdout.read() == "300000\n"
    assert sink.failure is None


WAITS = """
import os, signal, sys
import gptfl.cli.main, gptfl.cli.console
def wait(*arguments, **options):
    print("ready", flush=True)
    import time
    time.sleep(60)
gptfl.cli.console.registry = wait
sys.argv = ["gptfl", "plugins"]
from gptfl.__main__ import run
run()
"""


@pytest.mark.usefixtures("heeded")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_every_request_to_stop_ends_alike(name: str) -> None:
    number = getattr(signal, name)
    with subprocess.Popen(
        [sys.executable, "-c", WAITS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        _, err = process.communicate()
    assert process.returncode == 128 + number
    assert err == "interrupted: nothing half-written was left\n"


LOADS = """
import sys, types
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "gptfl.cli.main":
            print("loading", flush=True)
            import time
            time.sleep(60)
sys.meta_path.insert(0, Slow())
from gptfl.__main__ import run
run()
"""


@pytest.mark.usefixtures("heeded")
def test_a_request_to_stop_while_libraries_are_loaded_is_one_line() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LOADS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "loading\n"
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130
    assert err == "interrupted: nothing half-written was left\n"
