"""Data of one's own: shapes, ids, what is set aside, duplicates and leaks."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import gptfl
from gptfl.core import Example
from gptfl.errors import DataError, GptflError, ResourceError, UsageError
from gptfl.tasks import hub_rows
from gptfl.tasks.own_data import DataRequest, OwnData, split_off
from gptfl.tasks.rows import TaskRow
from gptfl.tasks.shapes import RowReader, parse_fields

CHAT = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": [{"type": "text", "text": "Is it "}, {"type": "text", "text": "red?"}]},
    {"role": "assistant", "content": "Yes."},
    {"role": "user", "content": "And now?"},
    {"role": "assistant", "content": "No."},
]
SHARE = [{"from": "human", "value": "Is it red?"}, {"from": "gpt", "value": "Yes."}]


def write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def own(**options: Any) -> OwnData:
    return OwnData(DataRequest(**options))


def made(row: dict[str, Any], fields: str | None = None, **options: Any) -> Example:
    return RowReader(parse_fields(fields), **options).read(TaskRow(row, "f, line 7", "x", "a row with"))


def pairs(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"prompt": f"Question {i}?", "target": f" {i}", **more} for i in range(count)]


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
    path = write(tmp_path / "a.jsonl", rows)
    assert any("--loss-on weight learns those where it is true" in note for note in own(data=path).rows.notes)
    followed = own(data=write(tmp_path / "b.jsonl", rows[:1]), eval_share=0.5, loss_on="weight")
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


@pytest.mark.parametrize(
    ("row", "options", "message"),
    [
        ({"question": "a", "answer": "b"}, {}, "f, line 7 has the fields question, answer, no shape"),
        ({"question": "a", "answer": "b"}, {}, "--fields prompt=question,target=answer"),
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
    path = write(tmp_path / "a.jsonl", [{"prompt": "a", "completion": "b"}, {"text": "c"}])
    with pytest.raises(DataError, match=r"a\.jsonl, line 2 has no 'prompt', and the rows before are prompt and compl"):
        own(data=path).load(None, None, 1)


@pytest.mark.parametrize("text", ["question", "prompt=", "prompt=a,prompt=b", "who=a"])
def test_fields_that_say_nothing(text: str) -> None:
    with pytest.raises(UsageError, match="--fields"):
        parse_fields(text)


def test_ids_split_and_draw_are_the_same_for_rows_in_another_order_and_with_more_of_them(tmp_path: Path) -> None:
    rows = [
        *pairs(60, source="web"),
        {"prompt": "q", "target": "r", "id": "own"},
        {"prompt": "u", "target": "v", "id": 7},
    ]
    shuffled = random.Random(0).sample(rows, len(rows))
    first, other = (own(data=write(tmp_path / name / "a.jsonl", one)) for name, one in (("1", rows), ("2", shuffled)))
    assert first.load(20, 4, 3).pool == other.load(20, 4, 3).pool
    assert first.load(20, 4, 3).test == other.load(20, 4, 3).test
    assert first.load(30, 4, 3).pool[:20] == first.load(20, 4, 3).pool
    assert first.load(20, 4, 4).pool != first.load(20, 4, 3).pool
    assert {"own", "7"} <= {one.id for one in (*first.rows.pool, *first.rows.test)}
    more = own(data=write(tmp_path / "3" / "a.jsonl", [*rows, *({**one, "prompt": "new"} for one in pairs(30))]))
    for side in ("pool", "test"):
        assert {one.id for one in getattr(first.rows, side)} <= {one.id for one in getattr(more.rows, side)}
    assert all(one.fields == {"source": "web"} for one in first.rows.pool if one.prompt.startswith("Question"))


def test_an_id_that_comes_twice_and_rows_that_are_alike(tmp_path: Path) -> None:
    twice = write(tmp_path / "a.jsonl", [{**one, "id": "x"} for one in pairs(2)])
    with pytest.raises(DataError, match=r"line 2: id 'x' was used before, at .*line 1"):
        own(data=twice).load(None, None, 1)
    same = own(data=write(tmp_path / "b.jsonl", pairs(9) + pairs(2) + pairs(1, source="mail")))
    ids = [one.id for one in (*same.rows.pool, *same.rows.test)]
    assert len(set(ids)) == 12
    assert sum(id.endswith("-2") for id in ids) == 2
    assert any(
        "3 rows have the same text as an earlier one" in note and "line 10, as line 1" in note
        for note in same.rows.notes
    )
    kept, held_out = split_off((*same.rows.pool, *same.rows.test), 0.3)
    assert not {one.digest for one in kept} & {one.digest for one in held_out}


def test_a_share_is_about_that_share_and_at_least_one() -> None:
    examples = tuple(Example(str(i), "p", str(i)) for i in range(400))
    kept, held_out = split_off(examples, 0.25)
    assert 70 < len(held_out) < 130
    assert sorted((*kept, *held_out), key=lambda one: int(one.id)) == list(examples)
    assert [len(side) for side in split_off(examples[:3], 1e-9)] == [2, 1]


def test_test_examples_that_stand_in_the_pool_are_reported(tmp_path: Path) -> None:
    train, test = write(tmp_path / "t.jsonl", pairs(6)), write(tmp_path / "e.jsonl", [*pairs(8)[5:], {"text": "x"}][:3])
    notes = own(train=train, eval=test).load(None, None, 1).notes
    assert any(note.startswith("1 test example stands in the pool, too (") for note in notes)
    assert own(train=train, eval=test).name == "t"


def test_folders(tmp_path: Path) -> None:
    hub = tmp_path / "reviews" / "data"
    for name, count in (("train-00000-of-00002", 4), ("train-00001-of-00002", 3), ("validation", 2), ("test", 1)):
        write(hub / f"{name}.jsonl", [{**one, "prompt": f"{name} {one['prompt']}"} for one in pairs(count)])
    found = own(data=tmp_path / "reviews")
    assert (found.name, found.sizes()) == ("reviews", (7, 1))
    write(tmp_path / "logs" / "may.jsonl", pairs(9))
    write(tmp_path / "logs" / "june.jsonl", [{"text": f"t{i}"} for i in range(0)] or pairs(12)[9:])
    assert sum(own(data=tmp_path / "logs").sizes()) == 12
    assert own(data=hub / "train-00000-of-00002.jsonl").name == "train-00000-of-00002"
    (tmp_path / "empty").mkdir()
    write(tmp_path / "tests" / "test.jsonl", pairs(2))
    for folder, message in (("empty", "holds no file of rows"), ("tests", "holds only rows to test on")):
        with pytest.raises(DataError, match=message):
            own(data=tmp_path / folder).load(None, None, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give --data FILE, or name a task"),
        ({"eval": Path("e")}, "--eval is given, and no rows to train on"),
        ({"data": Path("a"), "train": Path("b")}, "--data and --train both say"),
        ({"data": Path("a"), "split": "train"}, "--split train is of a data set of the Hub"),
        ({"dataset": "a", "eval": Path("e")}, "--eval with --dataset"),
        ({"data": Path("a"), "eval": Path("e"), "eval_share": 0.1}, "--eval-share and --eval both say"),
        ({"data": Path("a"), "fields": "x"}, "--fields 'x'"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        own(**options)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", "", "a.jsonl holds no rows"),
        ("a.jsonl", '{"text": "x"}', "has 1 row, of which --eval-share 0.1 leaves 0 to train on"),
        ("a.txt", "x", "no ending that says how its rows are written"),
        ("a.jsonl", None, "does not exist"),
    ],
)
def test_files_of_nothing(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        own(data=tmp_path / name).load(None, None, 1)


def test_too_few_are_reported_with_the_flag(tmp_path: Path) -> None:
    data = own(data=write(tmp_path / "a.jsonl", pairs(9)))
    pool, _ = data.sizes()
    with pytest.raises(DataError, match=f"--pool 10 is more than the {pool} examples"):
        data.load(10, 1, 1)


def test_a_data_set_of_the_hub_is_streamed_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "set"
    write(folder / "train.jsonl", pairs(30))
    write(folder / "test.jsonl", pairs(40)[35:])
    monkeypatch.setattr(hub_rows, "MAX_ROWS", 20)
    found = own(dataset=str(folder), eval_split="test")
    assert (found.name, found.sizes()) == ("set", (20, 5))
    with pytest.raises(DataError, match=r"--dataset .* can't be read .*Bad split: dev"):
        own(dataset=str(folder), split="dev").load(None, None, 1)


def test_a_data_set_that_is_not_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        ResourceError, match="--dataset nobody/nothing, and HF_HUB_OFFLINE is set, and it is in no cache"
    ):
        own(dataset="nobody/nothing").load(None, None, 1)


def test_without_a_network_the_cache_of_the_hub_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    folder, commit = tmp_path / "datasets--nobody--pairs", "a" * 40
    write(folder / "snapshots" / commit / "train.jsonl", pairs(12))
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(commit)
    data = own(dataset="nobody/pairs")
    assert (data.name, sum(data.sizes())) == ("pairs", 12)


def test_every_refusal_is_one_of_ours(tmp_path: Path) -> None:
    for text in (
        "[",
        "{}",
        '{"messages": {}}',
        '{"conversations": [[]]}',
        '{"text": null}',
        '{"prompt": [], "completion": []}',
    ):
        (tmp_path / "a.jsonl").write_text(text)
        with pytest.raises(GptflError):
            own(data=tmp_path / "a.jsonl").load(None, None, 1)


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet", "folder"])
def test_a_circle_of_links_is_no_file_of_rows(name: str, tmp_path: Path) -> None:
    (tmp_path / name).symlink_to(tmp_path / name)
    with pytest.raises(DataError, match="does not exist"):
        gptfl.inspect_data(data=tmp_path / name)
