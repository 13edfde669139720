"""What new rows do, as a table, as Markdown and as JSON."""

import json
from pathlib import Path

import pytest

from gptfl.core import MetricInfo
from gptfl.errors import UsageError
from gptfl.influence.additions import ALL, Addition, Check
from gptfl.report.additions import HEAD, cells, check_page, check_table, meaning, to_json, to_markdown, write_page
from tests.report.made import printed

CHECK = Check(
    "a_b.dynamics.h5", "exposure-gp", MetricInfo("loss", False), 8, 3,
    (Addition(ALL, 12, -0.25, -0.5, -0.125, 0.25), Addition("<b>|größe", 2, 0.1, -0.1, 0.3, 0.5)),
    notes=("a note",),
)  # fmt: skip


def test_each_target_is_a_row() -> None:
    assert cells(CHECK) == [
        ("all test examples (12)", "-0.25", "-0.5 to -0.125", "0.25"),
        ("<b>|größe (2)", "+0.1", "-0.1 to +0.3", "0.50"),
    ]
    text = printed(check_table(CHECK), 100)
    assert all(cell in text for row in cells(CHECK) for cell in row)


def test_the_page_holds_hostile_texts_as_texts(tmp_path: Path) -> None:
    page = to_markdown(CHECK)
    assert page.startswith(f"{HEAD}\n## 3 new rows: clearly worse for all test examples\n")
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert len(rows) == 4
    assert "<b>" not in page
    assert rows[3].replace("\\|", "").count("|") == rows[0].count("|")
    write_page(CHECK, tmp_path / "a.md")
    assert (tmp_path / "a.md").read_text(encoding="utf-8") == page


def test_programs_get_the_numbers_as_they_are() -> None:
    document = json.loads(to_json(CHECK))
    assert (document["code"], document["verdict"], document["notes"]) == (1, CHECK.verdict, ["a note"])
    assert document["targets"][1] == {
        "target": "<b>|größe", "tests": 2, "influence": 0.1, "low": -0.1, "high": 0.3, "novelty": 0.5
    }  # fmt: skip


def test_the_better_direction_is_the_metrics() -> None:
    assert "loss at the end is so much lower with the 3 new rows" in meaning(CHECK)
    better = Check("r", "e", MetricInfo("accuracy", True), 8, 3, CHECK.additions)
    assert "accuracy at the end is so much higher" in meaning(better)


def test_a_page_is_markdown(tmp_path: Path) -> None:
    check_page(tmp_path / "a.MD")
    with pytest.raises(UsageError, match=r"--output .*a\.html is no Markdown page: end it in \.md"):
        check_page(tmp_path / "a.html")
