"""Numbers that no run could be asked with are refused as options are read, before anything heavy is loaded.

The stages check the same and more, for Python.
"""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import typer

from gptfl.errors import UsageError

Check: TypeAlias = Callable[[typer.Context, typer.CallbackParam, Any], Any]


def check(fits: Callable[[Any], bool], remedy: str, form: str = "") -> Check:
    """A callback of an option: raises ``UsageError`` with this remedy for a number that doesn't fit."""

    def callback(context: typer.Context, parameter: typer.CallbackParam, value: Any) -> Any:
        if value is not None and not context.resilient_parsing and not fits(value):
            raise UsageError(f"{parameter.opts[0]} is {value:{form}}", remedy)
        return value

    return callback


def at_least(least: int, remedy: str = "") -> Check:
    """Refuses whole numbers below ``least``."""
    return check(lambda value: value >= least, remedy or f"give at least {least}")


def share(remedy: str = "give a share between 0 and 1, such as 0.25") -> Check:
    """Refuses all but numbers between 0 and 1."""
    return check(lambda value: 0 < value < 1, remedy, "g")


positive = check(lambda value: 0 < value < math.inf, "give a positive number")
not_negative = check(lambda value: 0 <= value < math.inf, "give 0 or more", "g")
seed_check = check(lambda value: 0 <= value < 2**63, "give a whole number from 0 to 2**63 - 1")
