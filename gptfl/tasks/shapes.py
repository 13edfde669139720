"""The shapes that rows come in, recognised by their fields, and the example that a row of each is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

from gptfl.core import Example, fingerprint
from gptfl.core.turns import ASSISTANT, Turn
from gptfl.errors import DataError, UsageError
from gptfl.tasks.conversations import ALL, WHICH, listed, marked, names, read_turns
from gptfl.tasks.jsonl import JsonLines
from gptfl.tasks.rows import TaskRow, as_label, shown

EXPECTED = "prompt and target or completion, messages, conversations, instruction and output, or text (see --fields for others)"
ALPACA = (
    "Below is an instruction that describes a task{paired}. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n{given}### Response:\n"
)
"""The wording that Alpaca's data was first trained with, and trainers still use."""
PAIRED = ", paired with an input that provides further context"


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape by the fields that a row of it has, and those that it may have."""

    name: str
    needs: tuple[str, ...]
    may: tuple[str, ...] = ()
    chat: bool = False


TEXT = Shape("plain text", ("text",))
SHAPES = (
    Shape("messages", ("messages",), ("tools",), chat=True),
    Shape("ShareGPT conversations", ("conversations",), ("system", "tools"), chat=True),
    Shape("prompt and target", ("prompt", "target"), ("choices", "label")),
    Shape("prompt and completion", ("prompt", "completion"), ("choices", "label", "tools")),
    Shape("Alpaca instruction and output", ("instruction", "output"), ("input", "system")),
    TEXT,
)
"""In the order in which they are looked for."""
MARKS = ("weight", "train", "trainable", "loss")
"""Fields of messages by which trainers choose what to learn."""
CHAT_PAIR = Shape("prompt and completion, both of messages", ("prompt", "completion"), ("tools",), chat=True)
CHATS = frozenset(shape.name for shape in (*SHAPES, CHAT_PAIR) if shape.chat)
"""The names of those that are conversations."""
NAMES = (*dict.fromkeys(name for shape in SHAPES for name in (*shape.needs, *shape.may)), "id")
NEAR = 0.8
"""How alike two names are of which one is the other misspelt, from 0 to 1."""
PAIRS = (
    *(("question", "answer"), ("query", "response"), ("question", "response"), ("prompt", "response")),
    *(
        ("prompt", "chosen"),
        ("input", "output"),
        ("input", "target"),
        ("source", "target"),
        ("instruction", "response"),
    ),
    *(("dialogue", "summary"), ("document", "summary"), ("article", "highlights"), ("user", "assistant")),
)
"""Fields that often are a prompt and its target, for a message to propose."""


def _misspelt(values: Mapping[str, Any]) -> dict[str, str]:
    """By the names of fields that make no shape, the ones of gptfl's that they nearly are and that would make one."""
    for shape in SHAPES:
        others = [name for name in values if name not in shape.needs]
        near = {name: get_close_matches(name, others, 1, NEAR) for name in shape.needs if name not in values}
        if near and all(near.values()):
            return {found[0]: name for name, found in near.items()}
    return {}


def parse_fields(text: str | None) -> dict[str, str]:
    """Which field of a row stands for which of gptfl's, from ``--fields``: ``prompt=question,target=answer``.

    Raises ``UsageError`` for what is no such list.
    """
    found: dict[str, str] = {}
    for part in text.split(",") if text is not None else ():
        name, sign, column = (piece.strip() for piece in part.partition("="))
        if sign and column and name not in NAMES:
            near = [f"{one}={column}" for one in get_close_matches(name, NAMES, 1)]
            if column in NAMES:  # the other way round
                near = [f"{column}={name}"]
            raise UsageError(
                f"--fields {text!r}: {name!r} is no field of gptfl's",
                f"did you mean {near[0]}?" if near else f"known: {', '.join(NAMES)}",
            )
        if not sign or not column:
            raise UsageError(
                f"--fields {text!r}: {part.strip()!r} doesn't say which field is which",
                f"write for example prompt=question,target=answer; known: {', '.join(NAMES)}",
            )
        if name in found:
            raise UsageError(f"--fields {text!r} names {name!r} twice", "name it once")
        found[name] = column
    return found


