"""RTE, SST-2 and BoolQ: the examples of the Hub's rows."""

import pytest

from gptfl.errors import DataError
from gptfl.tasks import BoolQ, Rte, Sst2
from gptfl.tasks.classification import BOOLQ, BOOLQ_REVISION, GLUE, GLUE_REVISION
from gptfl.tasks.rows import TaskRow
from tests.hub import add_rte, use_cache
from tests.tasks.task_files import add_both, write_splits


def test_rte_comes_from_the_cache(tmp_path, monkeypatch):
    add_rte(tmp_path)
    use_cache(monkeypatch, tmp_path)
    loaded = Rte().load(30, 20, 0)
    assert loaded.source == f"{GLUE}@{GLUE_REVISION}"
    example = next(e for e in loaded.pool if e.id == "2")
    assert example.prompt.startswith("Text: On day 2 of the fair Tilda sold ribbons")
    assert (example.target, example.label) == (" yes", 0)
    assert {e.id for e in loaded.test} <= {str(i) for i in range(500, 524)}
    with pytest.raises(DataError, match=r"--pool 41 is more than the 40 examples of nyu-mll/glue/rte/train"):
        Rte().load(41, 1, 0)


def test_sst2_and_boolq_rows(tmp_path, monkeypatch):
    use_cache(monkeypatch, tmp_path)
    names = ("train-00000-of-00001.parquet", "validation-00000-of-00001.parquet")
    rows = [{"sentence": f"film {i} is fine ", "label": 1, "idx": i} for i in range(3)]
    add_both(tmp_path, GLUE, GLUE_REVISION, [f"sst2/{n}" for n in names], rows)
    assert {e.target for e in Sst2().load(3, 3, 0).test} == {" positive"}
    rows = [{"question": "is it so", "answer": bool(i), "passage": f"Passage {i}."} for i in range(2)]
    add_both(tmp_path, BOOLQ, BOOLQ_REVISION, [f"data/{n}" for n in names], rows)
    assert {(e.id, e.target) for e in BoolQ().load(None, None, 0).pool} == {("0", " no"), ("1", " yes")}


@pytest.mark.parametrize("label", [0, 1])
def test_the_target_is_the_answer_of_the_label(tmp_path, label):
    for task, row in (
        (Rte, {"premise": "a", "hypothesis": "b"}),
        (Sst2, {"sentence": "a"}),
        (BoolQ, {"question": "is it", "passage": "b"}),
    ):
        (example,) = task(write_splits(tmp_path / task.name, [{**row, "label": label}])).load(1, 1, 0).pool
        assert (example.label, example.choices, example.target) == (label, task.answers, task.answers[label])


def test_a_question_ends_in_one_question_mark():
    for question in ("is it?", "is it", " is\n it? "):
        row = TaskRow({"question": question, "passage": "p"}, "f, line 1", "x")
        assert BoolQ().parts(row)["question"] == "is it?"
