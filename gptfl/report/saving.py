"""Writes results: their numbers, their pictures, and pages of them."""

from pathlib import Path

from gptfl.core import user_path
from gptfl.errors import UsageError
from gptfl.report.display import figure_of, texts_of
from gptfl.report.page.sections import SUFFIXES as PAGES
from gptfl.report.page.sections import check_page, write_section
from gptfl.report.pictures import SUFFIXES, save_figure
from gptfl.store.outputs import check_plain_target, written_whole


def save(result: object, path: str | Path) -> Path:
    """Write a result: its numbers as .json, as .csv where they make a table, by some as .tex or .txt, or a page as .html.

    A page is one file that fetches nothing: the part of the page of ``gptfl report`` that is about this kind of result.

    Args:
        result: of any function whose results show themselves.
        path: of the file, whose suffix says which.

    Raises ``UsageError`` for a suffix that the result isn't written as, ``DataError`` where the file is there and of
    another kind, ``ResourceError`` where it can't be written.
    """
    target = user_path(path)
    suffix = target.suffix.lower()
    texts = texts_of(result)
    if suffix in PAGES:
        check_page(target, "path")
        write_section(result, target, f"gptfl.save, of a {type(result).__name__}")
        return target
    if suffix not in texts:
        raise UsageError(
            f"{target}: a {type(result).__name__} is not saved as {suffix or 'a file without suffix'}",
            f"end it in {', '.join((*texts, PAGES[0]))}",
        )
    check_plain_target(target, "path")
    with written_whole(target) as part:
        part.write_text(texts[suffix], encoding="utf-8")
    return target


def plot(result: object, path: str | Path) -> Path:
    """Write the picture of a result: .png, .svg or .pdf. Raises as ``save`` does."""
    target = user_path(path)
    if target.suffix.lower() in SUFFIXES:
        check_plain_target(target, "path")
    save_figure(figure_of(result), target)
    return target
