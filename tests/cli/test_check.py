"""``gptfl check`` from the command line."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import gptfl as package
from gptfl.store.recordings import write_dynamics
from tests.cli.test_errors import refuses
from tests.synthetic import synthetic

DYNAMICS, _ = synthetic(runs=12, pool=14, test=5, subset=6, batch_size=3, steps=8, every=2)


@pytest.fixture
def space(tmp_path: Path) -> Path:
    tests = tuple(
        replace(one, fields={"source": "<b>" if place % 2 else "web"}, digest="")
        for place, one in enumerate(DYNAMICS.test)
    )
    write_dynamics(tmp_path / "made.dynamics.h5", replace(DYNAMICS, test=tests))
    package.featurize("tfidf-svd", workspace=tmp_path)
    package.fit("exposure-gp", workspace=tmp_path)
    rows = [{"prompt": f"Question train {place} and more:", "target": " class0"} for place in range(3)]
    (tmp_path / "new.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_new_rows_are_told_of_as_table_json_and_markdown(gptfl: Callable, space: Path) -> None:
    new, page = str(space / "new.jsonl"), space / "page.md"
    printed = gptfl("check", new, "-w", str(space), "--by", "source", "--json", "--output", str(page))
    document = json.loads(printed.out)
    assert printed.code == document["code"]
    assert document["code"] in (0, 1, 6)
    assert [one["target"] for one in document["targets"]] == ["all test examples", "web", "<b>"]
    assert [one["tests"] for one in document["targets"]] == [5, 3, 2]
    assert all(one["low"] <= one["influence"] <= one["high"] for one in document["targets"])
    assert all(0 <= one["novelty"] <= 1 for one in document["targets"])
    text = page.read_text()
    assert "3 new rows" in text
    assert "<b>" not in text
    shown = gptfl("check", new, "-w", str(space))
    assert shown.code in (0, 1, 6)
    assert shown.out.startswith(f"3 new rows: {package.check(new, workspace=space).verdict}")
    assert "than without, the whole pool trained on by the recorded recipe" in shown.out


def test_bad_input_is_one_line(gptfl: Callable, space: Path) -> None:
    new = str(space / "new.jsonl")
    refuses(gptfl("check", str(space / "none.jsonl"), "-w", str(space)), 3, "NEW", "none.jsonl is no file")
    refuses(gptfl("check", new, "-w", str(space), "--output", "a.txt"), 2, "--output a.txt is no Markdown page", ".md")
    refuses(gptfl("check", new, "-w", str(space), "--by", "no"), 3, "--by no: no test example has it")
    mine = space / "mine.md"
    mine.write_text("my own")
    refuses(gptfl("check", new, "-w", str(space), "--output", str(mine)), 3, "is not overwritten")


def test_new_rows_are_ranked_one_by_one_as_well(gptfl: Callable, space: Path) -> None:
    new, page = str(space / "new.jsonl"), space / "page.html"
    shown = gptfl("rank", "--new", new, "-w", str(space), "--top", "2", "--html", str(page))
    assert shown.code == 0, shown.err
    lines = [line.strip() for line in shown.out.splitlines() if line.strip()]
    assert lines[0] == (
        "Influence of each of 3 new rows on the mean of all 5 test examples, by exposure-gp (each as if added, loss at step 8)"
    )
    assert "with a new row added to the pool" in lines[1]
    assert lines[2].split()[:4] == ["rank", "influence", "90%", "interval"]
    assert any(line.startswith("1 ") and "new-" in line for line in lines)
    assert lines[-1] == f"next: gptfl check {new}, which says what all of them do together"
    assert "new-" in page.read_text(encoding="utf-8")
    table = gptfl("rank", "--new", new, "-w", str(space), "--csv")
    assert table.out.count("new-") == 3
    refuses(gptfl("rank", "--new", new, "--by", "class", "-w", str(space)), 2, "--by and --new were given together")
