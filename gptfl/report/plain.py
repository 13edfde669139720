"""What JSON has of a result under the very names that its fields have in Python."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from gptfl.core import MetricInfo

PLAIN = (str, int, float, bool, type(None))
LONE = (*PLAIN, Path, MetricInfo)


def with_plain(result: Any, written: Mapping[str, Any]) -> dict[str, Any]:
    """``written``, and behind it those texts, numbers, switches and sequences of them in a result's fields that it lacks.

    A name that ``written`` has keeps its value. Numbers that are not finite are left to the writer of the JSON.
    """
    own = {one.name: getattr(result, one.name) for one in fields(result)}
    return {
        **written,
        **{name: _plain(value) for name, value in own.items() if name not in written and _is_plain(value)},
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(isinstance(one, PLAIN) for one in value)
    return isinstance(value, LONE)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, MetricInfo):
        return value.name
    return str(value) if isinstance(value, Path) else value
