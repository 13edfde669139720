"""Data of one's own: shapes, ids, what is set aside, duplicates and leaks."""

import random
from pathlib import Path
from typing import Any

import pytest

from gptfl.core import Example
from gptfl.errors import DataError, GptflError, UsageError
from gptfl.tasks.own_data import split_off
from tests.tasks.task_files import own, pairs, write_lines


def test_ids_split_and_draw_are_the_same_for_rows_in_another_order_and_with_more_of_them(tmp_path: Path) -> None:
    rows = [
        *pairs(60, source="web"),
        {"prompt": "q", "target": "r", "id": "own"},
        {"prompt": "u", "target": "v", "id": 7},
    ]
    shuffled = random.Random(0).sample(rows, len(rows))
    first, other = (
        own(data=write_lines(tmp_path / name / "a.jsonl", one)) for name, one in (("1", rows), ("2", shuffled))
    )
    assert first.load(20, 4, 3).pool == other.load(20, 4, 3).pool
    assert first.load(20, 4, 3).test == other.load(20, 4, 3).test
    assert first.load(30, 4, 3).pool[:20] == first.load(20, 4, 3).pool
    assert first.load(20, 4, 4).pool != first.load(20, 4, 3).pool
    assert {"own", "7"} <= {one.id for one in (*first.rows.pool, *first.rows.test)}
    more = own(data=write_lines(tmp_path / "3" / "a.jsonl", [*rows, *({**one, "prompt": "new"} for one in pairs(30))]))
    for side in ("pool", "test"):
        assert {one.id for one in getattr(first.rows, side)} <= {one.id for one in getattr(more.rows, side)}
    assert all(one.fields == {"source": "web"} for one in first.rows.pool if one.prompt.startswith("Question"))


def test_an_id_that_comes_twice_and_rows_that_are_alike(tmp_path: Path) -> None:
    twice = write_lines(tmp_path / "a.jsonl", [{**one, "id": "x"} for one in pairs(2)])
    with pytest.raises(DataError, match=r"line 2: id 'x' was used before, at .*line 1"):
        own(data=twice).load(None, None, 1)
    same = own(data=write_lines(tmp_path / "b.jsonl", pairs(9) + pairs(2) + pairs(1, source="mail")))
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
    train, test = (
        write_lines(tmp_path / "t.jsonl", pairs(6)),
        write_lines(tmp_path / "e.jsonl", [*pairs(8)[5:], {"text": "x"}][:3]),
    )
    notes = own(train=train, eval=test).load(None, None, 1).notes
    assert any(note.startswith("1 test example stands in the pool, too (") for note in notes)
    assert own(train=train, eval=test).name == "t"


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
    data = own(data=write_lines(tmp_path / "a.jsonl", pairs(9)))
    pool, _ = data.sizes()
    with pytest.raises(DataError, match=f"--pool 10 is more than the {pool} examples"):
        data.load(10, 1, 1)


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