@dataclass
class RowReader:
    """Makes examples of rows: the first row tells the shape, which all have.

    ``fields`` are those of ``parse_fields``, ``loss_on`` says which turns are targets, and with ``as_chat`` an Alpaca
    row is a conversation of two turns.
    """

    fields: Mapping[str, str] = field(default_factory=dict)
    loss_on: str = ASSISTANT
    as_chat: bool = False
    shape: Shape | None = None
    roles: dict[str, None] = field(default_factory=dict)
    """The roles of the turns that were read."""
    kept: dict[str, None] = field(default_factory=dict)
    """The other fields of the rows that were read."""
    marks: dict[str, None] = field(default_factory=dict)
    """The fields of messages by which other trainers choose what to learn, and which nothing here follows."""

    def read(self, row: TaskRow) -> Example:
        """The example that a row is. Raises ``DataError``, naming its place, for a row of no shape or another one."""
        named = self._named(row)
        if self.shape is None:
            self.shape = self._recognise(row, named)
            if not self.shape.chat and self.loss_on not in WHICH:
                raise DataError(
                    f"{row.place}: --loss-on {self.loss_on} names a field of messages, and the rows are {self.shape.name}",
                    "leave --loss-on out",
                )
        shape = self.shape
        lacking = [name for name in shape.needs if name not in named]
        if lacking:
            column = self.fields.get(lacking[0], lacking[0])
            lack = f"null in {column!r}" if column in row.values else f"no {column!r}"
            raise DataError(
                f"{row.place} has {lack}, and the rows before are {shape.name} (it has {names(row.values)})",
                "make all rows of a file alike, or give another --fields",
            )
        used = {self.fields.get(name, name) for name in (*shape.needs, *shape.may, "id") if name in named}
        others = {name: value for name, value in row.values.items() if name not in used and value is not None}
        self.kept |= dict.fromkeys(others)
        known = {name: named[name] for name in (*shape.needs, *shape.may, "id") if name in named}
        own = replace(row, values=known)
        return replace(_MAKERS[shape.name](self, own, others), id=own.id(_content_id(row)))

    def _named(self, row: TaskRow) -> dict[str, Any]:
        """gptfl's fields of a row, by their names; what is null, or an empty id, is not there."""
        lacking = [column for column in self.fields.values() if column not in row.values]
        if lacking and self.shape is None:
            raise DataError(
                f"{row.place} has no field {lacking[0]!r}, which --fields names (it has {names(row.values)})",
                "name the fields that it has",
            )
        own = {name: row.values[name] for name in NAMES if name in row.values and name not in self.fields}
        found = {**own, **{name: row.values.get(column) for name, column in self.fields.items()}}
        return {name: value for name, value in found.items() if value is not None and (name, value) != ("id", "")}

    def _recognise(self, row: TaskRow, named: Mapping[str, Any]) -> Shape:
        # What --fields names goes before what a row has besides.
        first = sorted(SHAPES, key=lambda shape: not any(name in self.fields for name in shape.needs))
        for shape in first:
            if all(name in named for name in shape.needs):
                pair = shape.needs == CHAT_PAIR.needs and isinstance(listed(named["prompt"]), list)
                return (
                    CHAT_PAIR if pair else replace(shape, chat=shape.chat or (self.as_chat and "output" in shape.needs))
                )
        near = _misspelt(row.values)
        if near:
            wrong, right = next(iter(near.items()))
            also = ",".join(f"{name}={column}" for column, name in near.items())
            raise DataError(
                f"{row.place} has the fields {names(row.values)}, no shape that gptfl knows",
                f"did you mean {right!r} by {wrong!r}? Rename it, or say --fields {also}",
            )
        guess = next((pair for pair in PAIRS if all(isinstance(row.values.get(one), str) for one in pair)), None)
        prompt, target = guess or ("FIELD", "FIELD")
        raise DataError(
            f"{row.place} has the fields {names(row.values)}, no shape that gptfl knows",
            f"say which is which, as in --fields prompt={prompt},target={target}; shapes: {EXPECTED}",
        )

    def called(self, name: str) -> str:
        """How messages call one of gptfl's fields: as the rows do."""
        return f"field {self.fields.get(name, name)!r}"

    def conversation(self, row: TaskRow, turns: Any, fields: Mapping[str, Any], first: int = 0) -> Example:
        """The example of a row's turns, those marked that are targets.

        Args:
            row: for messages.
            turns: of the conversation, as the row has them.
            fields: further fields of the example.
            first: only turns from this one on can be targets.
        """
        chosen = marked(row, turns, self.loss_on, first)
        self.marks |= dict.fromkeys(name for _, message in turns for name in MARKS if message.get(name) is not None)
        self.roles |= dict.fromkeys(turn.role for turn in chosen)
        tools = listed(row.values.get("tools"))
        if tools is not None and not isinstance(tools, list):
            raise row.wrong("field 'tools' is not a list of tools")
        return Example.of_turns("", chosen, {**fields, "tools": tools} if tools else fields)


