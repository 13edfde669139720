"""Holds a task against its interface."""

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gptfl.core import Example, TaskData
from gptfl.core.texts import id_problem
from gptfl.plugins.interfaces import Task
from gptfl.testing import promises
from gptfl.testing.promises import require


def check_task(
    factory: Callable[..., Task], *, data: Path | None = None, pool: int = 6, test: int = 3, **settings: Any
) -> None:
    """Check that ``factory(data=data, **settings)`` makes a task that keeps every promise of its interface.

    It is loaded with so many examples, and once in full.

    Args:
        factory: makes the task.
        data: the folder or file that it reads.
        pool: how many training examples to load.
        test: how many test examples to load.
        settings: those of the factory.

    Raises ``AssertionError`` that names the broken promise.
    """
    made = factory(data=data, **settings)
    promises.require_members(made, Task, ("name", "learning_rate", "load"))
    name = f"task {promises.require_name(made)!r}"
    rate = made.learning_rate
    require(isinstance(rate, float) and 0 < rate < math.inf, f"{name}: learning_rate is {rate!r}, not a positive float")
    drawn = made.load(pool, test, 0)
    require(isinstance(drawn, TaskData), f"{name}: load() returns {type(drawn).__name__}, not TaskData")
    require(drawn.task == made.name, f"{name}: what it loads calls its task {drawn.task!r}")
    _check_side(drawn.pool, pool, f"{name}, pool")
    _check_side(drawn.test, test, f"{name}, test")
    again = factory(data=data, **settings).load(pool, test, 0)
    require(again == drawn, f"{name} draws other examples for the same seed")
    fewer = made.load(pool - 1, test - 1, 0)
    require(fewer.pool == drawn.pool[: pool - 1], f"{name}: a smaller pool is not the beginning of a larger one")
    require(fewer.test == drawn.test[: test - 1], f"{name}: a smaller test set is not the beginning of a larger one")
    whole = made.load(None, None, 0)
    for side, most in (("pool", len(whole.pool)), ("test", len(whole.test))):
        counts = {"pool": pool, "test": test, side: most + 1}
        promises.refuses(
            lambda counts=counts: made.load(counts["pool"], counts["test"], 0),
            f"{name}: load() asked for {most + 1} {side} examples, one more than there are,",
        )


def _check_side(examples: tuple[Example, ...], count: int, what: str) -> None:
    require(isinstance(examples, tuple), f"{what} is {type(examples).__name__}, not a tuple of examples")
    require(len(examples) == count, f"{what} holds {len(examples)} examples, asked for {count}")
    ids = Counter(example.id for example in examples)
    twice = [name for name, times in ids.items() if times > 1]
    require(not twice, f"{what} holds id {twice[0]!r} more than once" if twice else "")
    for example in examples:
        here = f"{what}, example {example.id!r}"
        require(isinstance(example.id, str), f"{what} holds an example whose id is {example.id!r}")
        problem = id_problem(example.id)
        require(not problem, f"{what} holds an example whose id, {example.id!r}, {problem}")
        require(isinstance(example.prompt, str) and bool(example.target), f"{here} has no target")
        label = example.label
        require(
            label is None or 0 <= label < len(example.choices),
            f"{here} has label {label!r}, which is no index into its {len(example.choices)} choices",
        )
        promises.through_json(example.fields, f"fields of {here}")
