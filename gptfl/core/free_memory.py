"""How much memory there is room for."""

import os
from pathlib import Path

from gptfl.errors import ResourceError

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


def check_memory(takes: str, needed: int, free: int | None, remedy: str) -> None:
    """Raise ``ResourceError`` where more is needed than is free.

    Args:
        takes: who takes how much for what, in words.
        needed: bytes.
        free: what ``free_memory`` says.
        remedy: what to do then.
    """
    if free is not None and needed > free:
        raise ResourceError(f"{takes}, and {gigabytes(free)} are free", remedy)


def gigabytes(count: int) -> str:
    """So many bytes in words."""
    return f"{count / 1e9:.2g} GB"


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
