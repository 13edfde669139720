"""Results that show themselves: as a figure, as a data frame, and in a notebook.

What they look like is known to the package of reports, which lies above everything that makes a result; it is loaded
when a result is first shown.
"""

import importlib
from collections.abc import Mapping
from dataclasses import fields
from html import escape
from typing import TYPE_CHECKING, Any, cast

from gptfl.errors import harmless

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

REPORTS = "gptfl.report.display"


class Displayed:
    """A result that ``gptfl.report.display`` knows how to show."""

    __slots__ = ()

    def plot(self) -> "Figure":
        """A figure, as the command of the same name draws it. Raises ``UsageError`` where there is none to draw."""
        return cast("Figure", _reports().figure_of(self))

    def to_frame(self) -> "pd.DataFrame":
        """The numbers, a row each. Raises ``UsageError`` where they make no table."""
        return cast("pd.DataFrame", _reports().frame_of(self))

    def __str__(self) -> str:
        return str(_reports().text_of(self))

    def _repr_html_(self) -> str:
        return str(_reports().html_of(self))

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What IPython shows where it shows no HTML: the tables, and not every array."""
        printer.text(str(self))


class Listed:
    """A small result that shows its fields, or its ``rows`` of label and value, in a notebook."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        values = {one.name: getattr(self, one.name) for one in fields(cast("Any", self))}
        notes = values.pop("notes", ())
        rows = values.get("rows")
        listed = dict(rows) if isinstance(rows, list) else {name: _listed(value) for name, value in values.items()}
        return html_rows(listed) + "".join(f"<p>note: {escape(harmless(note))}</p>" for note in notes)


def _listed(value: Any) -> str:
    """A field in one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_listed(one)}" for name, one in value.items())
    if isinstance(value, tuple | list):
        return ", ".join(map(_listed, value))
    return harmless(f"{value:.4g}" if isinstance(value, float) else str(value))


def _reports() -> Any:
    return importlib.import_module(REPORTS)


def html_rows(rows: Mapping[str, str]) -> str:
    """A table of two columns for a notebook."""
    lines = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows.items())
    return f"<table>{lines}</table>"
