"""People's own data as a task: rows of any known shape, from files, a saved data set or the Hub."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from gptfl.core import Example, TaskData, fingerprint, user_path
from gptfl.core.texts import counted
from gptfl.core.turns import ASSISTANT
from gptfl.errors import DataError, UsageError
from gptfl.plugins.settings import utf8
from gptfl.store.jsonlines import Row
from gptfl.tasks.base import TooFewError
from gptfl.tasks.class_hint import class_hint
from gptfl.tasks.own_files import RowSource, find_sources, one_source, plain_name
from gptfl.tasks.rows import TaskRow
from gptfl.tasks.shapes import EXPECTED, TEXT, RowReader, parse_fields

LORA_RATE = 2e-4
"""The learning rate of adapters, unless given."""
EVAL_SHARE = 0.1
"""The share of rows that is set aside to test on where there is no file of such."""
SHOWN = 3
"""Places that a note names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRequest:
    """Which rows are read, and how."""

    data: Path | None = None
    train: Path | None = None
    eval: Path | None = None
    eval_share: float | None = None
    fields: str | None = None
    loss_on: str | None = None
    dataset: str | None = None
    dataset_config: str | None = None
    split: str | None = None
    eval_split: str | None = None
    revision: str | None = None
    as_chat: bool = False
    """Whether rows of instruction and output are conversations."""


DATA_SETTINGS = tuple(one.name for one in fields(DataRequest) if one.name != "as_chat")
"""The settings of a recording that say how its rows are read."""
PATHS = {"data", "train", "eval"}
SHAPE = "shape"
"""The setting by which a recording says that it is of one's own data."""


def row_reader(settings: Mapping[str, Any]) -> RowReader | None:
    """What reads rows as those of a recording were read; None for one of another task.

    What is not of that shape is read by its own: a recording's settings tell how, and the rows what they are.
    """
    if SHAPE not in settings:
        return None
    learned = settings.get("loss_on") or ASSISTANT
    return RowReader(parse_fields(settings.get("fields")), learned, settings.get("chat_template") is not None)


@dataclass(frozen=True, slots=True)
class OwnRows:
    """All rows of one's own data, as examples; ``split_off`` says that the test examples were some of the pool's."""

    pool: tuple[Example, ...]
    test: tuple[Example, ...]
    pool_name: str
    test_name: str
    shape: str
    chat: bool
    split_off: bool
    notes: tuple[str, ...]


