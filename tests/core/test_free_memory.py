"""The memory that is free is told by the machine and by the container."""

from pathlib import Path

import pytest

from gptfl.core import free_memory as module
from gptfl.core.free_memory import check_memory, free_memory, gigabytes
from gptfl.errors import ResourceError


def test_the_least_of_what_machine_and_container_leave_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(module, "_GROUP", tmp_path)
    physical = free_memory()
    assert physical is None or physical > 2**20
    (tmp_path / "meminfo").write_text("MemTotal:  900 kB\nMemAvailable:   700 kB\n")
    assert free_memory() == 700 * 1024
    (tmp_path / "memory.current").write_text("1000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory() == 700 * 1024
    (tmp_path / "memory.max").write_text("5000\n")
    assert free_memory() == 4000
    (tmp_path / "meminfo").write_text("MemAvailable: many\n")
    assert free_memory() == 4000


def test_what_takes_more_than_is_free_is_refused_with_both_sizes() -> None:
    for free in (2 * 10**9, None):
        check_memory("it takes 2 GB of memory", 2 * 10**9, free, "ask for less")
    with pytest.raises(ResourceError, match=r"^it takes 2.3 GB of memory, and 2 GB are free: ask for less$"):
        check_memory(f"it takes {gigabytes(2_345_000_000)} of memory", 2_345_000_000, 2 * 10**9, "ask for less")
