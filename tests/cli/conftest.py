"""The command line as a function, and a small study to work on."""

import sys
from collections.abc import Callable, Iterator
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


@pytest.fixture
def sure_study(study: Path) -> Iterator[Path]:
    """The same with a simulator that says how sure it is, and a file of five ids."""
    import gptfl
    from gptfl.plugins.registry import build, using
    from gptfl.store.recordings import read_dynamics
    from tests import interval_estimator

    (recording,) = study.glob("*.dynamics.h5")
    ids = [example.id for example in read_dynamics(recording).pool[:5]]
    (study / "ids.txt").write_text("\n".join(ids))
    with using(build([interval_estimator])):
        gptfl.fit("sure", dynamics=recording, metric="loss")
        yield study


@pytest.fixture(scope="session")
def plain_fit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a synthetic recording, its features and mean-run fitted to it, which no test changes."""
    import gptfl
    from gptfl.store.features import write_features
    from gptfl.store.recordings import write_dynamics
    from tests.synthetic import synthetic

    folder = tmp_path_factory.mktemp("fitted")
    dynamics, features = synthetic(runs=10)
    write_dynamics(folder / "made.dynamics.h5", dynamics)
    write_features(folder / "made.synthetic.features.h5", features)
    gptfl.fit("mean-run", workspace=folder)
    return folder
