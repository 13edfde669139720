"""How each kind of result is drawn, tabulated, shown in a notebook and saved."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gptfl.errors import DataError, UsageError
from gptfl.report.display import figure_of, html_of, many_table, many_to_dict, plot, save, tables_of, texts_of
from tests.report.made import comparison, curve_of, printed, sweep_of

KINDS = ("simulation", "many", "ranking", "selection", "comparison")


def test_what_is_no_result_is_one_line() -> None:
    for action, says in (
        (figure_of, "a dict has no picture"),
        (tables_of, "a dict can't be shown"),
        (texts_of, "a dict can't be saved"),
    ):
        with pytest.raises(UsageError, match=says):
            action({})


@pytest.mark.parametrize("kind", KINDS)
def test_every_result_is_shown_in_a_notebook_and_saved_as_it_says(
    results: SimpleNamespace, tmp_path: Path, kind: str
) -> None:
    result = getattr(results, kind)
    html = html_of(result)
    assert html.count("<pre") == 1
    assert tables_of(result)
    for suffix, text in texts_of(result).items():
        path = save(result, tmp_path / f"größe{suffix.upper()}")
        assert path.read_text(encoding="utf-8") == text
        if suffix == ".json":
            assert json.loads(text)
        if suffix == ".csv":
            header, *lines = list(csv.reader(text.splitlines()))
            assert lines
            assert {len(line) for line in lines} == {len(header)}


@pytest.mark.parametrize("result", [sweep_of(1.0), curve_of(2, 4)], ids=["grid", "runs"])
def test_results_with_a_picture_are_drawn(tmp_path: Path, result: Any) -> None:
    assert figure_of(result).axes
    assert plot(result, tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_what_else_lies_there_is_kept(results: SimpleNamespace, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.mkdir()
    with pytest.raises(DataError, match=r"mine\.csv"):
        save(results.ranking, path)
    with pytest.raises(
        UsageError, match=r"a: a RankResult is not saved as a file without suffix: end it in \.json, \.csv"
    ):
        save(results.ranking, tmp_path / "a")
    with pytest.raises(UsageError, match="without flipped labels has no picture"):
        plot(results.ranking, tmp_path / "a.png")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["mine.csv"]


def test_notes_of_a_result_are_text_and_nothing_else() -> None:
    html = html_of(comparison(notes=("a [bold]b[/bold] <script>",)))
    assert "a [bold]b[/bold] &lt;script&gt;" in html


def test_subsets_come_the_best_first(results: SimpleNamespace) -> None:
    many = results.many
    document = many_to_dict(many, ["größe", "b"])
    means = [float(np.mean(one["final"])) for one in document["subsets"]]
    assert [one["predicted"] for one in document["subsets"]] == pytest.approx(means)
    assert [one["examples"] for one in document["subsets"]] == [5, 4]
    best = ("größe", "b")[int(np.argmin(means))]
    text = printed(many_table(many, ["größe", "b"]), 100)
    rows = [line.split()[0] for line in text.splitlines() if line.split()[:1] in (["größe"], ["b"])]
    assert rows[0] == best
    assert len(rows) == 2
    assert len(printed(many_table(many, ["größe", "b"], 1), 100).splitlines()) == len(text.splitlines()) - 1
