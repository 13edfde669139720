"""The shapes of rows are recognised by their fields; what fits none is one line."""

import json
from pathlib import Path
from typing import Any

import pytest

from gptfl.errors import DataError, UsageError
from gptfl.tasks.shapes import parse_fields
from tests.tasks.task_files import CHAT, made, own, write_lines

SHARE = [{"from": "human", "value": "Is it red?"}, {"from": "gpt", "value": "Yes."}]


@pytest.mark.parametrize(
    ("row", "fields", "prompt", "target"),
    [
        ({"prompt": "a", "target": "b"}, None, "a", "b"),
        ({"prompt": "", "completion": "b"}, None, "", "b"),
        ({"text": "b"}, None, "", "b"),
        ({"question": "a", "answer": "b"}, "prompt=question,target=answer", "a", "b"),
        ({"prompt": "other", "question": "a", "answer": "b"}, "prompt=question,target=answer", "a", "b"),
        ({"messages": SHARE, "q": "a", "a": "b"}, "prompt=q,completion=a", "a", "b"),
        ({"messages": SHARE}, None, "user: Is it red?\nassistant:", " Yes."),
        ({"conversations": SHARE, "system": "Hi"}, None, "system: Hi\nuser: Is it red?\nassistant:", " Yes."),
        ({"messages": json.dumps(SHARE)}, None, "user: Is it red?\nassistant:", " Yes."),
        ({"dialogue": SHARE}, "messages=dialogue", "user: Is it red?\nassistant:", " Yes."),
        ({"prompt": SHARE[:1], "completion": SHARE[1:]}, None, "user: Is it red?\nassistant:", " Yes."),
    ],
)
def test_shapes(row: dict[str, Any], fields: str | None, prompt: str, target: str) -> None:
    found = made(row, fields)
    assert (found.prompt, found.target) == (prompt, target)
    assert bool(found.turns) == ("assistant:" in prompt)


def test_alpaca_is_worded_as_trainers_word_it_and_a_conversation_where_there_is_a_template() -> None:
    row = {"instruction": "Add.", "input": "1 and 2", "output": "3", "text": "all of it"}
    plain = made(row)
    assert plain.prompt.startswith("Below is an instruction that describes a task, paired with an input")
    assert plain.prompt.endswith("### Instruction:\nAdd.\n\n### Input:\n1 and 2\n\n### Response:\n")
    assert (plain.target, plain.fields) == ("3", {"text": "all of it"})
    assert "### Input" not in made({**row, "input": ""}).prompt
    chat = made(row, as_chat=True)
    assert [(turn.role, turn.content) for turn in chat.turns] == [("user", "Add.\n\n1 and 2"), ("assistant", "3")]


@pytest.mark.parametrize(
    ("row", "options", "message"),
    [
        ({"question": "a", "answer": "b"}, {}, "f, line 7 has the fields question, answer, no shape"),
        ({"question": "a", "answer": "b"}, {}, "--fields prompt=question,target=answer"),
        ({"mesages": CHAT}, {}, "did you mean 'messages' by 'mesages'? Rename it, or say --fields messages=mesages"),
        (
            {"promt": "a", "target": "b"},
            {},
            "did you mean 'prompt' by 'promt'? Rename it, or say --fields prompt=promt",
        ),
        ({"promt": "a", "taget": "b"}, {}, "say --fields prompt=promt,target=taget"),
        ({"messages": [{"role": "assistant", "content": ""}]}, {}, "is empty: fill it in, or leave the row out"),
        ({"text": 5}, {}, "not a text: expected a row with x"),
        ({"messages": [5]}, {}, 'not an object with role and content: write messages as [{"role"'),
        ({"chosen": "a"}, {}, "--fields prompt=FIELD,target=FIELD"),
        ({}, {}, "has the fields none"),
        ({"prompt": "a", "target": 5}, {}, "field 'target' is 5, not a text"),
        ({"prompt": 5, "completion": "x"}, {}, "field 'prompt' is 5, not a text"),
        ({"prompt": "a", "completion": " "}, {}, "field 'completion' is empty"),
        ({"q": "a", "a": ""}, {"fields": "prompt=q,target=a"}, "field 'a' is empty"),
        ({"q": "a", "a": "b"}, {"fields": "prompt=q,target=z"}, "no field 'z', which --fields names (it has q, a)"),
        ({"text": " "}, {}, "field 'text' is empty"),
        ({"messages": "x"}, {}, "field 'messages' is 'x', not a list of messages"),
        ({"messages": []}, {}, "not a list of messages"),
        ({"messages": [5]}, {}, "message 1 is 5, not an object"),
        ({"messages": [{"who": "me"}]}, {}, "message 1 has the keys who, not role and content"),
        ({"messages": [{"role": "robot", "content": "x"}]}, {}, "has the role 'robot', none of system"),
        ({"messages": [{"role": "user", "content": 5}]}, {}, "has the content 5, neither a text nor a list"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, {}, "has a part 'image'"),
        ({"messages": [{"role": "user", "content": ""}]}, {}, "message 1 (user) is empty"),
        ({"messages": CHAT[:2]}, {}, "no message by the assistant to learn"),
        ({"messages": CHAT}, {"loss_on": "weight"}, "no message has the field 'weight' of --loss-on"),
        ({"messages": [{**CHAT[1], "w": 2}]}, {"loss_on": "w"}, "message 1 has w = 2"),
        ({"prompt": "a", "target": "b"}, {"loss_on": "w"}, "--loss-on w names a field of messages"),
        ({"prompt": "a", "target": "b", "id": "x\ny"}, {}, "which holds a control character"),
        ({"prompt": "a", "target": "b", "choices": ["c", "d"]}, {}, "not among the choices"),
    ],
)
def test_a_row_that_does_not_fit_is_one_line_with_its_place(row: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        made(row, **options)
    assert message in str(caught.value)
    assert str(caught.value).startswith("f, line 7")
    assert "\n" not in str(caught.value)


def test_all_rows_have_the_shape_of_the_first(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [{"prompt": "a", "completion": "b"}, {"text": "c"}])
    with pytest.raises(DataError, match=r"a\.jsonl, line 2 has no 'prompt', and the rows before are prompt and compl"):
        own(data=path).load(None, None, 1)


def test_a_field_that_is_null_is_told_from_none(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [{"prompt": "a", "completion": "b"}, {"prompt": "c", "completion": None}])
    with pytest.raises(DataError, match=r"line 2 has null in 'completion', and the rows before are prompt and compl"):
        own(data=path).load(None, None, 1)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("promt=question,target=answer", "did you mean prompt=question?"),
        ("question=prompt", "did you mean prompt=question?"),
        ("who=a", "known: messages, tools,"),
    ],
)
def test_fields_that_gptfl_has_not_are_told_with_the_nearest(text: str, remedy: str) -> None:
    with pytest.raises(UsageError, match="is no field of gptfl's") as caught:
        parse_fields(text)
    assert caught.value.remedy.startswith(remedy)


@pytest.mark.parametrize("text", ["question", "prompt=", "prompt=a,prompt=b", "who=a"])
def test_fields_that_say_nothing(text: str) -> None:
    with pytest.raises(UsageError, match="--fields"):
        parse_fields(text)
