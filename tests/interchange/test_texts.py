"""The texts of a recording in another layout."""

import json
from pathlib import Path
from typing import Any

import pytest

from gptfl.core import Example
from gptfl.core.turns import Turn
from gptfl.errors import DataError
from gptfl.interchange.gptdynamics_writer import write_texts
from gptfl.interchange.texts import read_texts
from tests.released import lines


@pytest.mark.parametrize(
    ("row", "prompt", "target"),
    [
        ({"input": "Say it: yes", "target": "yes"}, "Say it: ", "yes"),
        ({"input": "Say it: yes\n", "target": " yes"}, "Say it:", " yes\n"),
        ({"input": "Say it: yes ", "target": "yes "}, "Say it: ", "yes "),
        ({"input": "Say it: yes", "target": " yes\n"}, "Say it: ", "yes"),
        ({"input": "Say it: yes"}, "", "Say it: yes"),
        ({"input": "Say it:", "target": ""}, "Say it:", ""),
    ],
)
def test_the_target_is_split_from_the_end_of_the_input(
    tmp_path: Path, row: dict[str, Any], prompt: str, target: str
) -> None:
    (example,) = read_texts(lines(tmp_path / "t.json", [{"id": 7, **row}])).examples
    assert (example.id, example.prompt, example.target) == ("7", prompt, target)
    assert example.text == row["input"]


def test_texts_tell_their_classes_only_where_a_line_says_so(tmp_path: Path) -> None:
    plain = {"id": "a", "input": "x yes", "target": "yes"}
    classed = {**plain, "choices": ["no", "yes"], "label": 1, "fields": {"from": "here"}}
    assert not read_texts(lines(tmp_path / "t.json", [plain])).has_classes
    found = read_texts(lines(tmp_path / "t.json", [classed]))
    assert found.has_classes
    assert (found.examples[0].choices, found.examples[0].label) == (("no", "yes"), 1)
    assert found.examples[0].fields == {"from": "here"}
    assert read_texts(lines(tmp_path / "t.json", [{**plain, "choices": []}])).has_classes


def test_what_others_call_a_label_is_passed_over(tmp_path: Path) -> None:
    row = {"id": "a", "input": "x yes", "target": "yes", "label": "entailment", "fields": [1], "instruction": {}}
    found = read_texts(lines(tmp_path / "t.json", [row]))
    assert not found.has_classes
    assert (found.examples[0].label, found.examples[0].fields) == (None, {})


def chat() -> Example:
    turns = (
        Turn("system", "Be brief."),
        Turn("user", "Is it dry?"),
        Turn("assistant", "Yes, quite.", target=True),
        Turn("user", "And \N{SNOWMAN}?"),
        Turn("assistant", "", target=True, more={"tool_calls": [{"name": "look"}]}),
    )
    return Example.of_turns("c", turns, {"topic": "rain"})


def test_conversations_are_written_and_taken_back_with_their_turns(tmp_path: Path) -> None:
    plain = Example("p", "one", " two")
    write_texts(tmp_path / "t.json", [chat(), plain])
    found = read_texts(tmp_path / "t.json").examples
    assert found[0] == chat()
    assert found[0].digest == chat().digest
    assert found[1].turns == ()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"turns": "all"}, "no conversation: export it again"),
        ({"turns": []}, "no conversation"),
        ({"turns": [{"role": "user", "content": "x"}]}, "no conversation"),
        ({"turns": [{"role": "assistant", "content": "x", "target": True, "mood": 1}]}, "no conversation"),
        ({"input": "system: Be long."}, "the input is not the transcript of its turns"),
    ],
)
def test_turns_that_are_none_or_others_are_refused_with_their_line(
    tmp_path: Path, changed: dict[str, Any], says: str
) -> None:
    write_texts(tmp_path / "t.json", [chat()])
    row = json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))
    path = lines(tmp_path / "t.json", [{**row, "target": None, **changed}])
    with pytest.raises(DataError, match=says) as caught:
        read_texts(path)
    assert "line 1" in str(caught.value)
