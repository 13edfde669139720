"""The command line as a function, and a small study to work on."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest


class Outcome(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


@pytest.fixture
def gptfl(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run a command in this process, as the ``gptfl`` script would."""
    from gptfl.cli.main import run

    def call(*arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["gptfl", *arguments])
        capsys.readouterr()
        code: Any = 0
        try:
            run()
        except SystemExit as stop:
            code = stop.code or 0
        printed = capsys.readouterr()
        return Outcome(int(code), printed.out, printed.err)

    return call


@pytest.fixture(scope="session")
def finished_study(neox: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a recording, features and a simulator."""
    import gptfl

    root = tmp_path_factory.mktemp("study")
    recorded = gptfl.collect(
        str(neox), "errands", workspace=root, runs=10, pool=12, test=6, subset_size=6, batch_size=3, steps=4, lr=1e-2,
        metrics=("loss", "accuracy"),
    )  # fmt: skip
    gptfl.featurize("tfidf-svd", dynamics=recorded.path)
    gptfl.fit(dynamics=recorded.path, settings={"epochs": 5})
    return root


@pytest.fixture
def study(finished_study: Path, tmp_path: Path) -> Path:
    """A copy of the study for one test."""
    import shutil

    return Path(shutil.copytree(finished_study, tmp_path / "study"))
