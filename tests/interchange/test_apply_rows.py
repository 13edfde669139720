"""Rows written back: those kept byte for byte, in whatever way they were written."""

import gzip
import json
from pathlib import Path

import pytest

import gptfl
from gptfl.errors import DataError, UsageError
from gptfl.interchange.apply_summary import escaped
from gptfl.store.row_files import read_row_file
from gptfl.tasks.own_data import read_examples
from gptfl.tasks.shapes import EXPECTED, RowReader

LINES = (
    b'{"prompt": "One?",  "target": "a", "id": "r1"}\n'
    b"\n"
    b'{"target":"b","prompt":"Tw\\u00f6?","id":"r2"}\r\n'
    b'{"prompt": "Drei\xc3\x9f?", "target": "c", "id": "r3", "n": 1.50}\n'
    b"   \n"
    b'{"prompt": "Four?", "target": "d | <b>x</b>", "id": "r4"}'
)
ARRAY = (
    '[\n  {"prompt": "One?", "target": "a", "id": "r1"},\n\n  {"prompt":"Zwö?","target":"b","id":"r2"} ,\n'
    '  {"prompt": "Three?", "target": "c", "id": "r3"}\n,{"prompt": "F]our?", "target": "d", "id": "r4"}\n]\n'
).encode()
TABLE = (
    b'\xef\xbb\xbfprompt;target;id\r\n"One; two?";a;r1\r\n\r\n"Two\r\nlines?";b;r2\r\n\xc3\x9cber?;"c ""quoted""";r3\r\n'
    b"Four?;d;r4"
)
ROWS = {"rows.jsonl": LINES, "rows.json": ARRAY, "rows.csv": TABLE}


def examples_of(path: Path) -> dict[str, tuple[str, str]]:
    examples, _ = read_examples(read_row_file(path, EXPECTED), RowReader())
    return {one.id: (one.prompt, one.target) for one in examples}


@pytest.fixture(params=ROWS)
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / request.param
    path.write_bytes(ROWS[request.param])
    return path


@pytest.mark.parametrize("drop", [["r1"], ["r2"], ["r4"], ["r2", "r3"], ["r1", "r4"], ["r1", "r2", "r3"]])
def test_rows_that_are_kept_are_the_same(file: Path, drop: list[str]) -> None:
    before = file.read_bytes()
    result = gptfl.apply(file, drop=drop)
    assert file.read_bytes() == before
    assert result.path == file.with_name("rows.applied")
    assert (result.kept, result.dropped) == (4 - len(drop), len(drop))
    written = result.path / f"kept{file.suffix}"
    rows = examples_of(file)
    assert examples_of(written) == {id: row for id, row in rows.items() if id not in drop}
    out = [json.loads(line) for line in (result.path / "dropped.jsonl").read_text().splitlines()]
    assert [one["id"] for one in out] == drop
    assert all(one["reason"] == "in --drop" and one["row"]["id"] == one["id"] for one in out)


def test_what_is_not_taken_out_is_there_byte_for_byte(tmp_path: Path) -> None:
    first, second, third, fourth = (LINES.splitlines(keepends=True)[i] for i in (0, 2, 3, 5))
    assert written(tmp_path, "rows.jsonl", ["r2"]) == LINES.replace(second, b"")
    assert written(tmp_path, "rows.jsonl", ["r4"]) == LINES.replace(fourth, b"")
    assert written(tmp_path, "rows.jsonl", ["r1", "r3"]) == LINES.replace(first, b"").replace(third, b"")
    assert written(tmp_path, "rows.csv", ["r2"]) == TABLE.replace(b'"Two\r\nlines?";b;r2\r\n', b"")
    assert written(tmp_path, "rows.csv", ["r1", "r3"]) == TABLE.replace(b'"One; two?";a;r1\r\n', b"").replace(
        b'\xc3\x9cber?;"c ""quoted""";r3\r\n', b""
    )
    kept = written(tmp_path, "rows.json", ["r2"])
    assert kept == ARRAY.replace(',\n\n  {"prompt":"Zwö?","target":"b","id":"r2"}'.encode(), b"")
    assert written(tmp_path, "rows.json", ["r1"]).startswith('[\n  {"prompt":"Zwö?"'.encode())


def written(folder: Path, name: str, drop: list[str]) -> bytes:
    path = folder / name
    path.write_bytes(ROWS[name])
    result = gptfl.apply(path, drop=drop, output=folder / f"{name}-{'-'.join(drop)}")
    return (result.path / f"kept{path.suffix}").read_bytes()


def test_all_but_those_to_keep_go(file: Path) -> None:
    ids = file.with_name("ids.txt")
    ids.write_text("r3\nr1\n")
    result = gptfl.apply(file, keep=ids)
    assert set(examples_of(result.path / f"kept{file.suffix}")) == {"r1", "r3"}
    out = [json.loads(line) for line in (result.path / "dropped.jsonl").read_text().splitlines()]
    assert [(one["id"], one["reason"]) for one in out] == [("r2", "not in ids.txt"), ("r4", "not in ids.txt")]


