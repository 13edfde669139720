"""Writes a table that was asked for and the picture beside it: the same for comparisons, sweeps and learning curves."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from gptfl.core import user_path
from gptfl.options.common import Picture
from gptfl.report.pictures import check_picture
from gptfl.store.outputs import ResultWriter, check_plain_target

R = TypeVar("R")


def check_figure(figure: Picture) -> None:
    """Raise ``UsageError`` or ``DataError`` for a picture that can't be written there."""
    if isinstance(figure, str | Path):
        check_picture(Path(figure))
        check_plain_target(user_path(figure), "--figure")


def written(
    result: R,
    output: str | Path | None,
    figure: Picture,
    usual: Path,
    write: Callable[[R, Path], None],
    draw: Callable[[R, Path], None],
) -> R:
    """The result, with the files that it was written to.

    ``figure`` is a path, True or None for the ``usual`` place, or False for none. Raises ``NotKept`` as ``ResultWriter`` does.
    """
    table = None if output is None else user_path(output)
    is_named = isinstance(figure, str | Path)
    picture = user_path(figure) if isinstance(figure, str | Path) else None if figure is False else usual
    places: dict[str, Any] = {"output": table, "figure": picture}
    keeping = ResultWriter(replace(result, **places))  # type: ignore[type-var]
    if picture is not None:
        keeping.draw("figure", lambda known: draw(known, picture), asked=is_named)
    if table is not None:
        keeping.write("output", lambda known: write(known, table))
    return keeping.settled()
