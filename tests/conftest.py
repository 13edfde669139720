"""What every test runs under: no network, a cache of its own, one thread."""

import os
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest_plugins = ["tests.models"]


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for converted and built models that no other session sees."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["GPTFL_CACHE"] = str(folder)
    return folder


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
