"""Pictures as files: named by a suffix that is one, written whole, the same bytes for the same numbers."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gptfl.errors import UsageError, harmless
from gptfl.store.outputs import written_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")
DPI = 150
SCREEN = 96
"""Dots an inch, as browsers count them."""
LAYOUT: Literal["constrained"] | None = "constrained"
"""How matplotlib makes room for texts."""


def check_picture(path: Path) -> None:
    """Raise ``UsageError`` unless the suffix names a kind of picture."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path} has no known suffix for a picture", f"end it in {', '.join(SUFFIXES)}")


def drawn_text(text: str) -> str:
    """A text as matplotlib draws it: a dollar sign would start mathematics, and nothing in it is left to be obeyed."""
    return harmless(text).replace("$", r"\$")


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure, in inches, that belongs to no window and to no global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = _shown_figure()(figsize=(width, height), layout=LAYOUT)
    FigureCanvasAgg(figure)
    return figure


@cache
def _shown_figure() -> "type[Figure]":
    """Figures that show themselves in a notebook, which draws matplotlib's own only after pyplot was imported."""
    from matplotlib.figure import Figure

    class ShownFigure(Figure):
        def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
            # As many dots as a screen of twice the usual density has, and told at which size.
            dots = io.BytesIO()
            with any_script():
                self.savefig(dots, format="png", dpi=2 * SCREEN, metadata={})
            width, height = self.get_size_inches()
            return dots.getvalue(), {"width": round(width * SCREEN), "height": round(height * SCREEN)}

    return ShownFigure


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a picture. Raises ``UsageError`` for another suffix, ``ResourceError`` if it can't be written."""

    check_picture(path)
    # The date left out, the same figure is the same file.
    kind = path.suffix[1:].lower()
    dated = {"pdf": "CreationDate", "svg": "Date"}.get(kind)
    with written_whole(path) as part, any_script():
        layout = figure.get_layout_engine()
        if kind != "png":
            import matplotlib

            # Else the parts of an SVG are named at random.
            with matplotlib.rc_context({"svg.hashsalt": "gptfl"}):
                figure.savefig(part, dpi=DPI, format=kind, metadata={} if dated is None else {dated: None})
            return
        # Left to savefig, all is drawn in vain, for the layout and once more. Other kinds measure texts in their own way.
        figure.set_dpi(DPI)
        if layout is not None:
            layout.execute(figure)
            figure.set_layout_engine("none")
        canvas: Any = figure.canvas
        canvas.print_png(part, metadata={})


@contextmanager
def any_script() -> Iterator[None]:
    """Draw texts of any script without a warning for each letter that the font lacks; it is drawn as a box."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from|Matplotlib currently does not support")
        yield
