"""Prints tables: to a terminal within its width, to a pipe or file with every row on one whole line."""

import io

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from gptfl.cli import console

_WIDE = 1_000_000


def show_table(table: Table) -> None:
    """Print a table.

    A narrow terminal breaks texts and ids into lines, never numbers. Elsewhere nothing is broken or cut, so that grep
    and cut find what they look for.
    """
    if not console.out.is_terminal:
        console.say(whole_lines(table))
        return
    for column in table.columns:
        numbers = column.justify == "right"
        column.no_wrap = numbers
        column.overflow = "ellipsis" if numbers else "fold"
    console.out.print(table)


def whole_lines(table: Table) -> str:
    """A table's title, rows and caption as text, a line each."""
    plain = Table(box=table.box, padding=table.padding, pad_edge=table.pad_edge, show_header=table.show_header)
    for column in table.columns:
        plain.add_column(_on_one_line(column.header), justify=column.justify, no_wrap=True)
    cells = zip(*(column.cells for column in table.columns), strict=True)
    for row, texts in zip(table.rows, cells, strict=True):
        plain.add_row(*map(_on_one_line, texts), end_section=row.end_section)
    page = io.StringIO()
    Console(file=page, width=_WIDE, color_system=None, highlight=False, emoji=False).print(plain)
    lines = [line.rstrip() for line in page.getvalue().splitlines()]
    title = [] if table.title is None else [str(_on_one_line(table.title))]
    caption = [] if table.caption is None else _text(table.caption).plain.splitlines()
    return "\n".join((*title, *lines, *caption))


def _on_one_line(cell: RenderableType) -> Text:
    first, *others = _text(cell).plain.split("\n")
    for line in others:
        # A long name is broken after a hyphen, all else where a space was or may be.
        first += line if first.endswith("-") and not first.endswith(" -") else f" {line.strip()}"
    return Text(first)


def _text(cell: RenderableType) -> Text:
    return cell if isinstance(cell, Text) else Text.from_markup(str(cell))
