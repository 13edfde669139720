"""Reads the rows of any data set of the Hugging Face Hub, by name, as a stream and without remote code."""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from gptfl.errors import DataError, GptflError, ResourceError, is_memory_full
from gptfl.hub import first_line, no_bars, require_hub
from gptfl.store.arrow_rows import plain_row
from gptfl.store.jsonlines import Row

MAX_ROWS = 20_000
"""Rows that are read of a split, from its beginning: more would be a download of all of it."""
INSTEAD = "pass files by --data or --train"
Source = tuple[str, Callable[[str], Iterable[Row]]]


def hub_sources(
    name: str, config: str | None, split: str | None, eval_split: str | None, revision: str | None
) -> tuple[Source, Source | None]:
    """What the rows to train on are called and what reads them, and as much of those to test on, if a split is named.

    Args:
        name: of the data set on the Hub.
        config: its configuration, None for its only one.
        split: of the rows to train on, None for ``train``.
        eval_split: of the rows to test on, None for none.
        revision: branch, tag or commit, None for the newest.
    """

    def source(which: str) -> Source:
        return f"{name} ({', '.join(filter(None, (config, which, revision)))})", partial(
            _rows, name, config, which, revision
        )

    return source(split or "train"), None if eval_split is None else source(eval_split)


def _rows(name: str, config: str | None, split: str, revision: str | None, expected: str) -> Iterator[Row]:
    """The first rows of a split. ``expected`` says what they should be; nothing here depends on it.

    Raises ``ResourceError`` where they are neither to be had nor in the cache, ``DataError`` where the data set, its
    configuration or split isn't there, or asks for code of its own to be run.
    """
    where = f"--dataset {name}"
    with _explained(where), no_bars():
        found = _open(where, name, config, split, revision)
    rows = iter(found)
    for number in itertools.count(1):
        with _explained(where), no_bars():
            values = next(rows, None) if number <= MAX_ROWS else None
        if values is None:
            return
        yield Row(f"{name}, {split}, row {number}", plain_row(values))


def _open(where: str, name: str, config: str | None, split: str, revision: str | None) -> Any:
    """The split as a stream; where the Hub can't be reached, as one of its caches holds it."""
    import datasets

    if Path(name).is_dir():
        return _bare(datasets.load_dataset(name, config, split=split, streaming=True))
    try:
        require_hub(f"{where}", INSTEAD)
    except ResourceError as error:
        with _offline():
            with contextlib.suppress(Exception):
                return _bare(datasets.load_dataset(name, config, split=split, revision=revision))
            kept = _snapshot(name, revision)
            if kept is not None:
                return _bare(datasets.load_dataset(str(kept), config, split=split, streaming=True))
        raise ResourceError(f"{error.problem}, and it is in no cache", error.remedy) from error
    return _bare(datasets.load_dataset(name, config, split=split, revision=revision, streaming=True))


def _snapshot(name: str, revision: str | None) -> Path | None:
    """The files of a data set that the Hub's cache holds; None where it holds none."""
    from huggingface_hub import snapshot_download

    with contextlib.suppress(Exception):
        return Path(snapshot_download(name, repo_type="dataset", revision=revision, local_files_only=True))
    return None


def _bare(found: Any) -> Any:
    """Rows without pictures and sounds being decoded."""
    import datasets

    heavy = [
        column
        for column, kind in (found.features or {}).items()
        if isinstance(kind, datasets.Image | datasets.Audio | datasets.Video)
    ]
    return found.remove_columns(heavy) if heavy else found


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """Within, ``datasets`` looks at its cache alone, at once and without a word."""
    import datasets

    was, verbosity = datasets.config.HF_HUB_OFFLINE, datasets.logging.get_verbosity()
    datasets.config.HF_HUB_OFFLINE = True
    datasets.logging.set_verbosity_error()
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = was
        datasets.logging.set_verbosity(verbosity)


@contextlib.contextmanager
def _explained(where: str) -> Iterator[None]:
    """Turn what datasets and the Hub's client raise, which may be of any kind, into one line."""
    try:
        yield
    except GptflError:
        raise
    except Exception as error:
        if is_memory_full(error):
            raise
        if isinstance(error, ConnectionError | TimeoutError) or type(error).__name__ in ("HTTPError", "ConnectError"):
            raise ResourceError(f"{where} can't be had ({first_line(error)})", f"try again, or {INSTEAD}") from error
        raise DataError(
            f"{where} can't be read ({type(error).__name__}: {first_line(error)})",
            "look at its --dataset-config, --split and --revision; data sets that run code of their own aren't read",
        ) from error
