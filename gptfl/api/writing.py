"""Where tables and pictures go, and how they are written: the same for comparisons, sweeps, curves and studies."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from gptfl.core import user_path
from gptfl.errors import UsageError
from gptfl.options.common import File, Picture
from gptfl.options.influence import StudyOptions
from gptfl.recording.recording import OpenedRecording
from gptfl.report.pictures import check_picture
from gptfl.store.outputs import ResultWriter, check_plain_target

R = TypeVar("R")


def check_targets(output: File, figure: Picture, check_format: Callable[[Path], None]) -> None:
    """Raise ``UsageError`` or ``DataError`` for a table or a picture that can't be written there."""
    if output is not None:
        check_format(Path(output))
        check_plain_target(user_path(output), "--output")
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
        keeping.draw("figure", lambda known: draw(known, picture), required=is_named)
    if table is not None:
        keeping.write("output", lambda known: write(known, table))
    return keeping.settled()


def study_targets(name: str, recording: OpenedRecording, study: StudyOptions) -> tuple[Path, Path]:
    """Where the numbers and the picture of a study go. Raises ``UsageError`` or ``DataError`` where they can't."""
    beside = recording.workspace.root / f"{recording.stem}.{name}"
    target = beside.with_name(f"{beside.name}.json") if study.output is None else user_path(study.output)
    picture = beside.with_name(f"{beside.name}.png") if study.figure is None else user_path(study.figure)
    if target.suffix.lower() != ".json":
        raise UsageError(f"--output {target} is not a .json file", "end it in .json")
    check_picture(picture)
    check_plain_target(target, "--output")
    check_plain_target(picture, "--figure")
    return target, picture
