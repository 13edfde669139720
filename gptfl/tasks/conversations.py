"""Conversations as rows have them: lists of messages, in the words of several tools, made turns."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gptfl.core.texts import JsonError, parse_json
from gptfl.core.turns import ASSISTANT, USER, Turn
from gptfl.errors import DataError
from gptfl.tasks.rows import EMPTY, TaskRow, shown

LAST, ALL = "last", "all"
WHICH = (ASSISTANT, LAST, ALL)
"""What ``--loss-on`` takes besides the name of a field of messages."""
ROLES: Mapping[str, str] = {
    **{role: role for role in ("system", "developer", USER, ASSISTANT, "tool")},
    **dict.fromkeys(("human", "customer"), USER),
    **dict.fromkeys(("gpt", "chatgpt", "bing", "bard", "model", "bot", "function_call"), ASSISTANT),
    **dict.fromkeys(("observation", "function", "function_response", "tool_response"), "tool"),
}
"""The roles of chat templates by the words for them, those of ShareGPT among them."""
WORDS = {"role": ("role", "from"), "content": ("content", "value")}
MORE = ("tool_calls", "name", "tool_call_id", "reasoning_content")
"""What else chat templates read of a message."""
MESSAGES = 'write messages as [{"role": "user", "content": "…"}, …]'
ROOM = 8
"""Names that a message lists at most."""


def listed(value: Any) -> Any:
    """A value as given; a text that is a JSON list, which is how tables hold lists, as that list."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            return parse_json(value)
        except JsonError:
            return value
    return value


def read_turns(row: TaskRow, where: str, value: Any) -> list[tuple[Turn, Mapping[str, Any]]]:
    """Every message of a row's field, which messages call ``where``, as a turn, with its own fields.

    Raises ``DataError`` naming the row's place.
    """
    messages = listed(value)
    if not isinstance(messages, list) or not messages:
        raise row.wrong(f"{where} is {shown(messages)}, not a list of messages", MESSAGES)
    return [_read(row, f"{where}, message {number}", one) for number, one in enumerate(messages, 1)]


def _read(row: TaskRow, where: str, message: Any) -> tuple[Turn, Mapping[str, Any]]:
    if not isinstance(message, dict):
        raise row.wrong(f"{where} is {shown(message)}, not an object with role and content", MESSAGES)
    keys = {part: next((one for one in words if one in message), None) for part, words in WORDS.items()}
    if keys["role"] is None or (keys["content"] is None and not message.get("tool_calls")):
        raise row.wrong(f"{where} has the keys {names(message)}, not role and content (or from and value)", MESSAGES)
    role = message[keys["role"]]
    if not isinstance(role, str) or role.lower() not in ROLES:
        raise row.wrong(
            f"{where} has the role {shown(role)}, none of {', '.join(dict.fromkeys(ROLES.values()))}",
            "name one of them",
        )
    content = _content(row, where, None if keys["content"] is None else message[keys["content"]])
    more = {one: message[one] for one in MORE if message.get(one)}
    if not content.strip() and not more.get("tool_calls") and ROLES[role.lower()] in (ASSISTANT, USER):
        raise row.wrong(f"{where} ({role}) is empty", EMPTY)
    return Turn(ROLES[role.lower()], content, more=more), message


def _content(row: TaskRow, where: str, value: Any) -> str:
    """The text of a message: given as such, or as a list of parts that are texts."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise row.wrong(f"{where} has the content {shown(value)}, neither a text nor a list of parts", "give a text")
    texts = []
    for part in value:
        text = part.get("text") if isinstance(part, dict) and part.get("type", "text") == "text" else part
        if not isinstance(text, str):
            kind = part.get("type") if isinstance(part, dict) else part
            raise row.wrong(f"{where} has a part {shown(kind)}, and gptfl reads texts alone", "leave the row out")
        texts.append(text)
    return "".join(texts)


def marked(row: TaskRow, turns: Sequence[tuple[Turn, Mapping[str, Any]]], loss_on: str, first: int = 0) -> list[Turn]:
    """The turns, with those that count as targets.

    Args:
        row: that they are of, for messages.
        turns: each with its fields.
        loss_on: which turns are targets: ``all``, ``assistant``, ``last``, or the field of a message that marks it.
        first: only turns from this one on can be targets.

    Raises ``DataError`` where none is.
    """
    answers = [place for place, (turn, _) in enumerate(turns) if turn.role == ASSISTANT and place >= first]
    if loss_on == ALL:
        chosen = set(range(len(turns)))
    elif loss_on in (ASSISTANT, LAST):
        chosen = set(answers if loss_on == ASSISTANT else answers[-1:])
    else:
        chosen = _by_field(row, turns, loss_on)
    if not chosen:
        which = f"by --loss-on {loss_on}" if loss_on not in (ASSISTANT, LAST) else "by the assistant"
        raise DataError(f"{row.place}: no message {which} to learn", "leave the row out, or see --loss-on")
    return [replace(turn, target=place in chosen) for place, (turn, _) in enumerate(turns)]


def _by_field(row: TaskRow, turns: Sequence[tuple[Turn, Mapping[str, Any]]], name: str) -> set[int]:
    if not any(name in message for _, message in turns):
        keys = names({key: None for _, message in turns for key in message})
        raise DataError(
            f"{row.place}: no message has the field {name!r} of --loss-on (they have {keys})",
            f"use --loss-on {', '.join(WHICH)} or the name of a field of messages that is true where to learn",
        )
    chosen = set()
    for place, (_, message) in enumerate(turns):
        value = message.get(name)
        if value not in (None, False, True, 0, 1):
            raise row.wrong(
                f"message {place + 1} has {name} = {shown(value)}, and --loss-on reads true or false (1 or 0)",
                "give one of them",
            )
        if value:
            chosen.add(place)
    return chosen


def names(values: Mapping[str, Any]) -> str:
    """The keys of a mapping as a message lists them."""
    known = [key if key.isidentifier() else repr(key)[:40] for key in list(values)[:ROOM]]
    more = len(values) - len(known)
    return ", ".join(known) + (f" and {more} more" if more else "") if known else "none"
