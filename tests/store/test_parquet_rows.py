"""Tables as Parquet: in row groups, with types, and told from other people's by their metadata."""

import tracemalloc
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from gptfl.store import parquet_rows
from gptfl.store.parquet_rows import made_by, write_parquet

COLUMNS = {"id": str, "rank": int, "value": float, "odd": bool}


def test_rows_are_written_in_groups_and_read_by_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_rows, "GROUP", 3)
    path = tmp_path / "a.parquet"
    rows = [{"id": f"é\n{i}", "rank": i, "value": i / 4, "odd": i % 2 == 1} for i in range(7)]
    rows[5].pop("value")
    write_parquet(path, COLUMNS, iter(rows), "gptfl rank")
    file = pq.ParquetFile(path)
    assert [file.metadata.row_group(one).num_rows for one in range(file.num_row_groups)] == [3, 3, 1]
    found = pd.read_parquet(path)
    assert list(found) == list(COLUMNS)
    assert [str(kind) for kind in found.dtypes][1:] == ["int64", "float64", "bool"]
    assert found["id"].tolist() == [row["id"] for row in rows]
    assert found["value"].isna().tolist() == [i == 5 for i in range(7)]
    assert made_by(path) == "gptfl rank"


def test_no_rows_are_a_table_too(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", COLUMNS, iter(()), "gptfl rank")
    found = pd.read_parquet(tmp_path / "a.parquet")
    assert (len(found), list(found)) == (0, list(COLUMNS))


def test_memory_is_that_of_a_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_rows, "GROUP", 100)

    def peak(count: int) -> int:
        tracemalloc.start()
        rows = ({"id": f"{i:09d}" * 20, "rank": i, "value": 0.5, "odd": False} for i in range(count))
        write_parquet(tmp_path / "a.parquet", COLUMNS, rows, "gptfl rank")
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(10)  # what is loaded once
    few, many = peak(200), peak(8_000)
    assert many < 2 * few + 2**20


def test_other_peoples_files_are_not_ours(tmp_path: Path) -> None:
    pd.DataFrame({"id": ["a"]}).to_parquet(tmp_path / "theirs.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    write_parquet(tmp_path / "odd.parquet", COLUMNS, iter(()), "somebody")
    for name in ("theirs.parquet", "broken.parquet", "odd.parquet"):
        assert made_by(tmp_path / name) is None