@dataclass
class OwnData:
    """A task of one's own rows.

    Ids are the rows' own or a hash of what they hold, and which examples are drawn follows from ids and seed: the order
    of rows changes nothing.
    """

    request: DataRequest
    name: str = field(init=False)
    learning_rate: float = 2e-5

    def __post_init__(self) -> None:
        request = self.request
        _check(request)
        parse_fields(request.fields)
        named = [path for path in (request.data, request.train) if path is not None]
        self.name = (request.dataset or "").rstrip("/").rpartition("/")[2] if not named else plain_name(named)

    def load(self, pool: int | None, test: int | None, seed: int) -> TaskData:
        """Draw the examples. Raises ``DataError`` where there are fewer than asked for."""
        rows = self.rows
        drawn = (
            _draw(rows.pool, pool, "pool", seed, rows.pool_name),
            _draw(rows.test, test, "test", seed, rows.test_name),
        )
        source = rows.pool_name if rows.split_off else f"{rows.pool_name}, {rows.test_name}"
        files = {"pool": rows.pool_name, "test": rows.test_name}
        return TaskData(self.name, *drawn, source, "", (*rows.notes, *leaks(*drawn)), files)

    def sizes(self) -> tuple[int, int]:
        """How many examples there are to draw the pool and the test examples from."""
        return len(self.rows.pool), len(self.rows.test)

    @classmethod
    def of_settings(cls, settings: Mapping[str, Any], data: Path | None) -> "OwnData":
        """The data that a recording's settings describe; ``data`` is where its rows to train on are now."""
        known = {name: settings[name] for name in DATA_SETTINGS if settings.get(name) is not None}
        for name in PATHS & known.keys():
            known[name] = user_path(known[name])
        if data is not None:
            known["train" if "train" in known else "data"] = data
            if "dataset" in known:
                raise UsageError(f"--data {data}: the rows are of the data set {known['dataset']}", "leave it out")
        return cls(DataRequest(**known, as_chat=settings.get("chat_template") is not None))

    def settings(self) -> dict[str, Any]:
        """What a recording keeps of how its rows were read, beside ``data``."""
        requested = {name: getattr(self.request, name) for name in DATA_SETTINGS if name != "data"}
        given = {name: value for name, value in requested.items() if value is not None}
        return {
            **{name: utf8(value) if isinstance(value, Path) else value for name, value in given.items()},
            SHAPE: self.rows.shape,
        }

    @cached_property
    def rows(self) -> OwnRows:
        """All rows, read once. Raises ``DataError`` for what can't be read, naming its place."""
        request = self.request
        sources = self._sources()
        pool, reader, notes = self._read(sources[0])
        name = sources[0][0]
        if sources[1] is not None:
            test, other, more = self._read(sources[1])
            shapes = (*notes, *more)
            return OwnRows(pool, test, name, sources[1][0], _shape(reader), _is_chat(reader, other), False, shapes)
        share = EVAL_SHARE if request.eval_share is None else request.eval_share
        kept, held_out = split_off(pool, share)
        if not kept or not held_out:
            raise DataError(
                f"{name} has {len(pool)} {'row' if len(pool) == 1 else 'rows'}, of which --eval-share {share:g} leaves {len(kept)} to train on and "
                f"{len(held_out)} to test on",
                "give more rows, or a file of rows to test on (--eval FILE)",
            )
        note = (
            f"{len(held_out)} of these rows {'is' if len(held_out) == 1 else 'are'} kept to test on, chosen by content "
            f"(--eval-share {share:g}; --eval FILE names others)"
        )
        return OwnRows(kept, held_out, name, name, _shape(reader), _is_chat(reader), True, (*notes, note))

    def _sources(self) -> "tuple[_Named, _Named | None]":
        request = self.request
        if request.dataset is not None:
            from gptfl.tasks.hub_rows import hub_sources

            return hub_sources(
                request.dataset, request.dataset_config, request.split, request.eval_split, request.revision
            )
        if request.data is not None:
            train, test = find_sources(request.data, "--data")
        else:
            assert request.train is not None
            train, test = one_source(request.train, "--train"), None
        if request.eval is not None:
            test = one_source(request.eval, "--eval")
        if test is not None and request.eval_share is not None:
            raise UsageError(
                f"--eval-share {request.eval_share:g}, and there are rows to test on ({test.name})", "leave it out"
            )
        return _named(train), None if test is None else _named(test)

    def _read(self, source: "_Named") -> tuple[tuple[Example, ...], RowReader, tuple[str, ...]]:
        """The examples of a source, and what to tell of them."""
        request = self.request
        reader = RowReader(parse_fields(request.fields), request.loss_on or ASSISTANT, request.as_chat)
        name, rows = source
        examples, places = read_examples(rows(EXPECTED), reader)
        if not examples:
            raise DataError(f"{name} holds no rows", "give it at least one")
        first = _understood(name, examples, reader)
        return examples, reader, (first, *_notes(reader, examples), *_duplicates(name, examples, places))


_Named = tuple[str, Callable[[str], Iterable[Row]]]
"""What a source of rows is called, and what gives them."""


def _named(source: RowSource) -> _Named:
    return source.name, source.rows


def _check(request: DataRequest) -> None:
    """Raise ``UsageError`` for options of data that don't go together."""
    ways = {"--data": request.data, "--train": request.train, "--dataset": request.dataset}
    given = [flag for flag, value in ways.items() if value is not None]
    if not given:
        only = {
            "--eval": request.eval,
            "--eval-share": request.eval_share,
            "--fields": request.fields,
            "--loss-on": request.loss_on,
        }
        flag = next((flag for flag, value in only.items() if value is not None), None)
        raise UsageError(
            f"{flag} is given, and no rows to train on" if flag else "neither a task nor data of your own is named",
            "give --data FILE, or name a task with --task (gptfl plugins lists them)",
        )
    if len(given) > 1:
        raise UsageError(f"{given[0]} and {given[1]} both say where the rows are", "give one of them")
    for flag, value in {
        "--dataset-config": request.dataset_config,
        "--split": request.split,
        "--eval-split": request.eval_split,
        "--revision": request.revision,
    }.items():
        if value is not None and request.dataset is None:
            raise UsageError(f"{flag} {value} is of a data set of the Hub", "name it with --dataset")
    if request.dataset is not None and request.eval is not None:
        raise UsageError("--eval with --dataset", "name a split of it with --eval-split")
    tests = {"--eval": request.eval, "--eval-split": request.eval_split}
    flag = next((flag for flag, value in tests.items() if value is not None), None)
    if flag and request.eval_share is not None:
        raise UsageError(f"--eval-share and {flag} both say what to test on", "give one of them")


