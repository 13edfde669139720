"""Writes texts and pictures whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gptfl.store.durable import cannot_write, part_of, put_in_place


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A path beside ``path`` to write to; it takes the name when the block ends without an exception.

    It then lasts through a power cut. Raises ``ResourceError`` where the system refuses; a file of that name is then
    untouched.
    """
    try:
        with part_of(path) as aside:
            yield aside
            put_in_place(aside, path)
    except OSError as error:
        raise cannot_write(path, error) from error
