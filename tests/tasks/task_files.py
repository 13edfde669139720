"""Folders of rows for tasks, as tests write them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gptfl.core import Example
from gptfl.tasks.own_data import DataRequest, OwnData
from gptfl.tasks.rows import TaskRow
from gptfl.tasks.shapes import RowReader, parse_fields
from tests.hub import add_parquet

RTE: dict[str, Any] = {"premise": "Nora sold  pears.\n", "hypothesis": "Nora sold fruit.", "label": 0}
FACTS: dict[str, Any] = {
    "triples": [["Old_Mill", "builtBy", '"Emil Strand"']],
    "references": ["Emil built it.", "It is Emil's."],
}
CHAT: list[dict[str, Any]] = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": [{"type": "text", "text": "Is it "}, {"type": "text", "text": "red?"}]},
    {"role": "assistant", "content": "Yes."},
    {"role": "user", "content": "And now?"},
    {"role": "assistant", "content": "No."},
]


def write_splits(folder: Path, train: Sequence[Any], test: Sequence[Any] | None = None) -> Path:
    """A folder with train.jsonl and test.jsonl, of rows or of lines as they are."""
    folder.mkdir(exist_ok=True)
    for name, rows in (("train", train), ("test", train if test is None else test)):
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def numbered(count: int) -> list[dict[str, Any]]:
    """Rows of RTE that differ."""
    return [{**RTE, "id": i, "premise": f"Nora sold {i} pears."} for i in range(count)]


def write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """A file of JSON lines."""
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def own(**options: Any) -> OwnData:
    """Data of one's own."""
    return OwnData(DataRequest(**options))


def made(row: dict[str, Any], fields: str | None = None, **options: Any) -> Example:
    """The example that one row is."""
    return RowReader(parse_fields(fields), **options).read(TaskRow(row, "f, line 7", "x", "a row with"))


def pairs(count: int, **more: Any) -> list[dict[str, Any]]:
    """Rows of a prompt and a target."""
    return [{"prompt": f"Question {i}?", "target": f" {i}", **more} for i in range(count)]


def add_both(
    home: Path, repo: str, revision: str, paths: Sequence[str], rows: list[dict[str, Any]], ref: str = ""
) -> None:
    """The same rows in the files of both splits of a data set in the cache of the Hub."""
    for path in paths:
        add_parquet(home, repo, revision, path, rows, ref)
