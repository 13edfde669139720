"""Conversations of rows: their turns, and which of them are learned."""

import json
from pathlib import Path

import pytest

from gptfl.errors import DataError
from gptfl.tasks.conversations import ROLES, listed, marked, names, read_turns
from gptfl.tasks.rows import TaskRow
from tests.tasks.task_files import CHAT, made, own, write_lines


def test_turns_and_which_of_them_are_learned() -> None:
    row = {"messages": [{**one, "weight": int(place == 2)} for place, one in enumerate(CHAT)]}
    found = {which: [turn.target for turn in made(row, loss_on=which).turns] for which in ("assistant", "last", "all")}
    assert found == {
        "assistant": [False, False, True, False, True],
        "last": [False, False, False, False, True],
        "all": [True] * 5,
    }
    first = made(row, loss_on="weight")
    assert [turn.target for turn in first.turns] == [False, False, True, False, False]
    assert (first.prompt, first.target) == ("system: Be kind.\nuser: Is it red?\nassistant:", " Yes.")
    assert first.digest != made(row).digest
    assert made({"prompt": "a", "target": "b"}, loss_on="all").target == "ab"


def test_marks_of_other_trainers_that_nothing_follows_are_reported(tmp_path: Path) -> None:
    rows = [{"messages": [{**one, "weight": 1} for one in CHAT], "n": i} for i in range(3)]
    rows += [{"messages": [{"role": "user", "content": "else"}, CHAT[2]]}]
    path = write_lines(tmp_path / "a.jsonl", rows)
    assert any("--loss-on weight learns those where it is true" in note for note in own(data=path).rows.notes)
    followed = own(data=write_lines(tmp_path / "b.jsonl", rows[:1]), eval_share=0.5, loss_on="weight")
    with pytest.raises(DataError, match="leaves 0 to train on"):
        assert followed.rows


def test_tools_are_kept_for_the_template() -> None:
    call = [{"type": "function", "function": {"name": "look", "arguments": {}}}]
    turns = [CHAT[1], {"role": "assistant", "content": None, "tool_calls": call}, {"role": "tool", "content": "red"}]
    found = made({"messages": turns, "tools": json.dumps([{"name": "look"}])})
    assert found.tools == [{"name": "look"}]
    assert found.turns[1].message == {"role": "assistant", "content": "", "tool_calls": call}
    assert "look" in found.target
    assert [turn.target for turn in found.turns] == [False, True, False]


ROW = TaskRow({}, "f, line 7", "x")


def test_a_list_may_be_a_text_of_json_and_other_texts_stay() -> None:
    assert listed(' [{"a": 1}]') == [{"a": 1}]
    for value in ("[1", "text", "", '{"a": 1}', [1], None, 5):
        assert listed(value) == value


@pytest.mark.parametrize("word", ROLES)
def test_every_word_for_a_role_is_one_of_chat_templates(word: str) -> None:
    ((turn, fields),) = read_turns(ROW, "x", [{"from": word.upper(), "value": "é", "n": 1}])
    assert (turn.role, turn.content) == (ROLES[word], "é")
    assert turn.role in ("system", "developer", "user", "assistant", "tool")
    assert fields["n"] == 1


def test_what_templates_read_besides_is_kept_and_null_content_is_no_text() -> None:
    call = [{"function": {"name": "look"}}]
    message = {"role": "assistant", "content": None, "tool_calls": call, "name": "", "tool_call_id": "7", "other": 1}
    ((turn, _),) = read_turns(ROW, "x", [message])
    assert (turn.content, turn.more) == ("", {"tool_calls": call, "tool_call_id": "7"})


def test_only_turns_from_a_place_on_are_targets_and_one_must_be() -> None:
    turns = read_turns(ROW, "x", [{"role": role, "content": "t"} for role in ("assistant", "user", "assistant")])
    assert [turn.target for turn in marked(ROW, turns, "assistant", 1)] == [False, False, True]
    with pytest.raises(DataError, match="f, line 7: no message by the assistant to learn"):
        marked(ROW, turns, "last", 3)


def test_keys_are_listed_up_to_a_number() -> None:
    assert names({}) == "none"
    assert names({"a": 1, "b c": 2}) == "a, 'b c'"
    assert names({f"k{i}": i for i in range(11)}).endswith("k7 and 3 more")
