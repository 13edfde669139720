import json
from dataclasses import replace

import numpy as np
import pytest

from gptfl.core import Example
from gptfl.errors import DataError
from gptfl.plugins.registry import build
from gptfl.recording.new_examples import read_new_examples
from gptfl.tasks import Rte, instructions
from gptfl.tasks.rows import TaskRow
from tests.synthetic import LOSS, synthetic

DYNAMICS, _ = synthetic(3, classes=0)
REGISTRY = build([])
RTE_ROW = {"premise": "All birds sing.", "hypothesis": "Some sing.", "label": 0}


def of_task(task, **settings):
    return replace(DYNAMICS, settings={"task": task, "seed": 5, **settings})


def written(path, *rows):
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_prompt_and_target_do_for_any_recording(tmp_path):
    train = written(
        tmp_path / "a.jsonl",
        {"id": "x", "prompt": "p", "target": " t", "extra": 1},
        {"prompt": "q", "target": " u"},
        {"id": "", "prompt": "q", "target": " v"},
    )
    test = written(
        tmp_path / "b.jsonl",
        {"id": "y", "prompt": "p", "target": " t", "first": 1.5},
        {"id": "z", "prompt": "p", "target": " t", "first": {"loss": 2, "accuracy": 1}},
        {"id": "w", "prompt": "p", "target": " t"},
    )
    for task in ("jsonl", "errands", "rte", "of a plugin that is gone", None):
        new = read_new_examples(train, test, of_task(task) if task else DYNAMICS, LOSS, REGISTRY)
        assert new.pool == (
            Example("x", "p", " t", fields={"extra": 1}),
            Example("new-1", "q", " u"),
            Example("new-2", "q", " v"),
        )
        assert [(e.id, dict(e.fields)) for e in new.test] == [("y", {}), ("z", {}), ("w", {})]
        np.testing.assert_array_equal(new.first, [1.5, 2.0, np.nan])
    nothing = read_new_examples(None, None, DYNAMICS, LOSS, REGISTRY)
    assert (nothing.pool, nothing.test, len(nothing.first)) == ((), (), 0)


def test_a_row_of_the_recordings_own_task_is_worded_as_the_task_does(tmp_path):
    path = written(tmp_path / "a.jsonl", {"id": "x", **RTE_ROW})
    plain = Rte().example(TaskRow(RTE_ROW, "", ""), "x")
    assert read_new_examples(path, None, of_task("rte"), LOSS, REGISTRY).pool == (plain,)
    parts = Rte().parts(TaskRow(RTE_ROW, "", ""))
    worded = instructions.instructed(plain, Rte.templates, parts, 5)
    assert read_new_examples(path, None, of_task("rte", instructions=True), LOSS, REGISTRY).pool == (worded,)
    assert worded.prompt != plain.prompt


def test_in_a_mixture_the_row_says_which_task(tmp_path):
    mixed = of_task("rte,sst2")
    path = written(
        tmp_path / "a.jsonl",
        {"id": "x", "task": "rte", **RTE_ROW},
        {"id": "y", "task": "sst2", "prompt": "p", "target": " t"},
    )
    rte, sst2 = read_new_examples(path, None, mixed, LOSS, REGISTRY).pool
    assert (rte.task, rte.choices, sst2.task, sst2.target) == ("rte", (" yes", " no"), "sst2", " t")
    for row, message in (
        ({"id": "x", **RTE_ROW}, "line 1: field 'task' is missing"),
        ({"id": "x", "task": "sst3", **RTE_ROW}, "line 1: task 'sst3' is not of the recording: did you mean 'sst2'?"),
    ):
        with pytest.raises(DataError) as caught:
            read_new_examples(written(path, row), None, mixed, LOSS, REGISTRY)
        assert message in str(caught.value)


def test_a_target_among_everyones_choices_gives_the_class(tmp_path):
    dynamics, _ = synthetic(3)
    path = written(
        tmp_path / "a.jsonl",
        {"id": "x", "prompt": "p", "target": " class1"},
        {"id": "y", "prompt": "p", "target": " else"},
    )
    one, other = read_new_examples(path, None, dynamics, LOSS, REGISTRY).pool
    assert (one.choices, one.label) == ((" class0", " class1"), 1)
    assert (other.choices, other.label) == ((), None)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["{no json"], "line 1 is no JSON"),
        (["[1]"], "line 1 is [1], not an object"),
        ([{"id": "x", "prompt": "p"}], "line 1: field 'target' is missing: expected one JSON object a line with prompt and"),
        ([{"id": "test-1", "prompt": "p", "target": "t"}], "line 1: the recording has an example 'test-1': give it another id"),
        ([{"id": "x", "prompt": "p", "target": "t"}] * 2, "line 2: id 'x' was used before, at"),
        ([{"id": 1.5, "prompt": "p", "target": "t"}], "line 1: field 'id' is 1.5, not a text"),
        ([{"id": "x", "prompt": "p", "target": "t", "first": "low"}], "field 'first' is 'low', not a number"),
        ([{"id": "x", "prompt": "p", "target": "t", "first": True}], "field 'first' is True, not a number"),
        ([{"id": "x", "prompt": "p", "target": "t", "first": {"acc": 1}}], "field 'first' has no 'loss', which is what is simulated"),
        (['{"id": "x", "prompt": "p", "target": "t", "first": {"loss": 1e999}}'], "line 1 holds the number 1e999, which is too large"),
        ([{"id": "x", "prompt": "p", "target": "t", "first": -1}], "field 'first' is -1, outside the range of loss"),
        ([], "holds no example"),
    ],
)  # fmt: skip
def test_what_is_no_example_is_reported_with_its_place(tmp_path, rows, message):
    path = written(tmp_path / "new.jsonl", *rows)
    with pytest.raises(DataError) as caught:
        read_new_examples(None, path, DYNAMICS, LOSS, REGISTRY)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_training_example_may_have_the_id_of_a_test_example(tmp_path):
    row = {"id": "test-1", "prompt": "p", "target": "t"}
    assert read_new_examples(written(tmp_path / "a.jsonl", row), None, DYNAMICS, LOSS, REGISTRY).pool[0].id == "test-1"
    with pytest.raises(DataError, match=r"--new-train .* is no file"):
        read_new_examples(tmp_path, None, DYNAMICS, LOSS, REGISTRY)
