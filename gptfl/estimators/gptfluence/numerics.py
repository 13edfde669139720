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


@contextmanager
def one_thread(when: bool = True) -> Iterator[None]:
    """Compute on one thread inside the block, if ``when``.

    For work that is bound by memory or made of small products: a second thread gains little on an idle
    machine, and on a busy one the two wait for each other most of the time.
    """
    before = torch.get_num_threads()
    if when:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
