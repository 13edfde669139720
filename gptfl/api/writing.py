"""Writes a table that was asked for and the picture beside it: the same for comparisons, sweeps and learning curves."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from gptfl.core import user_path
from gptfl.store.outputs import ResultWriter

R = TypeVar("R")


def written(
    result: R,
    output: str | Path | None,
    figure: str | Path | bool,
    usual: Path,
    write: Callable[[R, Path], None],
    draw: Callable[[R, Path], None],
) -> R:
    """The result, with the files that it was written to.

    ``figure`` is a path, True for the ``usual`` place, or False for none. Raises ``NotKept`` as ``ResultWriter`` does.
    """
    table = None if output is None else user_path(output)
    picture = None if figure is False else usual if figure is True else user_path(figure)
    places: dict[str, Any] = {"output": table, "figure": picture}
    keeping = ResultWriter(replace(result, **places))  # type: ignore[type-var]
    if picture is not None:
        keeping.draw("figure", lambda known: draw(known, picture), asked=figure is not True)
    if table is not None:
        keeping.write("output", lambda known: write(known, table))
    return keeping.settled()
