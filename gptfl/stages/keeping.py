"""Writes what a stage came to once it is known: what can't be written takes nothing from the result."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Generic, TypeVar

from gptfl.errors import GptflError, NotKept, ResourceError

R = TypeVar("R")


class Keeping(Generic[R]):
    """A result on its way to disk.

    Its fields that name a file become None where that can't be written. What was asked for makes ``settled`` raise;
    what comes beside it, as a picture does, is told in the result's ``unkept``.
    """

    def __init__(self, result: R) -> None:
        self.result = result
        self._asked: list[GptflError] = []
        self._beside: list[GptflError] = []

    def write(self, field: str, write: Callable[[R], object]) -> None:
        """Write the file that the result's ``field`` names, which was asked for."""
        try:
            write(self.result)
        except ResourceError as error:
            self._lose(field, error, asked=True)

    def draw(self, field: str, draw: Callable[[R], object], asked: bool) -> None:
        """Draw the picture that ``field`` names. Whatever matplotlib stumbles over, the result stands."""
        try:
            draw(self.result)
        except GptflError as error:
            self._lose(field, error, asked)
        except Exception as error:  # told with its type, so that it is no less a bug
            path = getattr(self.result, field)
            what = f"{path} can't be drawn ({type(error).__name__}: {error})"
            self._lose(field, ResourceError(what, "the numbers stand without it"), asked)

    def settled(self) -> R:
        """The result. Raises ``NotKept``, which has it, where what was asked for couldn't be written."""
        told = tuple(str(error) for error in (*self._asked[1:], *self._beside))
        result: R = replace(self.result, unkept=told)  # type: ignore[type-var]
        for first in self._asked:
            raise NotKept(first.problem, first.remedy, result) from first
        return result

    def _lose(self, field: str, error: GptflError, asked: bool) -> None:
        (self._asked if asked else self._beside).append(error)
        nothing: dict[str, Any] = {field: None}
        self.result = replace(self.result, **nothing)  # type: ignore[type-var]
