"""Ids and files of objects that are held."""

from pathlib import Path

import gptfl


def ids(recording: gptfl.Recording, count: int, start: int = 0) -> list[str]:
    return [example.id for example in recording.pool[start : start + count]]


def listed(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}
