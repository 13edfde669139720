"""Texts with a class are told how to learn it."""

from pathlib import Path
from typing import Any

import pytest

from gptfl.core import Example
from gptfl.tasks.class_hint import class_hint
from tests.tasks.task_files import own, write_lines

HOW = "label has 2 values (bad, good) and isn't learned; where it is the text's class, --fields prompt=text,target=label learns it"


def notes(tmp_path: Path, rows: list[dict[str, Any]], **options: Any) -> tuple[str, ...]:
    path = write_lines(tmp_path / "a.jsonl", rows)
    return own(train=path, eval=path, **options).load(None, None, 1).notes


def rows(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"text": f"Text {one}.", "label": ("good", "bad")[one % 2], **more} for one in range(count)]


def test_a_field_of_few_values_that_repeat_is_taken_for_a_class(tmp_path: Path) -> None:
    assert HOW in notes(tmp_path, rows(8))
    named = [{"body" if name == "text" else name: value for name, value in row.items()} for row in rows(8)]
    assert any("--fields prompt=body,target=label" in one for one in notes(tmp_path, named, fields="text=body"))


@pytest.mark.parametrize(
    "given",
    [
        rows(3),
        [{**row, "label": "good"} for row in rows(8)],
        [{**row, "label": f"Title {place}"} for place, row in enumerate(rows(8))],
        [{**row, "label": row["label"] * 20} for row in rows(8)],
        [*rows(8), {"text": "c"}],
        [{"prompt": row["text"], "target": " x", "label": row["label"]} for row in rows(8)],
        [{"text": row["text"], "source": row["label"]} for row in rows(8)],
    ],
)
def test_other_fields_are_not(tmp_path: Path, given: list[dict[str, Any]]) -> None:
    assert not any("isn't learned" in one for one in notes(tmp_path, given))


def test_the_likeliest_of_several_fields_is_named() -> None:
    examples = [Example(str(n), "", "a", fields={"topic": "xy"[n % 2], "label": "uv"[n % 2]}) for n in range(4)]
    (line,) = class_hint(examples, ("text", "topic", "label"))
    assert line.endswith("--fields prompt=text,target=label learns it")
