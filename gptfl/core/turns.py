"""Conversations: who said what, and which of it is to be learned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gptfl.core.texts import json_text

ASSISTANT, USER = "assistant", "user"


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation; a ``target`` is learned and measured.

    ``more`` holds what else a chat template may read of it (``tool_calls``, ``name``, ...), JSON-able.
    """

    role: str
    content: str
    target: bool = False
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def message(self) -> dict[str, Any]:
        """What a chat template reads."""
        return {"role": self.role, "content": self.content, **self.more}

    @property
    def text(self) -> str:
        """What was said, the calls of tools after it."""
        calls = self.more.get("tool_calls")
        return " ".join(filter(None, (self.content, json_text(calls) if calls else "")))

    def to_json(self) -> dict[str, Any]:
        """The turn as JSON; what is empty is left out."""
        fields: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.target:
            fields["target"] = True
        if self.more:
            fields["more"] = dict(self.more)
        return fields

    @classmethod
    def from_json(cls, value: Any) -> "Turn | None":
        """The turn again; None for what is none."""
        if not isinstance(value, dict) or not {"role", "content"} <= value.keys() <= {
            "role",
            "content",
            "target",
            "more",
        }:
            return None
        role, content, target, more = (value.get(name) for name in ("role", "content", "target", "more"))
        if not isinstance(role, str) or not isinstance(content, str) or target not in (None, True):
            return None
        if more is not None and not isinstance(more, dict):
            return None
        return cls(role, content, bool(target), more or {})


def turns_from_json(value: Any) -> tuple[Turn, ...] | None:
    """The turns of a list, one of them a target or none there; None for what is no such list."""
    turns = [Turn.from_json(one) for one in value] if isinstance(value, list) else [None]
    known = tuple(turn for turn in turns if turn is not None)
    if len(known) < len(turns) or (known and not any(turn.target for turn in known)):
        return None
    return known


def transcript(turns: Sequence[Turn]) -> tuple[str, str]:
    """A conversation as a prompt and a target: the last turn that is a target, and all before it, by role.

    This is what encoders of texts read and tables show; a model reads what its chat template makes of the turns.
    """
    last = max(place for place, turn in enumerate(turns) if turn.target)
    before = [f"{turn.role}: {turn.text}" for turn in turns[:last]]
    return "\n".join([*before, f"{turns[last].role}:"]), f" {turns[last].text}"
