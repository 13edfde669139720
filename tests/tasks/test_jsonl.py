"""JSON lines with a prompt and a target, taken as they are."""

import pytest

from gptfl.errors import DataError, UsageError
from gptfl.tasks import JsonLines
from tests.tasks.task_files import write_splits


def test_json_lines_are_taken_as_they_are(tmp_path):
    rows = [
        {"id": "x", "prompt": "One  plus one\n", "target": "two", "topic": "sums"},
        {"prompt": "p", "target": " b", "choices": [" a", " b"]},
        {"prompt": "p", "target": " a", "choices": [" a", " b"], "label": 0},
        {"prompt": "", "target": "A plain text."},
        {"prompt": " \n", "target": "\nt"},
        {"id": None, "prompt": "p", "target": "t"},
        {"id": "", "prompt": "p", "target": "t"},
    ]
    examples = {e.id: e for e in JsonLines(write_splits(tmp_path / "d", rows)).load(None, None, 0).pool}
    assert (examples["x"].text, examples["x"].label, examples["x"].fields) == (
        "One  plus one\ntwo",
        None,
        {"topic": "sums"},
    )
    assert (examples["1"].label, examples["2"].label) == (1, 0)
    assert [(examples[id].prompt, examples[id].target) for id in "34"] == [("", "A plain text."), (" \n", "\nt")]
    assert {"5", "6"} <= examples.keys()


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"prompt": "p"}, "field 'target' is missing"),
        ({"target": "t"}, "field 'prompt' is missing"),
        ({"prompt": None, "target": "t"}, "field 'prompt' is None, not a text"),
        ({"prompt": 3, "target": "t"}, "field 'prompt' is 3, not a text"),
        ({"prompt": "p", "target": ""}, "field 'target' is empty"),
        ({"prompt": "p", "target": "t", "label": 1}, "'label' needs the field 'choices'"),
        ({"prompt": "p", "target": "t", "choices": ["t"]}, "not two or more different texts"),
        ({"prompt": "p", "target": "t", "choices": ["t", "t"]}, "not two or more different texts"),
        ({"prompt": "p", "target": "t", "choices": ["a", "b"]}, "the target 't' is not among the choices"),
        ({"prompt": "p", "target": "a", "choices": ["a", "b"], "label": 1}, "choice 1 is 'b', but the target is 'a'"),
    ],
)
def test_json_lines_say_what_is_wrong_with_a_row(tmp_path, row, problem):
    with pytest.raises(DataError, match=problem):
        JsonLines(write_splits(tmp_path / "d", [row])).load(1, 1, 0)


def test_json_lines_need_data():
    with pytest.raises(UsageError, match="pass --data DIR"):
        JsonLines().load(1, 1, 0)
