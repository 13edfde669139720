"""How much memory there is room for."""

import os
from pathlib import Path

_MEMINFO, _GROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")


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
