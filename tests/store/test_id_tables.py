"""Tables that name ids: what gptfl rank and gptfl select write, and others with a column or key ``id``."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gptfl.core import Example, MetricInfo
from gptfl.errors import DataError
from gptfl.influence.ranking import Ranking, RankResult
from gptfl.report.ranking import to_csv, to_json, write_table
from gptfl.store import id_files
from gptfl.store.id_files import ExampleIndex, read_ids

NAMES = ("b # c", "a", "d\ne", '"q"', "5", " x", "f, g")
POOL = tuple(Example(name, f"say {name}, and more", "yes") for name in NAMES)
INDEX = ExampleIndex(POOL)
VALUES = np.array([0.3, -0.2, 0.9, 0.1, -0.7, 0.0, 0.5])


def ranked(*estimators: str) -> RankResult:
    rankings = tuple(Ranking(name, name, "drop", VALUES, 8, Path("x.h5")) for name in estimators)
    return RankResult("r.dynamics.h5", MetricInfo("loss", False), "mean", "the mean", POOL, rankings)


@pytest.mark.parametrize("write", [to_csv, to_json])
@pytest.mark.parametrize("reverse", [False, True])
def test_what_rank_writes_is_read_as_ids(tmp_path: Path, write: Callable[..., str], reverse: bool) -> None:
    path = tmp_path / "named as one likes"
    path.write_text(write(ranked("bayes"), 4, reverse), encoding="utf-8")
    order = np.argsort(-VALUES)
    expected = (order[::-1] if reverse else order)[:4]
    assert INDEX.select(path, "--drop").tolist() == expected.tolist()
    first = next(iter(read_ids(path, INDEX.places)))
    assert float(first.values["influence"]) == VALUES[expected[0]]
    assert int(first.values["rank"]) == (7 if reverse else 1)


@pytest.mark.parametrize("write", [to_csv, to_json])
def test_rankings_by_several_estimators_are_refused(tmp_path: Path, write: Callable[..., str]) -> None:
    path = tmp_path / "two"
    path.write_text(write(ranked("bayes", "kin")), encoding="utf-8")
    with pytest.raises(DataError, match="has the rankings of several estimators: write it by one, with --estimator"):
        INDEX.select(path, "--drop")


@pytest.mark.parametrize("reverse", [False, True])
def test_parquet_that_rank_writes_is_read_as_ids(tmp_path: Path, reverse: bool) -> None:
    path = tmp_path / "best.parquet"
    write_table(ranked("bayes"), path, 4, reverse)
    order = np.argsort(-VALUES)
    expected = (order[::-1] if reverse else order)[:4]
    assert INDEX.select(path, "--drop").tolist() == expected.tolist()
    first = next(iter(read_ids(path, INDEX.places)))
    assert first.where == f"{path}, row 1"
    assert (first.values["influence"], first.values["rank"]) == (VALUES[expected[0]], 7 if reverse else 1)
    assert "text" not in first.values
    write_table(ranked("bayes", "kin"), path, 4)
    with pytest.raises(DataError, match="has the rankings of several estimators: write it by one, with --estimator"):
        INDEX.select(path, "--drop")


def test_other_parquet_with_ids_is_taken_and_what_is_none_refused(tmp_path: Path) -> None:
    path = tmp_path / "theirs.parquet"
    pd.DataFrame({"why": ["x", "y"], "id": ["a", "5"]}).to_parquet(path)
    assert INDEX.select(path, "--drop").tolist() == [1, 4]
    pd.DataFrame({"id": [5]}).to_parquet(path)
    assert INDEX.select(path, "--drop").tolist() == [4]
    pd.DataFrame({"id": ["a", "a"]}).to_parquet(path)
    with pytest.raises(DataError, match=r"row 2: 'a' was there before .*row 1\)"):
        INDEX.select(path, "--drop")
    pd.DataFrame({"name": ["a"]}).to_parquet(path)
    with pytest.raises(DataError, match=r"row 1 has no id: .*a column of that name"):
        INDEX.select(path, "--drop")
    path.write_text("a\n5\n")
    with pytest.raises(DataError, match=r"theirs\.parquet is no readable Parquet file"):
        INDEX.select(path, "--drop")
    with pytest.raises(DataError, match=r"absent\.parquet can't be read"):
        INDEX.select(tmp_path / "absent.parquet", "--drop")


def test_a_long_table_of_like_rows_is_read(tmp_path: Path) -> None:
    """Rows that pack well are no reason to take the file for one that is made to do harm."""
    path, count = tmp_path / "many.parquet", 150_000
    pool = tuple(Example(f"train-{i}", "the same", "yes") for i in range(count))
    one = Ranking("bayes", "bayes", "drop", np.random.default_rng(0).normal(size=count), 8, Path("x.h5"))
    write_table(RankResult("r.h5", MetricInfo("loss", False), "mean", "the mean", pool, (one,)), path)
    assert sum(1 for _ in read_ids(path, {})) == count


def test_other_tables_with_ids_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "other"
    for text in (
        'text,id\n"say\nmore, or less",a\n\n,5\n',
        '\n{"id": "a", "why": "wrong"}\n\n{"id": 5}\n',
        '{"examples": [{"id": "a"}, {"id": 5}]}',
        "# id,text\na\n5",
    ):
        path.write_text(text, encoding="utf-8")
        assert INDEX.select(path, "--drop").tolist() == [1, 4], text
    path.write_text('text,id\n"say\nmore, or less",a\n\n,5\n', encoding="utf-8")
    assert [one.where.rpartition(", ")[2] for one in read_ids(path, INDEX.places)] == ["line 3", "line 5"]


def test_a_line_that_is_an_id_is_that_id_whatever_it_holds(tmp_path: Path) -> None:
    odd = ExampleIndex([Example(name, "", "") for name in ("id,text", "{", "a")])
    for first in ("id,text", "{"):
        path = tmp_path / "odd"
        path.write_text(f"{first}\na\n", encoding="utf-8")
        names = list(odd.places)
        assert [names[place] for place in odd.select(path, "--subset")] == [first, "a"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("id,text\nz,1\n", "line 2: 'z' is not an id of the pool of 7"),
        ("id,text\na,1\na,2\n", "line 3: 'a' was there before .*line 2"),
        ("id,text\na\n", "line 2 has 1 cells, and the header 2"),
        ('id,text\na,"1\n', "line 2 is no row of a table"),
        ("id,text\n", "names no example"),
        ('{"id": "a"}\n{"no": 1}\n', 'line 2 has no id: expected an object with the key "id"'),
        ('{"id": "a"}\n{"id"\n', "line 2 is no JSON"),
        ('{\n "rankings": [\n', "is no JSON"),
        ('{\n "rankings": []}', "is JSON that lists no examples"),
        ('{\n "examples": {"id": 3}}', "is JSON that lists no examples"),
        ('{"examples": [3]}', "example 1 has no id"),
        ('{"examples": [{"id": NaN}]}', "holds NaN"),
        ('{"examples": ' + "[" * 100_000, "is nested too deeply"),
    ],
)
def test_a_bad_table_is_refused_in_one_line(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "bad"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=problem) as caught:
        INDEX.select(path, "--subset")
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_large_document_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(id_files, "MAX_DOCUMENT", 50)
    path = tmp_path / "large"
    path.write_text(to_json(ranked("bayes")), encoding="utf-8")
    with pytest.raises(DataError, match="JSON document of more than 50 bytes: write CSV instead"):
        INDEX.select(path, "--subset")