def read_examples(rows: Iterable[Row], reader: RowReader) -> tuple[tuple[Example, ...], list[str]]:
    """The examples of rows, and their places.

    Rows that are alike in everything and have no id are told apart by a number after it. Raises ``DataError`` where an
    id of their own comes twice.
    """
    examples: list[Example] = []
    places: list[str] = []
    seen: dict[str, int] = {}
    last: dict[str, int] = {}
    for row in rows:
        example = reader.read(TaskRow(row.values, row.place, EXPECTED, "a row with"))
        id = example.id
        if id in seen:
            if row.values.get(reader.fields.get("id", "id")) not in (None, ""):
                raise DataError(
                    f"{row.place}: id {id!r} was used before, at {places[seen[id]]}",
                    "give every row an id of its own, or another --fields id=FIELD",
                )
            number = last.get(id, 1) + 1
            while f"{id}-{number}" in seen:
                number += 1
            last[id] = number
            id = f"{id}-{number}"
            example = replace(example, id=id)
        seen[id] = len(examples)
        examples.append(example)
        places.append(row.place)
    return tuple(examples), places


def split_off(examples: Sequence[Example], share: float) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """The examples to train on and those to test on, about ``share`` of all, chosen by what they hold.

    So those that are alike stay together, and neither their order nor more of them change the side of one. Where none
    would be to test on, that is the one that comes nearest.
    """
    places = {one.digest: int(fingerprint("eval", one.digest), 16) for one in examples}
    held_out = {digest for digest, place in places.items() if place < share * 16**16}
    held_out = held_out or {min(places, key=lambda digest: places[digest])}
    kept = tuple(one for one in examples if one.digest not in held_out)
    return kept, tuple(one for one in examples if one.digest in held_out)


def _draw(examples: Sequence[Example], count: int | None, split: str, seed: int, place: str) -> tuple[Example, ...]:
    """The first so many in an order that seed and ids determine."""
    if count is not None and count < 1:
        raise UsageError(f"--{split} {count} asks for no examples", "ask for at least one")
    if count is not None and count > len(examples):
        raise TooFewError(split, count, len(examples), place)
    return tuple(sorted(examples, key=lambda one: fingerprint("draw", seed, one.id))[:count])


def _shape(reader: RowReader) -> str:
    return reader.shape.name if reader.shape else ""


def _is_chat(*readers: RowReader) -> bool:
    return any(reader.shape is not None and reader.shape.chat for reader in readers)


def _understood(name: str, examples: Sequence[Example], reader: RowReader) -> str:
    """What was understood of a source, in one line."""
    roles = f" ({', '.join(reader.roles)})" if reader.roles else ""
    learned = ""
    if _is_chat(reader):
        loss = reader.loss_on
        which = {
            "assistant": "what the assistant says",
            "last": "the assistant's last message",
            "all": "the whole text",
        }
        learned = f"; learned is {which.get(loss, f'each message whose {loss} is true')}"
    elif examples and not examples[0].prompt:
        learned = "; learned is the whole text"
    kept = f"; other fields, kept: {', '.join(one[:60] for one in list(reader.kept)[:12])}" if reader.kept else ""
    return f"{name}: {counted(len(examples), 'row', ',')} of {_shape(reader)}{roles}{learned}{kept}"


def _notes(reader: RowReader, examples: Sequence[Example]) -> tuple[str, ...]:
    """A line where messages say themselves what is to be learned, and nothing follows it, or texts have classes."""
    if _shape(reader) == TEXT.name:
        return class_hint(examples, (reader.fields.get("text", "text"), *reader.kept))
    found = next((name for name in reader.marks if name != reader.loss_on), None)
    if found is None or reader.loss_on in reader.marks:
        return ()
    return (
        f"messages have a field {found}, which counts for nothing; --loss-on {found} learns those where it is true",
    )


def _duplicates(name: str, examples: Sequence[Example], places: Sequence[str]) -> tuple[str, ...]:
    """A line that tells of texts that are there more than once."""
    first: dict[str, int] = {}
    again = [(i, first[one.digest]) for i, one in enumerate(examples) if first.setdefault(one.digest, i) != i]
    if not again:
        return ()
    i, j = again[0]
    rows = "1 row has" if len(again) == 1 else f"{len(again):,} rows have"
    return (f"{rows} the same text as an earlier one of {name} (first: {_short(places[i])}, as {_short(places[j])})",)


def _short(place: str) -> str:
    return place.rpartition(", ")[2]


def leaks(pool: Sequence[Example], test: Sequence[Example]) -> tuple[str, ...]:
    """A line that tells of test examples whose text stands in the pool."""
    trained = {example.digest: example.id for example in pool}
    found = [example for example in test if example.digest in trained]
    if not found:
        return ()
    named = ", ".join(repr(one.id) for one in found[:SHOWN])
    stand = "1 test example stands" if len(found) == 1 else f"{len(found)} test examples stand"
    return (f"{stand} in the pool, too ({named}): what is measured of them is what was learned by heart",)
