"""Settings of the arithmetic, changed for a while and put back."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def flushes_denormals() -> bool:
    """Whether this thread turns denormal numbers into 0."""
    return float(torch.full((), 1e-310, dtype=torch.float64).mul(1.0)) == 0.0


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Turn denormal numbers into 0 inside the block: the penalty drives weights there, where a CPU crawls."""
    before = flushes_denormals()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


SMALL = 10_000_000
"""Multiplications in one matrix product below which a second thread costs more than it brings."""


@contextmanager
def threads_for(multiplications: int) -> Iterator[None]:
    """Compute on one thread inside the block if its matrix products are small, as is then faster.

    It is far faster on a busy machine, where two threads mostly wait for each other.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1 if multiplications < SMALL else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
