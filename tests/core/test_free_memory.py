"""The memory that is free is told by the machine and by the container."""

from pathlib import Path

import pytest

from gptfl.core import free_memory as module
from gptfl.core.free_memory import free_memory


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
