"""Results as files: numbers, pictures and pages."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gptfl.errors import DataError, UsageError
from gptfl.report.display import figure_of, texts_of
from gptfl.report.saving import plot, save
from tests.report.made import curve_of, sweep_of

KINDS = ("simulation", "many", "ranking", "selection", "comparison")


@pytest.mark.parametrize("kind", KINDS)
def test_every_result_is_saved_as_it_says(results: SimpleNamespace, tmp_path: Path, kind: str) -> None:
    result = getattr(results, kind)
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


@pytest.mark.parametrize("kind", KINDS)
def test_every_result_has_a_page(results: SimpleNamespace, tmp_path: Path, kind: str) -> None:
    text = save(getattr(results, kind), tmp_path / "page.HTML").read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>\n<!-- gptfl report -->")