def test_every_row_may_have_a_weight_instead(file: Path) -> None:
    result = gptfl.apply(file, drop=["r2", "r4"], weights=True)
    path = result.path / f"weighted{file.suffix}"
    rows = [row.values for row in read_row_file(path, EXPECTED)]
    assert [float(row["weight"]) for row in rows] == [1, 0, 1, 0]
    plain = [row.values for row in read_row_file(file, EXPECTED)]
    assert [{key: value for key, value in row.items() if key != "weight"} for row in rows] == plain
    with pytest.raises(DataError, match="has a field 'weight' already: leave out --weights, or rename it"):
        gptfl.apply(path, drop=["r2"], weights=True)


def test_reasons_come_from_a_ranking(file: Path) -> None:
    table = file.with_name("harmful.csv")
    text = "estimator,rank,id,influence,low,high,verdict,wrong_sign,class,text\nexposure-gp,4,r4,-0.0123,-0.02,-0.004,harmful,0.001,,x\n"
    table.write_text(text)
    result = gptfl.apply(file, drop=table)
    (out,) = [json.loads(line) for line in (result.path / "dropped.jsonl").read_text().splitlines()]
    assert out["reason"] == "in harmful.csv (harmful: influence -0.0123, between -0.02 and -0.004, rank 4)"
    assert (out["verdict"], out["estimator"], float(out["influence"])) == ("harmful", "exposure-gp", -0.0123)
    page = (result.path / "summary.md").read_text()
    assert f"## 1 of 4 rows left out of {escaped(file.name)}" in page
    assert "- verdicts of these: harmful 1" in page
    assert "byte for byte" in page


def test_parquet_keeps_its_values_and_schema(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "rows.parquet"
    table = pyarrow.table(
        {
            "id": ["r1", "r2", "r3", "r4"],
            "prompt": ["a?", "b?", "c?", "d?"],
            "target": ["1", "2", "3", "4"],
            "n": pyarrow.array([1, None, 3, 4], pyarrow.int16()),
        }
    ).replace_schema_metadata({"made by": "hand"})
    parquet.write_table(table, path, row_group_size=2)
    result = gptfl.apply(path, drop=["r2", "r3"], weights=True)
    found = parquet.read_table(result.path / "kept.parquet")
    assert found.equals(table.take([0, 3]))
    assert found.schema.equals(table.schema, check_metadata=True)
    assert parquet.read_table(result.path / "weighted.parquet")["weight"].to_pylist() == [1, 0, 0, 1]
    assert result.notes == ("kept.parquet has the values and the schema of rows.parquet, and is packed anew",)
    assert "the same values in the same schema" in (result.path / "summary.md").read_text()


def test_rows_without_ids_are_known_by_what_they_hold(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [{"q": f"Question {place // 2}?", "a": "yes"} for place in range(4)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError):
        gptfl.apply(path, drop=["x"])
    reader = RowReader({"prompt": "q", "target": "a"})
    examples, _ = read_examples(read_row_file(path, EXPECTED), reader)
    assert len({one.id for one in examples}) == 4  # the same again has a number
    result = gptfl.apply(path, drop=[examples[3].id], fields="prompt=q,target=a")
    assert (result.path / "kept.jsonl").read_text() == "".join(path.read_text().splitlines(keepends=True)[:3])


def test_nothing_is_overwritten_and_bad_input_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(LINES)
    there = tmp_path / "there"
    there.mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    packed = tmp_path / "rows.jsonl.gz"
    packed.write_bytes(gzip.compress(LINES))
    cases: list[tuple[Path, dict, type, str]] = [
        (path, {}, UsageError, "--drop and --keep are neither given: give one of them"),
        (path, {"drop": ["r1"], "keep": ["r2"]}, UsageError, "--drop and --keep are both given"),
        (path, {"drop": ["r1"], "output": there}, DataError, "there is there already, and is not overwritten"),
        (path, {"drop": ["r1"], "output": tmp_path / "link"}, DataError, "link is there already"),
        (
            path,
            {"drop": ["r1"], "output": path},
            UsageError,
            "rows.jsonl names a file of rows, and apply writes a new folder",
        ),
        (
            path,
            {"drop": ["r1"], "output": tmp_path / "clean.CSV.gz"},
            UsageError,
            f"give a folder: of --output {tmp_path}/clean the rows are {tmp_path}/clean/kept.jsonl",
        ),
        (
            path,
            {"drop": ["r9"]},
            DataError,
            "--drop, item 1: 'r9' is not an id of the data of 4: take the file that was recorded",
        ),
        (path, {"drop": ["r1", "r2", "r3", "r4"]}, DataError, "--drop leaves none of the 4 rows"),
        (tmp_path / "none.jsonl", {"drop": ["r1"]}, DataError, "none.jsonl is no file of rows"),
        (there, {"drop": ["r1"]}, DataError, "there is no file of rows"),
        (packed, {"drop": ["r1"]}, DataError, "is compressed, and can't be written back as it was: unpack it first"),
    ]
    for data, options, error, message in cases:
        with pytest.raises(error, match=message) as caught:
            gptfl.apply(data, **options)
        assert "\n" not in str(caught.value)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["link", "rows.jsonl", "rows.jsonl.gz", "there"]
