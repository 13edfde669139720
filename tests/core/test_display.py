"""Small results in a notebook."""

from dataclasses import dataclass
from pathlib import Path

from gptfl.core.display import Listed


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
