"""One row of a task's data: what is wrong with it is told with its place."""

from pathlib import Path
from typing import Any

import pytest

from gptfl.errors import DataError
from gptfl.tasks import Rte
from gptfl.tasks.rows import TaskRow, as_label, shown
from tests.tasks.task_files import RTE, made, write_splits


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"premise": "a", "hypothesis"', r"line 2 is no JSON \(.*, column 30\)"),
        ("[1, 2]", r"line 2 is \[1, 2\], not an object"),
        ("[" * 100_000, "line 2 is nested too deeply"),
        ('{"premise": "a", "hypothesis": "b", "label": NaN}', "line 2 holds NaN, which is no number"),
        ('{"premise": "a", "hypothesis": "b"}', "line 2: field 'label' is missing"),
        (
            '{"premise": "a", "hypothesis": "b", "label": 2}',
            "line 2: field 'label' is 2, not a whole number from 0 to 1",
        ),
        ('{"premise": "a", "hypothesis": "b", "label": "1"}', "field 'label' is '1'"),
        ('{"premise": 3, "hypothesis": "b", "label": 1}', "field 'premise' is 3, not a text"),
        ('{"premise": " ", "hypothesis": "b", "label": 1}', "field 'premise' is empty"),
        ('{"premise": "\\ud800", "hypothesis": "b", "label": 1}', "line 2 holds half a character"),
        ('{"premise": "a", "hypothesis": "b", "label": 1, "x": ["\\ud800"]}', "line 2 holds half a character"),
        ('{"id": 0, "premise": "a", "hypothesis": "b", "label": 1}', r"line 2: id '0' was used before, at .*line 1"),
        ('{"id": "a\\nb", "premise": "a", "hypothesis": "b", "label": 1}', "which holds a control character"),
        ('{"id": 1.5, "premise": "a", "hypothesis": "b", "label": 1}', "field 'id' is 1.5, not a text"),
    ],
)
def test_a_bad_line_is_reported_with_its_place_and_a_remedy(tmp_path, line, problem):
    folder = write_splits(tmp_path / "d", [{**RTE, "id": 0}, line])
    with pytest.raises(DataError, match=problem) as caught:
        Rte(folder).load(1, 1, 0)
    assert "train.jsonl, line 2" in str(caught.value)
    assert "\n" not in str(caught.value)
    expected = ("premise, hypothesis (texts) and label", "give every row an id of its own", "an id is a text without")
    expected += ("mend its JSON, or take the line out", "fill it in, or leave the row out")
    assert any(one in caught.value.remedy for one in expected)


def row(**values: Any) -> TaskRow:
    return TaskRow(values, "f, line 7", "a and b")


def test_a_label_is_a_whole_number_or_true_and_false() -> None:
    found = [row(label=value).label("label", 2) for value in (0, 1, False, True)]
    assert found == [0, 1, 0, 1]
    assert all(type(one) is int for one in found)
    for value in (-1, 2, 1.0, "1", None):
        with pytest.raises(DataError, match=r"f, line 7: field 'label' is .*, not a whole number from 0 to 1"):
            row(label=value).label("label", 2)


def test_an_id_is_a_text_or_a_whole_number_else_what_stands_in_for_it() -> None:
    assert [row(id=value).id(9) for value in ("é", 0, "", None)] == ["é", "0", "9", "9"]
    assert row().id("own") == "own"
    for value in (True, 1.5, ["a"]):
        with pytest.raises(DataError, match=r"field 'id' is .*, not a text"):
            row(id=value).id(9)


def test_fields_are_renamed_or_added_and_the_row_itself_stays() -> None:
    one = row(a=1, b=2)
    assert one.renamed(x="a").values == {"x": 1}
    assert one.having(b=3, c=4).values == {"a": 1, "b": 3, "c": 4}
    assert one.values == {"a": 1, "b": 2}
    with pytest.raises(DataError, match=r"field 'z' is missing: expected one JSON object a line with a and b"):
        one.renamed(x="z")


def test_texts_are_tidy_or_as_they_are() -> None:
    one = row(a="  x \u00a0y\n", b=["x", " "])
    assert (one.text("a"), one.raw_text("a"), one.any_text("a")) == ("x y", "  x \u00a0y\n", "  x \u00a0y\n")
    assert row(a="").any_text("a") == ""
    with pytest.raises(DataError, match="field 'b', item 1 is empty"):
        one.texts("b")


def test_long_values_are_shown_short() -> None:
    assert shown("é") == "'é'"
    assert shown("x" * 58) == repr("x" * 58)
    assert shown("x" * 59) == "'" + "x" * 56 + "..."


def test_a_tables_label_is_a_number_where_it_has_digits() -> None:
    assert [as_label(value) for value in ("0", "12", "007")] == [0, 12, 7]
    for value in ("", "-1", "1.0", "yes", "9" * 5000, 3, True, None):
        assert as_label(value) is value


def test_a_label_of_thousands_of_digits_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("premise,hypothesis,label\na,b," + "9" * 5000 + "\n")
    (tmp_path / "test.csv").write_text("premise,hypothesis,label\na,b,1\n")
    with pytest.raises(DataError, match=r"train\.csv, line 2: field 'label' is '999.*, not a whole number from 0 to 1"):
        Rte(tmp_path).load(None, None, 0)
    row = {"prompt": "p", "target": "a", "choices": '["a", "b"]', "label": "9" * 5000}
    with pytest.raises(DataError, match="field 'label' is '999"):
        made(row)
