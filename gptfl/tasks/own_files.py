"""Finds the files of people's own data: which hold rows to train on, and which rows to test on."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gptfl.errors import DataError, ResourceError
from gptfl.store.jsonlines import Row
from gptfl.store.row_files import FORMS, LIMITS, is_row_file, read_row_file

TRAIN, TESTS = "train", ("test", "validation", "valid", "val", "dev", "eval")
"""How the names of splits begin; of several to test on, the first there is counts."""
NOT_ROWS = frozenset({"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "config.json"})
"""What lies beside rows and describes them."""


@dataclass(frozen=True, slots=True)
class RowSource:
    """Files of rows, or folders that ``save_to_disk`` wrote, read one after the other."""

    paths: tuple[Path, ...]
    saved: bool = False

    @property
    def name(self) -> str:
        """What messages call it."""
        more = f" and {len(self.paths) - 1} more" if len(self.paths) > 1 else ""
        return f"{self.paths[0]}{more}"

    def rows(self, expected: str) -> Iterator[Row]:
        """Every row. Raises ``DataError`` for what can't be read, naming the place, and for too many of them."""
        number = 0
        for path in self.paths:
            if self.saved:
                from gptfl.store.arrow_rows import read_saved

                rows = read_saved(path, LIMITS)
            else:
                rows = read_row_file(path, expected)
            for row in rows:
                number += 1
                if number > LIMITS.lines:
                    raise DataError(f"{self.name} has more than {LIMITS.lines:,} rows", "use fewer")
                yield row


def one_source(path: Path, flag: str) -> RowSource:
    """The rows of one file or saved data set. Raises ``DataError`` where it is neither."""
    train, test = find_sources(path, flag)
    if path.is_dir() and test is not None:
        raise DataError(
            f"{flag} {path} holds rows to train on and rows to test on", "name one of its files, or use --data"
        )
    return train


def find_sources(path: Path, flag: str) -> tuple[RowSource, RowSource | None]:
    """The rows to train on and those to test on, if the path is a folder that tells them apart.

    Raises ``DataError`` where nothing is there, or nothing that holds rows.
    """
    try:
        if not path.exists():
            raise DataError(f"{flag} {path} does not exist", "name a file of rows, or a folder that holds some")
        if path.is_dir():
            return _in_folder(path, flag)
        if not path.is_file():
            # Read again whenever texts are needed that a recording doesn't keep, which a pipe can't be.
            raise DataError(f"{flag} {path} is not a plain file", "put the rows into a file")
    except OSError as error:
        raise ResourceError(
            f"{flag} {path} can't be read: {error.strerror or error}", "check the path and its rights"
        ) from error
    if not is_row_file(path):
        raise DataError(f"{flag} {path} has no ending that says how its rows are written", f"end its name in {FORMS}")
    return RowSource((path,)), None


def _in_folder(folder: Path, flag: str) -> tuple[RowSource, RowSource | None]:
    from gptfl.store.arrow_rows import saved_splits

    splits = saved_splits(folder)
    if splits is not None:
        return _sides({name: [path] for name, path in splits.items()}, folder, flag, saved=True)
    files: list[Path] = []
    for place in (folder, folder / "data"):
        files = files or sorted(
            one for one in (place.iterdir() if place.is_dir() else ()) if is_row_file(one) and one.name not in NOT_ROWS
        )
    named: dict[str, list[Path]] = {}
    for file in files:
        named.setdefault(_split_of(file.name), []).append(file)
    return _sides(named, folder, flag, saved=False)


def _sides(named: dict[str, list[Path]], folder: Path, flag: str, saved: bool) -> tuple[RowSource, RowSource | None]:
    """Of the files by split: those to train on are called so, else they are all that aren't to test on."""
    train = named.get(TRAIN) or [one for name, files in named.items() if name not in TESTS for one in files]
    test = next((named[name] for name in TESTS if name in named), None)
    if not train:
        what = "only rows to test on" if test else "no file of rows"
        raise DataError(
            f"{flag} {folder} holds {what}",
            f"it must hold files that end in {FORMS}, or name them by --train and --eval",
        )
    return RowSource(tuple(train), saved), None if test is None else RowSource(tuple(test), saved)


def _split_of(name: str) -> str:
    """The split that a file's name begins with; empty for another name."""
    found = re.match(r"[a-z]+", name.lower())
    return found[0] if found and found[0] in (TRAIN, *TESTS) else ""


def plain_name(paths: Sequence[Path]) -> str:
    """What a recording of these may be called: by the file, or by its folder where it is only named for its split."""
    from gptfl.store.row_files import stem

    path = paths[0]
    own = stem(path)
    try:
        resolved = path.resolve()
        if path.is_dir():
            return resolved.name
    except (OSError, ValueError, RuntimeError):  # a circle of links, among others: told when it is read
        return own
    return resolved.parent.name if _split_of(path.name) == own.lower() and resolved.parent.name else own
