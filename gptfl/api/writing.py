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


def is_named(figure: Picture) -> bool:
    """Whether a picture was asked for by its path."""
    return figure is not None and not isinstance(figure, bool)


def picture_at(figure: Picture, usual: Path) -> Path | None:
    """Where a picture goes: to a path, for True and None to the ``usual`` place, and for False nowhere.

    Raises ``UsageError`` or ``DataError`` where it can't be written there.
    """
    if figure is False:
        return None
    picture = usual if figure is None or figure is True else user_path(figure)
    check_picture(picture)
    check_plain_target(picture, "--figure")
    return picture


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

    Args:
        result: whose fields ``output`` and ``figure`` name the files.
        output: where its numbers go, None for nowhere.
        figure: a path, True or None for the ``usual`` place, or False for none.
        usual: where the picture goes if nothing else is said.
        write: writes the numbers.
        draw: writes the picture.

    Raises ``NotKept`` as ``ResultWriter`` does.
    """
    table = None if output is None else user_path(output)
    picture = user_path(figure) if isinstance(figure, str | Path) else None if figure is False else usual
    places: dict[str, Any] = {"output": table, "figure": picture}
    writer = ResultWriter(replace(result, **places))  # type: ignore[type-var]
    if picture is not None:
        writer.draw("figure", lambda known: draw(known, picture), required=is_named(figure))
    if table is not None:
        writer.write("output", lambda known: write(known, table))
    return writer.finish()


def study_targets(name: str, recording: OpenedRecording, study: StudyOptions) -> tuple[Path, Path | None]:
    """Where the numbers and the picture of a study go. Raises ``UsageError`` or ``DataError`` where they can't."""
    beside = recording.workspace.root / f"{recording.stem}.{name}"
    target = beside.with_name(f"{beside.name}.json") if study.output is None else user_path(study.output)
    if target.suffix.lower() != ".json":
        raise UsageError(f"--output {target} is not a .json file", "end it in .json")
    picture = picture_at(study.figure, beside.with_name(f"{beside.name}.png"))
    check_plain_target(target, "--output")
    return target, picture


def study_written(
    result: R,
    target: Path,
    picture: Path | None,
    figure: Picture,
    write: Callable[[R, Path], None],
    draw: Callable[[R, Path], None],
) -> R:
    """The result of a study, its files written where ``study_targets`` put them.

    Args:
        result: whose fields ``output`` and ``figure`` name the files.
        target: where its numbers go.
        picture: where the picture goes, None for nowhere.
        figure: as the option says it.
        write: writes the numbers.
        draw: draws the picture.

    Raises ``NotKept`` as ``ResultWriter`` does.
    """
    writer = ResultWriter(result)
    if picture is not None:
        writer.draw("figure", lambda known: draw(known, picture), required=is_named(figure))
    writer.write("output", lambda known: write(known, target))
    return writer.finish()
