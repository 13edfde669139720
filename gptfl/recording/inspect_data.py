"""Tells what gptfl understands of one's own data: rows, fields, tokens, and what is learned of them."""

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gptfl.core import Example, Progress, silent, user_path
from gptfl.core.display import Listed
from gptfl.core.texts import json_text, shown_line
from gptfl.errors import DataError
from gptfl.options.base import assemble, shell_names
from gptfl.options.common import InspectOptions
from gptfl.options.rows import RowOptions
from gptfl.options.signature import reports
from gptfl.recording.source import read_template, request
from gptfl.tasks.own_data import OwnData, leaks

if TYPE_CHECKING:
    from gptfl.training.tokenization import Tokenizer

_NOT_OF_DATA = {"file", "examples", "command", *shell_names(InspectOptions)}
"""The options of ``gptfl inspect`` that are of files of gptfl."""
SHOWN = 5
"""Examples that are shown as they are learned."""
MOST = 20_000
"""Examples of each side that are tokenized."""
VALUES, FIELDS, NAME = 5, 50, 60
"""Values of a field that are named, fields that are told of, and characters of a field's name."""
OPEN, CLOSE = "\u27e6", "\u27e7"
"""What stands around the part of a text that is learned."""
Rows = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class ShownExample:
    """An example as it is fed to a model: texts, and whether each is learned. Without a model, as it was read."""

    id: str
    role: str
    parts: tuple[tuple[str, bool], ...]

    @property
    def text(self) -> str:
        """The whole, with brackets around what is learned."""
        return "".join(f"{OPEN}{text}{CLOSE}" if learned else text for text, learned in self.parts)


@dataclass(frozen=True, slots=True)
class DataInspection(Listed):
    """What was understood of data: rows of label and value, the first examples as they are learned, and notes."""

    rows: Rows
    examples: tuple[ShownExample, ...]
    notes: tuple[str, ...]


@reports
def inspect_data(
    data: str | Path | None = None,
    *,
    model: str | None = None,
    max_length: int = 2048,
    rows: RowOptions | None = None,
    progress: Progress = silent,
    **options: Any,
) -> DataInspection:
    """Read one's own data as ``collect`` would, and tell what is understood of it.

    Args:
        data: a file or folder of rows; not needed where ``train`` or ``dataset`` is given.
        model: whose tokens the rows become; without it nothing is said of tokens.
        max_length: so many tokens of a row at most.
        rows: options as a group.
        progress: called along the way.
        options: single ones of ``RowOptions``, such as ``fields="prompt=question,target=answer"``.

    Raises as ``collect`` does for what can't be read.
    """
    given = {"data": data, "model": model, "max_length": max_length, **options}
    row_options = assemble(InspectOptions, () if rows is None else (rows,), given, "inspect_data", _NOT_OF_DATA).rows
    source = OwnData(request(None if data is None else user_path(data), row_options))
    found = source.rows
    everyone = (*found.pool, *found.test)
    shared = {one.digest for one in found.pool} & {one.digest for one in found.test}
    rows_shown: Rows = [
        ("data", found.pool_name if found.split_off else f"{found.pool_name}, {found.test_name}"),
        ("shape", found.shape),
        ("to train on", _examples(len(found.pool))),
        ("to test on", f"{_examples(len(found.test))}{', split off' if found.split_off else ''}"),
        *_turns(everyone),
        *((f"field: {shown_line(name[:NAME])}", value) for name, value in _fields(everyone)),
        ("the same text again", _number(len(everyone) - len({one.digest for one in everyone}) - len(shared))),
        ("to test on and in the pool", _number(len(shared))),
        ("characters", _spread([len(one.text) for one in everyone])),
    ]
    notes = [*found.notes, *leaks(found.pool, found.test)]
    if model is None:
        return DataInspection(rows_shown, tuple(_as_read(one) for one in found.pool[:SHOWN]), tuple(notes))
    from gptfl.training.load import load_tokenizer
    from gptfl.training.tokenization import Tokenizer

    made, longest = load_tokenizer(model, progress)
    template = None if row_options.chat_template is None else read_template(row_options.chat_template)
    name = f"--model {model}"
    tokenizer = Tokenizer(
        made,
        max_length,
        longest,
        end_token=row_options.end_token,
        template=template,
        name=name,
        files={"pool": found.pool_name, "test": found.test_name},
    )
    lengths, refused = _tokenize(tokenizer, found.pool, found.test, progress)
    rows_shown += [
        ("tokens", _spread([tokens for tokens, _ in lengths])),
        ("tokens learned", _spread([learned for _, learned in lengths])),
        (f"at --max-length {tokenizer.max_length}", _cut(tokenizer, refused)),
    ]
    if refused:
        notes.append(f"refused when recorded: {refused[0]}")
    if len(lengths) + len(refused) < len(everyone):
        notes.append(f"tokens are of the first {MOST:,} examples of each side")
    shown = tuple(_as_fed(tokenizer, one) for one in found.pool[:SHOWN])
    return DataInspection(rows_shown, shown, (*notes, *tokenizer.notes))


