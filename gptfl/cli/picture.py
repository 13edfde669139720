"""Whether a command draws a picture, as ``--figure`` and ``--no-picture`` say together."""

from dataclasses import replace
from typing import Any, TypeVar

from gptfl.errors import UsageError

T = TypeVar("T")


def pictured(options: T) -> T:
    """The options as Python has them: without a picture, ``figure`` is False.

    Raises ``UsageError`` where a picture and none are asked for.
    """
    known: Any = options
    if hasattr(known, "study"):
        return replace(known, study=pictured(known.study))  # type: ignore[no-any-return]
    if not known.no_picture:
        return options
    if known.figure is not None:
        raise UsageError(f"--figure {known.figure} and --no-picture were given together", "choose one")
    return replace(known, figure=False)  # type: ignore[no-any-return]
