"""Writes texts and pictures whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gptfl.store.files import cannot_write, part_path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A path beside ``path`` to write to; it takes the name when the block ends without an exception.

    Raises ``ResourceError`` where the system refuses; a file of that name is then untouched.
    """
    aside = part_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        aside.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
