"""The examples of a recording: of one task or of a mixture, as plain prompts or as instructions, flipped or not."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

from gptfl.core import Example, RecordingSettings, TaskData, user_path
from gptfl.errors import DataError, UsageError
from gptfl.plugins.guards import make_task
from gptfl.plugins.interfaces import Task
from gptfl.plugins.optional import KnowsSizes, MayMakeUpExamples
from gptfl.plugins.registry import Registry
from gptfl.plugins.settings import check_utf8
from gptfl.tasks.base import DataTask, TooFewError
from gptfl.tasks.instructions import GENERIC, instructed
from gptfl.tasks.label_noise import flip_labels
from gptfl.tasks.own_data import OwnData


def task_names(tasks: str) -> list[str]:
    """The tasks of ``--task``, which are separated by commas.

    Raises ``UsageError`` where a name is empty, ``DataError`` where one comes twice: its examples would have the
    same ids.
    """
    names = [name.strip() for name in tasks.split(",")]
    for place, name in enumerate(names):
        if not name:
            raise UsageError(f"--task {tasks!r} names no task at place {place + 1}", "write for example rte,sst2")
        if name in names[:place]:
            raise DataError(
                f"--task {tasks!r} names {name!r} twice, and the ids of its examples would clash", "name it once"
            )
    return names


@dataclass(frozen=True, slots=True)
class ExampleSource:
    """What determines the examples of a recording, apart from how many and the seed."""

    task: Task
    instructions: bool = False
    flip: float | None = None

    @classmethod
    def of_settings(cls, registry: Registry, settings: RecordingSettings, data: Path | None) -> "ExampleSource":
        """The source that a recording's settings describe, read from ``data``, by default where it was then."""
        if settings.shape is not None:
            task: Task = OwnData.of_settings(settings, data)
        else:
            recorded = user_path(settings.data) if data is None and settings.data else data
            task = open_task(registry, settings.task, recorded)
        return cls(task, bool(settings.instructions), settings.flip_labels)

    def load(self, pool: int, test: int, seed: int) -> TaskData:
        """Draw the examples, word them and flip labels; the same ones for the same seed."""
        if isinstance(self.task, Mixture):
            loaded = self.task.load(pool, test, seed, self.instructions)
        else:
            loaded = _load(self.task, pool, test, seed, self.instructions)
        talks = next((example for example in (*loaded.pool, *loaded.test) if example.turns), None)
        if talks is not None and self.instructions:
            raise UsageError(
                f"--instructions words prompts, and {talks.id!r} is a conversation", "leave --instructions out"
            )
        if self.flip is None:
            return loaded
        return replace(loaded, pool=flip_labels(loaded.pool, self.flip, seed))


def open_task(registry: Registry, tasks: str, data: Path | None) -> "Task | Mixture":
    """The task, or the mixture of tasks, that ``--task`` names.

    Of a mixture, ``data`` holds one folder a task, except for those that are generated. Raises ``DataError`` where
    such a folder is missing, and what ``task_names`` and ``Registry.make`` raise.
    """
    if data is not None:
        check_utf8(str(data), "--data")
    names = task_names(tasks)
    if len(names) == 1:
        return make_task(registry, names[0], data=data)
    # Every name is looked up before any folder, so that a misspelt one is told as such.
    parts = {name: make_task(registry, name) for name in names}
    if data is not None:
        parts = {
            name: part if _made_up(part) else make_task(registry, name, data=_folder(data, name))
            for name, part in parts.items()
        }
    return Mixture(parts)


def _folder(data: Path, task: str) -> Path:
    folder = data / task
    if not data.is_dir():
        raise DataError(f"--data {data} is not a folder", "name the folder that holds one folder a task")
    if not folder.is_dir():
        raise DataError(
            f"--data {data} holds no folder {task!r} for the task of that name",
            f"a mixture takes its rows from one folder a task: put train.jsonl and test.jsonl into {folder}",
        )
    return folder


