"""Calls of tokenizers, whose rules come from files of unknown origin: bounded in time, and Ctrl-C ends them.

Their own code runs without looking at signals. So it runs in a thread, and the one that called it waits.
"""

import contextlib
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any

from gptfl import interruption
from gptfl.errors import DataError
from gptfl.training.loading import blamed

SECONDS, PER_SECOND = 30.0, 2000
"""A call may take so long, and a second more for every so many characters: slow tokenizers take some hundred thousand."""
TURN = 0.1
"""Seconds between looks."""
_GUARD = threading.Lock()


def split_in_time(call: Callable[[], Any], characters: int, tokenizer: str) -> Any:
    """What a tokenizer's ``call`` on so many ``characters`` returns.

    Raises ``DataError`` where it takes too long, or breaks off as tokenizers does where a regular expression takes too
    many turns. What takes too long goes on until the process ends.
    """
    limit = SECONDS + characters / PER_SECOND
    ended, made, raised = threading.Event(), [], []

    def work() -> None:
        try:
            made.append(call())
        except BaseException as error:
            raised.append(error)
        ended.set()

    problem, remedy = f"{tokenizer} can't split a text into tokens", "get the model's own tokenizer files again"
    with blamed(problem, remedy), _panics_withheld() as panicked:
        threading.Thread(target=work, daemon=True).start()
        waited = 0.0
        # Turns are counted, not the clock's time: a machine may have slept.
        while not ended.wait(TURN):
            interruption.check()
            waited += TURN
            if waited > limit:
                raise DataError(f"{problem}: {characters:,} characters take more than {limit:.0f} s", remedy)
        if raised:
            panicked.append(type(raised[0]).__name__ == "PanicException")
            raise raised[0]
    return made[0]


@contextlib.contextmanager
def _panics_withheld() -> Iterator[list[bool]]:
    """Keep from stderr what Rust prints of a panic, which is raised besides; all else that is printed follows after.

    The list that is yielded is to get True where there was a panic.
    """
    panicked: list[bool] = []
    with contextlib.ExitStack() as opened:
        said = None
        # There is one stderr: of two threads, the first has it.
        if _GUARD.acquire(blocking=False):
            opened.callback(_GUARD.release)
            with contextlib.suppress(OSError):  # there is no stderr, or no room
                kept = os.dup(2)
                opened.callback(os.close, kept)
                said = opened.enter_context(tempfile.TemporaryFile())
                os.dup2(said.fileno(), 2)
        try:
            yield panicked
        finally:
            if said is not None:
                os.dup2(kept, 2)
                said.seek(0)
                text = said.read()
                if text and not any(panicked):
                    with contextlib.suppress(OSError):
                        os.write(2, text)
