"""What all tasks over given data share: local files or the Hub, and the seeded choice of rows."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from functools import partial
from pathlib import Path
from typing import ClassVar, Self, TypeVar

from gptfl.core import Example, TaskData, user_path
from gptfl.core.curriculum import Stream, generator
from gptfl.errors import DataError, UsageError
from gptfl.tasks import local_files
from gptfl.tasks.hub_files import HubFile, read_parquet
from gptfl.tasks.instructions import instructed
from gptfl.tasks.rows import TaskRow

T = TypeVar("T")
_STREAMS = {"pool": Stream.POOL_ROWS, "test": Stream.TEST_ROWS}


class TooFewError(DataError):
    """A split has fewer rows than were asked for."""

    def __init__(self, split: str, requested: int, found: int, place: str) -> None:
        self.split, self.requested, self.found, self.place = split, requested, found, place
        super().__init__(
            f"--{split} {requested} is more than the {found} examples of {place}", f"use --{split} {found} or fewer"
        )


def draw(rows: Sequence[T], count: int | None, split: str, seed: int, place: str) -> list[T]:
    """The first ``count`` rows of the seed's permutation, so that a larger draw extends a smaller one.

    Args:
        rows: to draw from.
        count: how many; None for all.
        split: ``pool`` or ``test``, the flag that ``count`` comes from.
        seed: of the permutation.
        place: what messages call the rows.

    Raises ``DataError`` where there are fewer rows than that.
    """
    if count is not None and count < 1:
        raise UsageError(f"--{split} {count} asks for no examples", "ask for at least one")
    if not rows:
        raise DataError(f"{place} holds no examples", "give it at least one")
    if count is not None and count > len(rows):
        raise TooFewError(split, count, len(rows), place)
    return [rows[i] for i in generator(seed, _STREAMS[split]).permutation(len(rows))[:count]]


class DataTask:
    """A task whose rows lie in ``data`` (a folder with train.jsonl and test.jsonl) or on the Hub.

    A subclass turns one row into an example and, for the Hub, names its files and renames their columns.
    """

    name: ClassVar[str]
    learning_rate: ClassVar[float] = 5e-7
    expected: ClassVar[str]
    """The fields of a local row, as messages name them."""
    licence: ClassVar[str] = ""
    files: ClassVar[dict[str, HubFile]] = {}
    """The Hub's file of each split."""
    wording: ClassVar[str] = ""
    """The prompt, with the names of ``parts`` in braces."""
    templates: ClassVar[tuple[str, ...]] = ()
    """Wordings of the prompt as an instruction; none where the task has none of its own."""

    def __init__(self, data: Path | str | None = None) -> None:
        self.data = None if data is None else user_path(data)
        self.instructions = False

    def with_instructions(self) -> Self:
        """The same task, each of whose prompts is worded by one of ``templates``."""
        other = copy(self)
        other.instructions = True
        return other

    def load(self, pool: int | None, test: int | None, seed: int) -> TaskData:
        """Draw the pool and the test examples; see ``draw``."""
        drawn: dict[str, tuple[Example, ...]] = {}
        source = ""
        for split, count in (("pool", pool), ("test", test)):
            drawn[split], source = self._split(split, count, seed)
        return TaskData(self.name, drawn["pool"], drawn["test"], source, self.licence if self.data is None else "")

    def sizes(self) -> tuple[int, int] | None:
        """How many rows the local files have for pool and test; None for those of the Hub."""
        if self.data is None:
            return None
        paths = [local_files.split_file(self.data, split) for split in _STREAMS]
        pool, test = (sum(1 for _ in local_files.read_rows(path, self.expected)) for path in paths)
        return pool, test

    def example(self, row: TaskRow, id: str) -> Example:
        """The example that a row holds. Raises ``DataError`` naming the row's place."""
        raise NotImplementedError

    def parts(self, row: TaskRow) -> Mapping[str, str]:
        """What ``wording`` and ``templates`` make a prompt of. Raises ``DataError`` naming the row's place."""
        raise NotImplementedError

    def prompt(self, row: TaskRow) -> str:
        """The prompt in its plain wording."""
        return self.wording.format(**self.parts(row))

    def from_hub(self, rows: Sequence[TaskRow]) -> list[TaskRow]:
        """The Hub's rows with the fields of local ones."""
        raise NotImplementedError

    def _split(self, split: str, count: int | None, seed: int) -> tuple[tuple[Example, ...], str]:
        if self.data is not None:
            path = local_files.split_file(self.data, split)
            examples = unique(local_files.read_rows(path, self.expected), partial(self._make, seed))
            return tuple(draw(examples, count, split, seed, str(path))), str(self.data)
        if split not in self.files:
            raise UsageError(
                f"task {self.name!r} has no data of its own",
                "pass --data DIR with train.jsonl and test.jsonl (of a mixture: DIR/TASK)",
            )
        file = self.files[split]
        rows, source = read_parquet(file, self.name, self.expected)
        chosen = draw(self.from_hub(rows), count, split, seed, file.place)
        return tuple(self._make(seed, row, row.id(0)) for row in chosen), source

    def _make(self, seed: int, row: TaskRow, id: str) -> Example:
        example = self.example(row, id)
        return instructed(example, self.templates, self.parts(row), seed) if self.instructions else example


def unique(rows: Iterable[TaskRow], make: Callable[[TaskRow, str], Example]) -> list[Example]:
    """Make every row's example. Raises ``DataError`` naming both lines where an id comes twice."""
    examples: list[Example] = []
    places: dict[str, str] = {}
    for number, row in enumerate(rows):
        id = row.id(number)
        if id in places:
            raise DataError(
                f"{row.place}: id {id!r} was used before, at {places[id]}", "give every row an id of its own"
            )
        places[id] = row.place
        examples.append(make(row, id))
    return examples
