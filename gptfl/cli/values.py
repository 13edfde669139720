"""Options that read plain values themselves: Typer reads them by pydantic, which takes as long to load as numpy."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

from typer.core import TyperArgument, TyperOption

WHOLE = re.compile(r"-?[0-9]{1,18}")
NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?(e-?[0-9]{1,2})?")
"""Whole and other numbers as they are usually typed. All else is Typer's to read, or to refuse in its own words."""


@dataclass(frozen=True, slots=True)
class _PlainValues:
    """Reads plain values, and leaves the others to ``usual``, which makes what Typer reads with."""

    annotation: Any
    usual: Callable[[], Any]

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value of an option as its type has it."""
        several = get_origin(self.annotation) is list
        kind = get_args(self.annotation)[0] if several else self.annotation
        if value is None:
            return () if several else None
        if several and not isinstance(value, list | tuple):
            return self.usual().coerce(value, param=param, ctx=ctx)
        values: Sequence[Any] = value if several else [value]
        if not all(_is_plain(kind, one) for one in values):
            return self.usual().coerce(value, param=param, ctx=ctx)
        read = [kind(one) for one in values]
        return read if several else read[0]


def _is_plain(kind: Any, value: Any) -> bool:
    """Whether the type itself makes of a value what Typer would."""
    if kind is bool or type(value) is kind:
        return type(value) is kind
    if not isinstance(value, str):
        return False
    if kind is Path:
        return "\0" not in value and (not os.path.exists(value) or os.access(value, os.R_OK))  # noqa: PTH110
    form = {int: WHOLE, float: NUMBER}.get(kind)
    return form is not None and form.fullmatch(value) is not None


class PlainOption(TyperOption):
    """An option that reads plain values itself."""

    def get_runtime_param(self) -> Any:
        """What reads its value."""
        return _PlainValues(self.type_descriptor.annotation, super().get_runtime_param)


class PlainArgument(TyperArgument):
    """An argument that reads plain values itself."""

    def get_runtime_param(self) -> Any:
        """What reads its value."""
        return _PlainValues(self.type_descriptor.annotation, super().get_runtime_param)


PLAIN: Mapping[type, type] = {TyperOption: PlainOption, TyperArgument: PlainArgument}
"""What takes the place of each kind of parameter."""


def read_plainly(parameters: list[Any]) -> list[Any]:
    """The parameters of a command, of which those that Typer made read plain values themselves from now on."""
    for one in parameters:
        plain: type | None = PLAIN.get(type(one))
        if plain is not None:
            one.__class__ = plain
    return parameters