class Mixture:
    """Several tasks as one: their examples by turns, each with its task before its id and in its fields.

    The pool of N examples is the beginning of that of more: every task has the same number, the first ones one more
    where N doesn't divide. ``learning_rate`` is the least of the tasks'.
    """

    def __init__(self, tasks: Mapping[str, Task]) -> None:
        self.tasks = dict(tasks)
        self.name = ",".join(self.tasks)
        self.learning_rate = min(task.learning_rate for task in self.tasks.values())

    def load(self, pool: int | None, test: int | None, seed: int, instructions: bool = False) -> TaskData:
        """The examples of all tasks, some of each.

        Args:
            pool: how many training examples of all tasks together, None for all.
            test: how many test examples, None for all.
            seed: of the draws.
            instructions: whether prompts are worded by the tasks' templates.

        Raises ``DataError`` where a task has too few examples or ids clash.
        """
        pools, tests = (self._parts(split, count) for split, count in (("pool", pool), ("test", test)))
        loaded: list[TaskData] = []
        for (name, task), own_pool, own_test in zip(self.tasks.items(), pools, tests, strict=True):
            try:
                data = _load(task, own_pool, own_test, seed, instructions)
            except TooFewError as error:
                raise self._too_few(name, error) from error
            loaded.append(data)
        sides = [self._merged(side, [getattr(data, side) for data in loaded]) for side in ("pool", "test")]
        source, licence = (self._joined(part, loaded) for part in ("source", "licence"))
        return TaskData(self.name, sides[0], sides[1], source, licence)

    def sizes(self) -> tuple[int, int] | None:
        """How many examples its tasks can give in equal parts; None where no task is read from files."""
        found = [known for task in self.tasks.values() if (known := sizes_of(task)) is not None]
        if not found:
            return None
        pool, test = (min(sizes) * len(self.tasks) for sizes in zip(*found, strict=True))
        return pool, test

    def _parts(self, split: str, count: int | None) -> list[int | None]:
        number = len(self.tasks)
        if count is None:
            return [None] * number
        if count < number:
            raise UsageError(
                f"--{split} {count} leaves some of the {number} tasks of {self.name} without an example",
                f"use --{split} {number} or more",
            )
        return [count // number + (place < count % number) for place in range(number)]

    def _merged(self, side: str, parts: list[tuple[Example, ...]]) -> tuple[Example, ...]:
        marked = [[_marked(example, name) for example in part] for name, part in zip(self.tasks, parts, strict=True)]
        merged = tuple(_by_turns(marked))
        seen: set[str] = set()
        for example in merged:
            if example.id in seen:
                raise DataError(
                    f"--task {self.name}: two {side} examples have the id {example.id!r}",
                    "give every row an id of its own, or leave one of the tasks out",
                )
            seen.add(example.id)
        return merged

    def _too_few(self, task: str, error: TooFewError) -> DataError:
        number = len(self.tasks)
        if error.split == "pool":
            return DataError(
                f"--per-task {error.requested} is more than the {error.found} pool examples of {error.place} (task {task!r})",
                f"use --per-task {error.found} or fewer (--pool {error.found * number} in all)",
            )
        return DataError(
            f"--test shared by {number} tasks makes {error.requested} each, more than the {error.found} of {error.place} "
            f"(task {task!r})",
            f"use --test {error.found * number} or fewer",
        )

    def _joined(self, part: str, loaded: list[TaskData]) -> str:
        texts = [(name, getattr(data, part)) for name, data in zip(self.tasks, loaded, strict=True)]
        return "; ".join(f"{name}: {text}" for name, text in texts if text)


def _made_up(task: Task) -> bool:
    return isinstance(task, MayMakeUpExamples) and task.generated


def sizes_of(task: Task) -> tuple[int, int] | None:
    """How many examples a task has for pool and test; None where it doesn't say."""
    return task.sizes() if isinstance(task, KnowsSizes) else None


def _load(task: Task, pool: int | None, test: int | None, seed: int, instructions: bool) -> TaskData:
    """One task's examples; what has no templates of its own gets the generic ones, before the prompt as it is."""
    if not instructions:
        return task.load(pool, test, seed)
    if isinstance(task, DataTask) and task.templates:
        return task.with_instructions().load(pool, test, seed)
    plain = task.load(pool, test, seed)
    worded = ([instructed(e, GENERIC, {"prompt": e.prompt}, seed) for e in side] for side in (plain.pool, plain.test))
    own_pool, own_test = map(tuple, worded)
    return replace(plain, pool=own_pool, test=own_test)


def _marked(example: Example, task: str) -> Example:
    return replace(example, id=f"{task}:{example.id}", fields={**example.fields, "task": task})


def _by_turns(parts: Iterable[Sequence[Example]]) -> Iterator[Example]:
    for turn in zip_longest(*parts):
        yield from (example for example in turn if example is not None)