def _content_id(row: TaskRow) -> str:
    """What calls a row that has no id, wherever it stands in its file."""
    return fingerprint("row", {name: value for name, value in row.values.items() if value is not None})[:12]


def _messages(reader: RowReader, row: TaskRow, fields: Mapping[str, Any]) -> Example:
    name = "messages" if "messages" in row.values else "conversations"
    turns = read_turns(row, reader.called(name), row.values[name])
    system = row.values.get("system")
    if isinstance(system, str) and system.strip() and turns[0][0].role != "system":
        turns.insert(0, (Turn("system", system), {}))
    return reader.conversation(row, turns, fields)


def _chat_pair(reader: RowReader, row: TaskRow, fields: Mapping[str, Any]) -> Example:
    prompt, answer = (read_turns(row, reader.called(name), row.values[name]) for name in CHAT_PAIR.needs)
    return reader.conversation(row, [*prompt, *answer], fields, len(prompt))


def _pair(reader: RowReader, row: TaskRow, fields: Mapping[str, Any]) -> Example:
    target = "target" if "target" in row.values else "completion"
    values = {name: value for name, value in row.values.items() if name not in ("id", target, "tools") and value != ""}
    if not isinstance(row.values["prompt"], str):
        raise row.wrong(f"{reader.called('prompt')} is {shown(row.values['prompt'])}, not a text")
    answer = row.checked(row.values[target], reader.called(target))
    values |= {"prompt": row.values["prompt"], "target": answer, "choices": listed(values.get("choices"))}
    if "label" in values and values["choices"] is not None:
        values["label"] = as_label(values["label"])
    if values["choices"] is None and "label" in values:  # a label of something else
        fields = {**fields, "label": values.pop("label")}
    made = JsonLines().example(replace(row, values=values), "")
    return _wholly(reader, row, replace(made, fields=fields))


def _alpaca(reader: RowReader, row: TaskRow, fields: Mapping[str, Any]) -> Example:
    instruction, output = (row.checked(row.values[name], reader.called(name)) for name in ("instruction", "output"))
    given, system = (row.any_text(name) if name in row.values else "" for name in ("input", "system"))
    if reader.shape is not None and reader.shape.chat:
        prompt = f"{instruction}\n\n{given}" if given.strip() else instruction
        turns = [*([Turn("system", system)] if system.strip() else []), Turn("user", prompt), Turn(ASSISTANT, output)]
        return reader.conversation(row, [(turn, {}) for turn in turns], fields)
    paired, part = (PAIRED, f"### Input:\n{given}\n\n") if given.strip() else ("", "")
    prompt = ALPACA.format(paired=paired, instruction=instruction, given=part)
    prompt = f"{system}\n\n{prompt}" if system.strip() else prompt
    return _wholly(reader, row, Example("", prompt, output, fields=fields))


def _text(reader: RowReader, row: TaskRow, fields: Mapping[str, Any]) -> Example:
    return Example("", "", row.checked(row.values["text"], reader.called("text")), fields=fields)


def _wholly(reader: RowReader, row: TaskRow, example: Example) -> Example:
    """With ``--loss-on all``, all of the text as the target."""
    if reader.loss_on != ALL:
        return example
    if example.choices:
        raise row.wrong("--loss-on all leaves no choices to tell apart")
    return Example("", "", example.text, fields=example.fields)


_MAKERS: Mapping[str, Callable[[RowReader, TaskRow, Mapping[str, Any]], Example]] = {
    **dict.fromkeys(("messages", "ShareGPT conversations"), _messages),
    **dict.fromkeys(("prompt and target", "prompt and completion"), _pair),
    CHAT_PAIR.name: _chat_pair,
    "Alpaca instruction and output": _alpaca,
    TEXT.name: _text,
}
