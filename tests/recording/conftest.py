"""Processes that record together, started at once."""

import subprocess
from types import SimpleNamespace

import pytest

from tests.zygote import Popen


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, copied: type[Popen]) -> None:
    """Processes that needn't load torch anew: eight that do take minutes. A refusal comes from new ones."""
    from gptfl.executors import crew

    monkeypatch.setattr(crew, "subprocess", SimpleNamespace(Popen=copied, PIPE=subprocess.PIPE))
