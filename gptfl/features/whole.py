"""Vectors of a large pool for those that need all of them in memory: what that takes, and whether there is so much."""

import os
from pathlib import Path

from gptfl.core import Features
from gptfl.errors import ResourceError

TIMES = 3
"""So many times the vectors as 32-bit floats are in memory at once, at most, where an estimator is fitted to them all."""
_MEMINFO, _GROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")


def in_memory(features: Features, who: str) -> tuple[Features, tuple[str, ...]]:
    """Features with all vectors in memory, and what to tell of that where they were read in blocks until then.

    Args:
        features: of a recording.
        who: needs them, as messages call it.

    Raises ``ResourceError`` where they don't fit into the memory that is free.
    """
    if not features.in_blocks:
        return features, ()
    needed, free = memory_needed(features), free_memory()
    takes = f"{who} needs all vectors of the pool at once, up to {_gigabytes(needed)} of memory"
    if free is not None and needed > free:
        raise ResourceError(
            f"{takes}, and {_gigabytes(free)} are free",
            "take exposure-gp or gptfluence, which read them some at a time, or fewer numbers a vector (gptfl featurize --set "
            "dimensions=N, or --set points=S of gradients)",
        )
    return features.in_memory(), (takes,)


def memory_needed(features: Features) -> int:
    """The bytes that an estimator takes at most which is fitted to all vectors at once."""
    return TIMES * 4 * sum(one.train.size + one.test.size for one in features.sets.values())


def free_memory() -> int | None:
    """The bytes of memory that this process may still take: the machine's, or its control group's; None if nobody says."""
    found = [one for one in (_available(), _left_of_group()) if one is not None]
    if found:
        return min(found)
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _available() -> int | None:
    """What Linux says could be had without swapping."""
    try:
        for line in _MEMINFO.read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(":")
            if name == "MemAvailable":
                return int(value.split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def _left_of_group() -> int | None:
    """What a container may still take, by version 2 of control groups."""
    try:
        most = (_GROUP / "memory.max").read_text(encoding="ascii").strip()
        return None if most == "max" else max(0, int(most) - int((_GROUP / "memory.current").read_text("ascii")))
    except (OSError, ValueError):
        return None


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2g} GB"
