"""Notes under a table, in fewer words."""

import re
from collections.abc import Sequence

NUMBER = re.compile(r"(?<![\w.-])(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?![\w-])")
"""A number that stands by itself in a note."""


def spanned(notes: Sequence[str]) -> list[str]:
    """The notes of all folds: of those that differ in numbers only, one, with each number's range."""
    groups: dict[tuple[str, ...], list[list[str]]] = {}
    for note in notes:
        *parts, last = NUMBER.split(note)
        groups.setdefault((*parts[::2], last), []).append(parts[1::2])
    notes_spanned = []
    for words, found in groups.items():
        ranges = []
        for column in zip(*found, strict=True):
            least, most = min(column, key=float), max(column, key=float)
            ranges.append(least if least == most else f"{least} to {most}")
        notes_spanned.append("".join(word + value for word, value in zip(words, (*ranges, ""), strict=True)))
    return notes_spanned
