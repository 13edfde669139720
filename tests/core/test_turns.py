"""Conversations: who said what."""

import json
from typing import Any

import pytest

from gptfl.core.turns import Turn, transcript, turns_from_json

CALL = [{"name": "look", "arguments": {"at": "Zoë"}}]


@pytest.mark.parametrize(
    "turn",
    [
        Turn("user", "Why?"),
        Turn("assistant", "So.", target=True),
        Turn("assistant", "", target=True, more={"tool_calls": CALL}),
        Turn("", ""),
    ],
)
def test_a_turn_comes_back_from_json(turn: Turn) -> None:
    assert Turn.from_json(json.loads(json.dumps(turn.to_json()))) == turn


def test_what_is_empty_is_not_written() -> None:
    assert Turn("user", "Why?").to_json() == {"role": "user", "content": "Why?"}
    assert Turn("a", "b", target=True, more={"name": "x"}).to_json() == {
        "role": "a", "content": "b", "target": True, "more": {"name": "x"},
    }  # fmt: skip


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "user",
        {},
        {"role": "user"},
        {"role": "user", "content": 3},
        {"role": None, "content": "x"},
        {"role": "user", "content": "x", "target": False},
        {"role": "user", "content": "x", "target": 1.5},
        {"role": "user", "content": "x", "more": []},
        {"role": "user", "content": "x", "other": 1},
    ],
)
def test_what_is_no_turn_is_none(value: Any) -> None:
    assert Turn.from_json(value) is None


def test_a_template_reads_all_that_is_there_and_people_the_calls_behind_the_words() -> None:
    turn = Turn("assistant", "One moment.", more={"tool_calls": CALL, "name": "bot"})
    assert turn.message == {"role": "assistant", "content": "One moment.", "tool_calls": CALL, "name": "bot"}
    assert turn.text == 'One moment. [{"name": "look", "arguments": {"at": "Zoë"}}]'
    assert Turn("assistant", "", more={"tool_calls": CALL}).text.startswith("[{")
    assert Turn("assistant", "x", more={"tool_calls": []}).text == "x"


def test_the_last_target_is_the_target_and_what_follows_is_not_read() -> None:
    turns = [
        Turn("system", "Be brief."),
        Turn("assistant", "Yes?", target=True),
        Turn("user", "Why?"),
        Turn("assistant", "So.", target=True),
        Turn("user", "Oh."),
    ]
    assert transcript(turns) == ("system: Be brief.\nassistant: Yes?\nuser: Why?\nassistant:", " So.")
    assert transcript(turns[1:2]) == ("assistant:", " Yes?")
    with pytest.raises(ValueError, match="empty"):
        transcript(turns[:1])


def test_turns_come_back_together_or_not_at_all() -> None:
    turns = (Turn("user", "x"), Turn("assistant", "y", target=True))
    assert turns_from_json([turn.to_json() for turn in turns]) == turns
    assert turns_from_json([]) == ()
    for wrong in (None, {}, [turns[0].to_json()], [turns[1].to_json(), 3]):
        assert turns_from_json(wrong) is None
