"""Saves a figure as a picture, whole."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gptfl.report.cells import any_script
from gptfl.store.outputs import written_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure


DPI = 150


def save_figure(figure: "Figure", path: Path, metadata: Mapping[str, None] | None = None) -> None:
    """Save a figure as its suffix says. Raises ``ResourceError`` if it can't be written."""
    kind = path.suffix[1:].lower()
    with written_whole(path) as aside, any_script():
        layout = figure.get_layout_engine()
        # Left to savefig, all is drawn in vain for the layout. Other kinds measure texts in their own way.
        if kind == "png" and layout is not None:
            figure.set_dpi(DPI)
            layout.execute(figure)
            figure.set_layout_engine("none")
        figure.savefig(aside, dpi=DPI, format=kind, metadata=metadata)
