"""What gptfl raises when the user, a file or a plugin is at fault.

Anything else that escapes is a bug and keeps its traceback.
"""

from typing import Any, ClassVar


class GptflError(Exception):
    """A problem that the user can mend, told in one line.

    ``problem`` names the value and the place, ``remedy`` says what to do about it.
    ``exit_code`` is what the command line exits with.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, problem: str, remedy: str = "") -> None:
        self.problem = " ".join(problem.split())
        self.remedy = " ".join(remedy.split())
        super().__init__(f"{self.problem}: {self.remedy}" if self.remedy else self.problem)


class GptflWarning(UserWarning):
    """Something beside the result that the user should know; the command line prints it as a note."""


class UsageError(GptflError):
    """An option's value, or a combination of options, that makes no sense."""

    exit_code = 2


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
