"""The checks pass a sound task and name the promise that a broken one breaks."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gptfl import testing
from gptfl.core import Example, TaskData
from gptfl.errors import DataError
from tests.testing.parts import changed


class Sums:
    """Twenty sums to learn from and ten to test."""

    name = "sums"
    learning_rate = 1e-4

    def __init__(self, data: Path | None = None) -> None:
        self.data = data

    def load(self, pool: int | None, test: int | None, seed: int) -> TaskData:
        return TaskData("sums", self.side("pool", pool, 20), self.side("test", test, 10))

    def side(self, side: str, count: int | None, most: int) -> tuple[Example, ...]:
        if count is not None and count > most:
            raise DataError(f"task sums has {most} {side} examples, asked for {count}", "ask for fewer")
        return tuple(Example(f"{side}-{n}", f"{n}+{n}=", f"{2 * n}") for n in range(most if count is None else count))


def listing(change: Callable[[tuple[Example, ...]], Any]) -> type:
    """Sums whose sides are changed."""
    return changed(Sums, side=lambda self, *given: change(Sums.side(self, *given)))


TASKS = {
    "rate": (changed(Sums, learning_rate=0), "learning_rate is 0"),
    "list": (listing(list), "not a tuple of examples"),
    "ids": (listing(lambda e: (*e[:-1], e[0])), "holds id 'pool-0' more than once"),
    "target": (listing(lambda e: tuple(dataclasses.replace(x, target="") for x in e)), "has no target"),
    "label": (listing(lambda e: tuple(dataclasses.replace(x, label=2, choices=("a", "b")) for x in e)), "no index"),
    "fields": (listing(lambda e: tuple(dataclasses.replace(x, fields={"a": b""}) for x in e)), "as JSON"),
    "count": (listing(lambda e: e[1:]), "asked for 6"),
    "prefix": (listing(lambda e: e[::-1]), "not the beginning of a larger one"),
    "generous": (changed(Sums, side=lambda self, s, n, most: Sums.side(self, s, n, 99 if n == most + 1 else most)), "21 pool"),
    "name": (changed(Sums, name="other"), "calls its task 'sums'"),
}  # fmt: skip


def test_a_sound_task_passes() -> None:
    testing.check_task(Sums)


@pytest.mark.parametrize(("factory", "broken"), TASKS.values(), ids=TASKS)
def test_a_broken_task_is_reported_what_it_breaks(factory: type, broken: str) -> None:
    with pytest.raises(AssertionError, match=broken):
        testing.check_task(factory)
