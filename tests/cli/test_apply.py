"""``gptfl apply`` from the command line."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

from tests.cli.test_errors import refuses


def test_the_command_goes_from_a_recording_to_rows(gptfl: Callable, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["question", "answer", "key"])
    writer.writerows([f"What is {n} plus {n}?", str(2 * n), f"k{n}"] for n in range(12))
    path.write_text(text.getvalue())
    (tmp_path / "ids.txt").write_text("k3\nk7\n")
    shown = gptfl(
        *("apply", "--data", str(path), "--drop", str(tmp_path / "ids.txt"), "--output", str(tmp_path / "out")),
        *("--fields", "prompt=question,target=answer,id=key"),
    )
    assert shown.code == 0, shown.err
    assert "10 rows kept, 2 left out: kept.csv, dropped.jsonl, summary.md" in shown.out
    assert (tmp_path / "out" / "kept.csv").read_text().count("plus") == 10
    again = gptfl("apply", "--data", str(path), "--drop", str(tmp_path / "ids.txt"), "--output", str(tmp_path / "out"))
    refuses(again, 3, "out is there already, and is not overwritten", "give another --output")
    refuses(gptfl("apply", "--data", str(path)), 2, "--drop and --keep are neither given", "give one of them")
