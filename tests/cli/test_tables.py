"""Tables: whole rows where no terminal shows them, and numbers on any terminal."""

import io

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gptfl.cli import console
from gptfl.cli.tables import show_table, whole_lines

LONG = "corpora/somewhere/far/" + "x" * 80 + ".json:7"


def example() -> Table:
    table = Table(
        title=Text("all of it"), caption=Text("a note that is longer than the table\nanother"), padding=(0, 2)
    )
    table.add_column("rank", justify="right", no_wrap=True)
    table.add_column("influence", justify="right", no_wrap=True)
    table.add_column("id", no_wrap=True)
    table.add_column("text")
    table.add_row("1", "+0.25\n±0.125", Text(LONG), Text("[b] " + "word " * 30))
    table.add_row("12", "[bold]-3[/bold]", Text("simfluence-\nlinear\n(order=2,\n every=1)"), Text("short"))
    return table


def test_piped_rows_are_whole() -> None:
    lines = whole_lines(example()).splitlines()
    assert lines[0] == "all of it"
    assert lines[-2:] == ["a note that is longer than the table", "another"]
    (first,) = (line for line in lines if LONG in line)
    assert "+0.25 ±0.125" in first
    assert "[b] " + "word " * 29 in first
    (second,) = (line for line in lines if "-3" in line)
    assert "simfluence-linear (order=2, every=1)" in second
    # Numbers stand under each other.
    assert first.index("+0.25 ±0.125") + len("+0.25 ±0.125") == second.index("-3") + 2


@pytest.mark.parametrize("width", [80, 60])
def test_a_narrow_terminal_breaks_ids_and_never_numbers(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(console, "out", Console(file=screen, force_terminal=True, width=width, color_system=None))
    show_table(example())
    lines = screen.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    for number in ("1", "12", "+0.25", "±0.125", "-3"):
        assert any(number in line.replace("│", " ").split() for line in lines)
    cells = [line.replace("┃", "│").split("│") for line in lines]
    assert LONG in "".join(cell[3].strip() for cell in cells if len(cell) > 4)
