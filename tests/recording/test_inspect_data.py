"""What gptfl tells of one's own data before anything is trained."""

import json
from pathlib import Path
from typing import Any

import pytest

from gptfl import inspect_data
from gptfl.errors import DataError
from gptfl.recording.inspect_data import DataInspection

TEMPLATE = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
TALK = [{"role": "user", "content": "is it red"}, {"role": "assistant", "content": "yes"}]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def pairs(count: int) -> list[dict[str, Any]]:
    return [{"prompt": f"is it {i}?", "completion": " yes", "topic": ["a", "b"][i % 2]} for i in range(count)]


def rows_of(found: DataInspection) -> dict[str, str]:
    return dict(found.rows)


def test_counts_fields_duplicates_and_leaks(tmp_path: Path) -> None:
    train, test = write(tmp_path / "t.jsonl", pairs(8) + pairs(2)), write(tmp_path / "e.jsonl", pairs(9)[7:])
    found = inspect_data(train=train, eval=test)
    rows = rows_of(found)
    assert rows["shape"] == "prompt and completion"
    assert (rows["to train on"], rows["to test on"]) == ("10 examples", "2 examples")
    assert rows["field: topic"] == '"a" (6), "b" (6)'
    assert (rows["the same text again"], rows["to test on and in the pool"]) == ("2", "1")
    assert rows["characters"] == "12"
    assert [one.text for one in found.examples] == [f"is it {i}?⟦ yes⟧" for i in range(5)]
    assert any("2 rows have the same text" in note for note in found.notes)
    assert any("1 test example stands in the pool" in note for note in found.notes)


def test_tokens_what_is_cut_and_what_does_not_fit(neox: Path, tmp_path: Path) -> None:
    rows = [*pairs(6), {"prompt": "is it " * 30, "completion": " yes"}, {"prompt": "is", "completion": " red" * 60}]
    test = write(tmp_path / "e.jsonl", pairs(1))
    found = inspect_data(train=write(tmp_path / "t.jsonl", rows), eval=test, model=str(neox), max_length=40)
    assert rows_of(found)["at --max-length 40"].startswith("1 of 8 are cut (")
    assert rows_of(found)["at --max-length 40"].endswith("; 1 don't fit")
    assert any(note.startswith("refused when recorded: the target of pool example") for note in found.notes)
    assert rows_of(found)["tokens learned"] == "1"
    assert rows_of(found)["to test on"] == "1 example"
    assert found.examples[0].text == "is it 0?⟦ yes⟧"


def test_conversations_are_shown_as_their_template_renders_them(neox: Path, tmp_path: Path) -> None:
    data = write(
        tmp_path / "c.jsonl", [{"messages": [*TALK, {"role": "user", "content": f"{i}"}, TALK[1]]} for i in range(20)]
    )
    template = tmp_path / "t.jinja"
    template.write_text(TEMPLATE)
    found = inspect_data(data, model=str(neox), chat_template=template, end_token=False)
    text = found.examples[0].text
    assert text.startswith("<user>is it red\n<assistant>⟦yes⟧\n<user>")
    assert text.endswith("<assistant>⟦yes⟧")
    assert inspect_data(data).examples[0].text.startswith("user: is it red\nassistant: ⟦yes⟧\nuser: ")
    with pytest.raises(DataError, match="has no chat template"):
        inspect_data(data, model=str(neox))
