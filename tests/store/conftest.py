"""A tiny recording to write and read."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gptfl.core import Curriculum, Dynamics, Example, MetricInfo, Run, role_of
from gptfl.store import hdf5, walked
from gptfl.store.files import create
from gptfl.store.kinds import SIMULATOR
from tests.undigested import without_digests


@pytest.fixture(autouse=True)
def walked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file counts as changed just now, so that limits that a test changes hold for what was read before."""
    monkeypatch.setattr(walked, "_STABLE", 10**18)


@pytest.fixture
def make_run() -> Callable[[int], Run]:
    """Makes run ``index`` of the tiny recording, the same every time."""

    def make(index: int) -> Run:
        random = np.random.default_rng(index)
        return Run(
            index=index,
            seed=2**32 - 1 - index,
            role=role_of(index),
            curriculum=Curriculum(np.array([[0, 1], [3, -1], [2, 0]]), np.array([0.3, 0.2, 0.1])),
            steps=np.array([0, 2, 3]),
            metrics={"loss": random.random((3, 2)).astype(np.float32)},
        )

    return make


@pytest.fixture
def dynamics(make_run: Callable[[int], Run]) -> Dynamics:
    """Four pool and two test examples, one metric, two runs."""
    pool = tuple(Example(f"p{i}", f"Ist das grün? {i}", " ja", (" ja", " nein"), i % 2) for i in range(4))
    test = tuple(Example(f"t{i}", f"Prompt {i}", " Target", fields={"refs": ["a", "b"]}) for i in range(2))
    metrics = {"loss": MetricInfo("loss", higher_is_better=False, low=0.0)}
    return Dynamics(pool, test, metrics, (make_run(0), make_run(3)), {"task": "tiny", "learning_rate": 1e-3})


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A small file as gptfl writes it."""
    with create(tmp_path / "a.h5", SIMULATOR, settings={"a": 1}, inputs={}) as file:
        hdf5.put_array(file, "value", np.arange(1000))
    return tmp_path / "a.h5"


@pytest.fixture
def plain(whole: Path) -> Path:
    """The same file without digests, so that changes in it aren't found by these."""
    return without_digests(whole)