def _examples(count: int) -> str:
    return f"{count:,} example{'' if count == 1 else 's'}"


def _turns(examples: Sequence[Example]) -> Rows:
    talks = [one for one in examples if one.turns]
    if not talks:
        return []
    learned = sum(turn.target for one in talks for turn in one.turns)
    return [("messages", f"{_spread([len(one.turns) for one in talks])}; {learned:,} of them are learned")]


def _fields(examples: Sequence[Example]) -> Iterable[tuple[str, str]]:
    """What the other fields hold, to group by."""
    names = list(dict.fromkeys(name for one in examples for name in one.fields))
    for name in names[:FIELDS]:
        values = Counter(json_text(one.fields[name])[:80] for one in examples if name in one.fields)
        lacking = len(examples) - values.total()
        common = ", ".join(f"{value} ({count})" for value, count in values.most_common(VALUES))
        more = f"{len(values):,} different: {common}, ..." if len(values) > VALUES else common
        yield name, f"{more}{f'; not in {lacking}' if lacking else ''}"
    if len(names) > FIELDS:
        yield "more", f"{len(names) - FIELDS:,} other fields"


def _number(count: int) -> str:
    return f"{count:,}" if count else "none"


def _spread(values: Sequence[int]) -> str:
    if not values:
        return "none"
    least, middle, most = int(min(values)), float(np.median(values)), int(max(values))
    return f"{least:,}" if least == most else f"{least:,} to {most:,}, median {middle:,.0f}"


def _tokenize(
    tokenizer: "Tokenizer", pool: Sequence[Example], test: Sequence[Example], progress: Progress
) -> tuple[list[tuple[int, int]], list[str]]:
    """(tokens, tokens learned) of each example that can be fed, and why the others can't."""
    from gptfl.training.tokenization import training_rows

    lengths, refused = [], []
    sides = [(flag, one) for flag, side in (("pool", pool), ("test", test)) for one in side[:MOST]]
    for number, (flag, example) in enumerate(sides, 1):
        try:
            tokenizer.read([example], flag)
            (row,) = training_rows(tokenizer, [example], flag)
            lengths.append((len(row.input_ids) + 1, len(row.tokens)))
        except DataError as error:
            if "chat template" in error.problem:  # of the model or the template, not of this example
                raise
            refused.append(str(error))
        progress("inspect", number, len(sides))
    return lengths, refused


def _cut(tokenizer: "Tokenizer", refused: Sequence[str]) -> str:
    counts = tokenizer.counts
    cut, lost = counts.cut + counts.ended, counts.lost + counts.lost_ends
    text = f"{cut:,} of {counts.examples:,} are cut ({lost:,} tokens)" if cut else "nothing is cut"
    return f"{text}; {len(refused):,} don't fit" if refused else text


def _as_read(example: Example) -> ShownExample:
    if not example.turns:
        return ShownExample(example.id, "pool", _parts([(example.prompt, False), (example.target, True)]))
    turns = [
        piece
        for turn in example.turns
        for piece in ((f"{turn.role}: ", False), (turn.text, turn.target), ("\n", False))
    ]
    return ShownExample(example.id, "pool", _parts(turns[:-1]))


def _as_fed(tokenizer: "Tokenizer", example: Example) -> ShownExample:
    from gptfl.training.tokenization import training_rows

    try:
        (row,) = training_rows(tokenizer, [example])
    except DataError:
        return _as_read(example)
    ids = (*row.input_ids, int(row.tokens[-1]))
    is_target = np.isin(np.arange(len(ids)), row.positions + 1)
    edges = [0, *(np.flatnonzero(np.diff(is_target)) + 1).tolist(), len(ids)]
    decode = tokenizer.tokenizer.decode
    parts = [
        (
            decode(list(ids[start:end]), skip_special_tokens=False, clean_up_tokenization_spaces=False),
            bool(is_target[start]),
        )
        for start, end in itertools.pairwise(edges)
    ]
    return ShownExample(example.id, "pool", _parts(parts))


def _parts(pieces: Iterable[tuple[str, bool]]) -> tuple[tuple[str, bool], ...]:
    return tuple((text, learned) for text, learned in pieces if text)


def one_line(example: ShownExample) -> str:
    """An example on one line, for terminals: line breaks as \u23ce."""
    return shown_line(example.text.replace("\n", " \u23ce "))
