"""What every test runs under: no network, a cache of its own, one thread."""

import gc
import os
from pathlib import Path

import pytest

from tests import zygote
from tests.kernels import kernels

# A garbage collection at every 700 new objects, which is Python's own choice, takes 7 % of the time.
gc.set_threshold(20_000, 20, 20)
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest_plugins = ["tests.models", "tests.recordings"]

ROOT = Path(__file__).parents[1]
NUMERIC = (
    "tests/api",
    "tests/encoders",
    "tests/estimators",
    "tests/evaluation",
    "tests/features",
    "tests/golden",
    "tests/influence",
    "tests/interchange",
    "tests/recording",
    "tests/scores",
    "tests/simulation",
    "tests/tasks",
    "tests/training",
    "tests/test_metrics.py",
    "plugins",
)
"""What computes with floating point, and so is run with other kernels, too."""


def pytest_report_header() -> str | None:
    """Say which kernels the tests run on, once: nobody sees what a worker says here."""
    return None if "PYTEST_XDIST_WORKER" in os.environ else kernels()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what computes with floating point."""
    for item in items:
        if item.path.relative_to(ROOT).as_posix().startswith(NUMERIC):
            item.add_marker(pytest.mark.numeric)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Leave what the imports and the collection made out of garbage collections, each of which would look at it all.

    Before any test computes, a copy of this process is set aside where tests start processes by it.
    """
    if (
        any("copied" in getattr(item, "fixturenames", ()) for item in session.items)
        and not session.config.option.collectonly
    ):
        zygote.begin()
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """End the copy of this process."""
    zygote.end()


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for converted and built models that no other session sees; its workers share it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    folder.mkdir(exist_ok=True)
    os.environ["GPTFL_CACHE"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def copied() -> type[zygote.Popen]:
    """What starts a Python process that needn't load the libraries anew."""
    return zygote.Popen


@pytest.fixture(autouse=True)
def no_workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A workspace in the caller's environment must not be written to."""
    monkeypatch.delenv("GPTFL_WORKSPACE", raising=False)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data that may lie beside the repository; skips where it does not."""
    folder = Path(os.environ.get("GPTFL_SHARED") or Path(__file__).parents[2] / "shared")
    if not (folder / "data").is_dir():
        pytest.skip("no shared data beside the repository")
    return folder / "data"
