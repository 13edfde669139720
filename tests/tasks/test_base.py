"""What all tasks over given data share: the seeded choice of rows, and ids that come once."""

import pytest

from gptfl.core import Example
from gptfl.core.curriculum import Stream, generator
from gptfl.errors import DataError, UsageError
from gptfl.plugins.registry import get_registry
from gptfl.tasks import BoolQ, JsonLines, Rte, Sst2, WebNlg, Wmt16DeEn
from gptfl.tasks.base import TooFewError, draw, unique
from gptfl.tasks.rows import TaskRow
from gptfl.testing import check_task
from tests.tasks.task_files import FACTS, RTE, numbered, write_splits


@pytest.mark.parametrize(
    ("task", "row", "prompt_end", "target", "choices", "label"),
    [
        (Rte, RTE, "Claim: Nora sold fruit.\nDoes the claim follow from the text?", " yes", (" yes", " no"), 0),
        (
            Sst2,
            {"sentence": "a joy ", "label": 1},
            "opinion of the film is",
            " positive",
            (" negative", " positive"),
            1,
        ),
        (
            BoolQ,
            {"question": "is it?", "passage": "p", "label": 0},
            "p\nQuestion: is it?\nAnswer:",
            " no",
            (" no", " yes"),
            0,
        ),
        (WebNlg, FACTS, "- Old Mill | built by | Emil Strand\nThe same in plain words:", " Emil built it.", (), None),
        (Wmt16DeEn, {"de": "Guten Tag", "en": "Good day"}, "German: Guten Tag\nEnglish:", " Good day", (), None),
    ],
)
def test_a_row_becomes_an_example(tmp_path, task, row, prompt_end, target, choices, label):
    (example,) = task(write_splits(tmp_path / "d", [row])).load(None, None, 0).pool
    assert example.prompt.endswith(prompt_end)
    assert not example.prompt.endswith(" ")
    assert (example.id, example.target, example.choices, example.label) == ("0", target, choices, label)


def test_a_larger_pool_extends_a_smaller_one_and_the_seed_decides(tmp_path):
    task = Rte(write_splits(tmp_path / "d", numbered(30)))
    small, large, whole = (task.load(count, 5, 7).pool for count in (8, 20, None))
    assert large[:8] == small
    assert whole[:20] == large
    assert len(whole) == 30
    assert task.load(8, 5, 7).pool == small
    assert task.load(8, 5, 8).pool != small


def test_asking_for_too_many_names_the_flag_and_the_number(tmp_path):
    task = Rte(write_splits(tmp_path / "d", numbered(5), numbered(3)))
    with pytest.raises(DataError, match=r"--pool 6 is more than the 5 examples .*use --pool 5 or fewer"):
        task.load(6, 1, 0)
    with pytest.raises(DataError, match=r"--test 4 is more than the 3 examples"):
        task.load(2, 4, 0)
    with pytest.raises(UsageError, match="--pool 0"):
        task.load(0, 1, 0)


def test_every_task_keeps_the_interface(tmp_path):
    check_task(Rte, data=write_splits(tmp_path / "rte", numbered(40)))
    rows = [{"prompt": f"p{i}", "target": f" t{i}"} for i in range(40)]
    check_task(JsonLines, data=write_splits(tmp_path / "jsonl", rows))
    check_task(JsonLines, data=write_splits(tmp_path / "plain", [{**row, "prompt": ""} for row in rows]))


@pytest.mark.parametrize("name", ["rte", "sst2", "boolq", "webnlg", "wmt16_de_en"])
def test_real_data(shared, name):
    task = get_registry().make("task", name, data=shared / "tasks" / name)
    loaded = task.load(200, 100, 0)
    assert (len(loaded.pool), len(loaded.test)) == (200, 100)
    assert all(e.target.startswith(" ") and not e.prompt.endswith(" ") for e in loaded.pool)


def test_rows_are_the_first_of_the_seeds_permutation() -> None:
    rows = list("abcdefgh")
    expected = [rows[place] for place in generator(5, Stream.TEST_ROWS).permutation(8)]
    assert draw(rows, None, "test", 5, "x") == expected
    assert draw(rows, 1, "test", 5, "x") == expected[:1]
    assert draw(rows, 8, "pool", 5, "x") != expected
    with pytest.raises(DataError, match="x holds no examples"):
        draw([], None, "pool", 5, "x")
    with pytest.raises(TooFewError) as caught:
        draw(rows, 9, "pool", 5, "x")
    assert (caught.value.requested, caught.value.found, caught.value.place) == (9, 8, "x")


def test_a_row_without_id_has_its_number_which_may_clash_with_an_id() -> None:
    def example(row: TaskRow, id: str) -> Example:
        return Example(id, row.text("p"), " t")

    rows = [TaskRow({"p": "a", "id": "é"}, "f, line 1", "p"), TaskRow({"p": "b"}, "f, line 2", "p")]
    assert [one.id for one in unique(rows, example)] == ["é", "1"]
    assert unique([], example) == []
    with pytest.raises(DataError, match=r"f, line 3: id '1' was used before, at f, line 2: give every row an id of"):
        unique([*rows, TaskRow({"p": "c", "id": 1}, "f, line 3", "p")], example)


def test_sizes_are_those_of_local_files_alone(tmp_path):
    assert Rte(write_splits(tmp_path / "d", numbered(5), numbered(3))).sizes() == (5, 3)
    assert Rte().sizes() is None
