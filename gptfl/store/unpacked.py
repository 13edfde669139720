"""How much a packed file of rows may unpack to: a small file can't become large."""

import os
from pathlib import Path

from gptfl.errors import DataError

TRUST = "GPTFL_TRUST_FILES"
"""The environment variable that lifts what is bounded in proportion to a file's size, and nothing else."""
FREE_BYTES, RATIO = 32 * 2**20, 50
"""A file may unpack to so many bytes, and beyond them to so many times its size; texts pack to a tenth, seldom further."""
ROW_BYTES = 1024
"""A row counts as so many bytes more, since it takes about as much to hold one."""


def is_trusted() -> bool:
    """Whether the user takes files whatever they unpack to in proportion to their size."""
    return os.environ.get(TRUST) == "1"


class Unpacked:
    """Counts what a packed file of ``size`` bytes unpacks to."""

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.size = path, size
        self.most = FREE_BYTES + RATIO * size
        self.count = 0

    def add(self, count: int) -> None:
        """Count so many bytes more. Raises ``DataError`` where they are too many for the file's size."""
        self.count += count
        if self.count > self.most and not is_trusted():
            raise DataError(
                f"{self.path} of {self.size:,} bytes unpacks to more than {FREE_BYTES >> 20} MiB and {RATIO} times its "
                f"size ({ROW_BYTES:,} bytes a row counted)",
                f"keep it unpacked; if you trust whoever made it, set {TRUST}=1",
            )
