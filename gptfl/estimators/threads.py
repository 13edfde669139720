"""How many threads linear algebra gets."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

LOADERS = ("numpy", "scipy.linalg", "torch", "sklearn")
"""What brings a linear algebra library of its own into the process."""


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """For matrices of some dozen rows: several threads wait for each other longer than one takes for all of it."""
    with _libraries(tuple(name in sys.modules for name in LOADERS)).limit(limits=1, user_api="blas"):
        yield


@cache
def _libraries(loaded: tuple[bool, ...]) -> Any:
    """The libraries that are in the process; to look for them takes as long as a small fit."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
