"""Small results in a notebook."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from gptfl.core.display import Displayed, Listed


@dataclass(frozen=True, slots=True)
class Shown(Listed):
    path: Path
    dims: dict[str, int]
    files: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rows(Listed):
    rows: list[tuple[str, str]]


def test_fields_are_rows_and_notes_follow() -> None:
    shown = Shown(Path("a<b"), {"x": 3}, ("one", "two"), ("look\x1b",))._repr_html_()
    assert "<th>path</th><td>a&lt;b</td>" in shown
    assert "<td>x: 3</td>" in shown
    assert "<td>one, two</td>" in shown
    assert shown.endswith("<p>note: look?</p>")


def test_rows_are_shown_as_they_are() -> None:
    assert Rows([("kind", "recording")])._repr_html_() == "<table><tr><th>kind</th><td>recording</td></tr></table>"


def test_ipython_shows_a_result_as_its_table_where_it_shows_no_html(monkeypatch: pytest.MonkeyPatch) -> None:
    reports = SimpleNamespace(text_of=lambda result: "a table")
    monkeypatch.setattr("gptfl.core.display._reports", lambda: reports)
    shown: list[str] = []
    Displayed()._repr_pretty_(SimpleNamespace(text=shown.append), False)
    assert shown == ["a table"]
