"""What gptfl raises when the user, a file or a plugin is at fault.

Anything else that escapes is a bug and keeps its traceback.
"""

import errno
import re
from typing import Any, ClassVar

FULL = re.compile(
    "can('|no)t allocate memory|not enough memory|out of memory|memory allocation failed|(unable|failed) to allocate"
    r"|bad[_ ]alloc|alloc_failed|could not create a (memory object|primitive(?! desc))|can't start new thread"
    "|init_[a-z]+ failed init",
    re.IGNORECASE,
)
"""How libraries tell that memory is full that have no class for it: torch and its kernels (oneDNN, CUDA), C++, HDF5,
LAPACK as numpy calls it, threads without room for a stack."""
UNSAFE = re.compile(
    # Control characters, line and paragraph separators, marks that reorder or hide text, half characters.
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
"""What no terminal should get from a text of unknown origin. The joiners of Persian and of emoji are not of it."""
LONGEST = 1000
"""So long is the problem or the remedy of an error at most; what they quote may be of any length."""
_BREAK = re.compile(r"\s*[\n\r\t\v\f\x1c-\x1e\x85\u2028\u2029]\s*")


def harmless(text: str, instead: str = "?", kept: str = "") -> str:
    """A text without what ``UNSAFE`` matches, but for the characters to be kept."""
    return UNSAFE.sub(lambda found: found[0] if found[0] in kept else instead, text)


def one_line(text: str) -> str:
    """A text on one line, without what a terminal would obey; other white space stays as it is."""
    return harmless(_BREAK.sub(" ", text).strip())


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST * 2 // 3]} ... {text[-LONGEST // 4 :]}"


class GptflError(Exception):
    """A problem that the user can mend, told in one line.

    ``problem`` names the value and the place, ``remedy`` says what to do about it.
    ``exit_code`` is what the command line exits with.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, problem: str, remedy: str = "") -> None:
        self.problem = _cut(one_line(problem))
        self.remedy = _cut(one_line(remedy))
        super().__init__(self.line)

    @property
    def line(self) -> str:
        """Problem and remedy as the command line prints them."""
        return f"{self.problem}: {self.remedy}" if self.remedy else self.problem


class GptflWarning(UserWarning):
    """Something beside the result that the user should know; the command line prints it as a note."""


class UsageError(GptflError):
    """An option's value, or a combination of options, that makes no sense.

    Where one ``option`` is at fault, given by its name in Python, the problem says what is wrong with it ("is 0"). The
    command line then names its ``flag``, and the exception itself the argument.
    """

    exit_code = 2

    def __init__(self, problem: str, remedy: str = "", *, option: str | None = None, flag: str | None = None) -> None:
        self.option = option
        if option is None:
            super().__init__(problem, remedy)
            return
        super().__init__(f"{flag or '--' + option.replace('_', '-')} {problem}", remedy)
        general = GptflError(f"{option} {problem}", remedy)
        self.args = (general.line,)


class DataError(GptflError):
    """A file, a task or a recording is missing, malformed or does not fit."""

    exit_code = 3


class PluginError(GptflError):
    """A registered part is unknown, broken or broke its promise."""

    exit_code = 4


class ResourceError(GptflError):
    """Disk, memory, network, device or another process stood in the way."""

    exit_code = 5


class NotKept(ResourceError):
    """What was computed couldn't be written; ``result`` is what the call would have returned."""

    def __init__(self, problem: str, remedy: str, result: Any) -> None:
        super().__init__(problem, remedy)
        self.result = result


def is_memory_full(error: BaseException) -> bool:
    """Whether memory ran out, that of a GPU or the machine's; torch, which has a class for it, may not be loaded."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        # A refusal of ours may quote such words.
        or (isinstance(error, Exception) and not isinstance(error, GptflError) and FULL.search(str(error)) is not None)
    )
