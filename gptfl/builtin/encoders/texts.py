"""What an encoder reads of an example, and the checks of its settings."""

from gptfl.errors import UsageError
from gptfl.records import Example

PARTS = ("both", "prompt", "target")


def text_of(example: Example, part: str) -> str:
    """The prompt, the target, or the one followed by the other."""
    return example.text if part == "both" else example.prompt if part == "prompt" else example.target


def one_of(encoder: str, setting: str, value: str, allowed: tuple[str, ...]) -> str:
    """The value, or ``UsageError`` naming the allowed ones."""
    if value not in allowed:
        raise UsageError(f"encoder {encoder}: {setting} is {value!r}", f"use {', '.join(allowed)}")
    return value


def whole(encoder: str, setting: str, value: object, low: int | None = 1) -> int:
    """The value as a whole number of at least ``low``, or ``UsageError``."""
    try:
        number = int(str(value))
    except ValueError:
        raise UsageError(f"encoder {encoder}: {setting} is {value!r}", "give a whole number") from None
    if low is not None and number < low:
        raise UsageError(f"encoder {encoder}: {setting} is {number}", f"give at least {low}")
    return number
