"""Shows a function's options where Python shows signatures: in ``help``, in editors and in notebooks."""

from collections.abc import Callable, Collection
from dataclasses import MISSING
from functools import wraps
from typing import Any, TypeVar, cast

from gptfl.errors import UsageError
from gptfl.options.base import places

F = TypeVar("F", bound=Callable[..., Any])
CALLED = ("progress", "announce")
"""What functions call along the way."""


def reports(function: F) -> F:
    """Let a function show its progress in a notebook or a terminal unless it is told how.

    Raises ``UsageError`` for a ``progress`` or an ``announce`` that can't be called; None is not given.
    """

    @wraps(function)
    def shown(*given: Any, **options: Any) -> Any:
        for name in CALLED:
            called = options.get(name)
            if called is not None and not callable(called):
                raise UsageError(f"{function.__name__}: {name} is {called!r}", "give a function, or leave it out")
        if options.get("progress") is None:
            from gptfl.core.notebook import shown_progress

            with shown_progress() as progress:
                return function(*given, **{**options, "progress": progress})
        return function(*given, **options)

    return cast("F", shown)


def takes(kind: type, without: Collection[str] = ()) -> Callable[[F], F]:
    """Give a function, which takes ``**options``, a signature that names the options of a command.

    Their names, types and defaults are those of the dataclass. Options of the command line alone, those ``without``,
    and those that the function names itself are left out.
    """

    def decorate(function: F) -> F:
        # Only who makes a function with options pays for it.
        from inspect import Parameter, signature

        own = signature(function)
        named = [one for one in own.parameters.values() if one.kind is not Parameter.VAR_KEYWORD]
        ahead = [one for one in named if one.kind is not Parameter.KEYWORD_ONLY]
        options = [
            Parameter(
                place.name,
                Parameter.KEYWORD_ONLY,
                default=Parameter.empty if place.default is MISSING else place.default,
                annotation=place.type,
            )
            for place in places(kind)
            if not (place.option.shell or place.name in own.parameters or place.name in without)
        ]
        rest = [one for one in named if one.kind is Parameter.KEYWORD_ONLY]
        shown = reports(function) if "progress" in own.parameters else function
        shown.__signature__ = own.replace(parameters=[*ahead, *options, *rest])  # type: ignore[attr-defined]
        return shown

    return decorate
