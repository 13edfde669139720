"""What every test runs under: no network, a cache of its own, one thread."""

import contextlib
import gc
import importlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import zygote
from tests.kernels import kernels

# A garbage collection at every 700 new objects, which is Python's own choice, takes 7 % of the time. While tests are
# collected, nothing is garbage.
gc.set_threshold(20_000, 20, 20)
gc.disable()
# Waiting until the disk has what was written takes minutes in all, and shows only in a power cut.
os.fsync = lambda handle: os.fstat(handle) and None
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest_plugins = ["tests.models", "tests.recordings"]

ROOT = Path(__file__).parents[1]
LOADING = (
    "test_load.py",
    "test_loading.py",
    "test_models.py",
    "test_architectures.py",
    "test_fuzz_models.py",
    "test_tiny.py",
)
"""What tests how models are loaded, and so loads each anew."""
NUMERIC = (
    "tests/api",
    "tests/core/test_linear_form.py",
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


def pytest_collection(session: pytest.Session) -> None:
    """Let every second worker begin with the last tests: the assertions that one has rewritten, the other reads.

    Where all tests are run, a copy of this process is set aside that has loaded the libraries and nothing else.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    hands_out = worker is None and session.config.getvalue("dist") != "no"
    if hands_out or session.config.option.collectonly or session.config.args != session.config.getini("testpaths"):
        return
    zygote.begin()
    worker = int((worker or "gw0").removeprefix("gw"))
    if worker % 2:
        for path in sorted((ROOT / "tests").rglob("test_*.py"), reverse=True):
            with contextlib.suppress(pytest.skip.Exception):
                importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what computes with floating point."""
    for item in items:
        if item.path.relative_to(ROOT).as_posix().startswith(NUMERIC):
            item.add_marker(pytest.mark.numeric)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Leave what the imports and the collection made out of garbage collections, each of which would look at it all.

    Before any test computes, a copy of this process is set aside where tests start processes by it.
    """
    if session.config.option.collectonly or not session.items:
        return
    from gptfl.report import pictures

    pictures.LAYOUT, pictures.DPI = None, 40
    if any("copied" in getattr(item, "fixturenames", ()) for item in session.items):
        zygote.begin()  # unless it was begun
    gc.collect()
    gc.freeze()
    gc.enable()


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


@pytest.fixture(autouse=True)
def models_loaded_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models whose files were loaded before are copied."""
    models = sys.modules.get("gptfl.training.models")
    if models is not None and request.path.name not in LOADING:
        from tests.models import loaded_once

        monkeypatch.setattr(models, "load_weights", loaded_once(models.load_weights))


@pytest.fixture
def heeded() -> Iterator[None]:
    """Requests to stop reach this process and those that it starts, even where nohup or ``&`` began the tests."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    former = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in former.items():
        signal.signal(number, handler)


@pytest.fixture
def laid_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures as users get them.

    Other tests have them drawn in all their parts, but without room for texts, which takes most of the time, and small.
    """
    from gptfl.report import pictures

    monkeypatch.setattr(pictures, "LAYOUT", "constrained")
    monkeypatch.setattr(pictures, "DPI", 150)


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
