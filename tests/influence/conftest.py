"""A small recording to rank, where estimators are installed that tell influence in every way."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

# The process that only hands out tests reads this file, too, so each fixture imports what it takes.


@pytest.fixture
def tellers() -> Iterator[None]:
    """The estimators of ``tests.ranking_estimators`` are installed."""
    from tests.ranked import use_kin

    with use_kin():
        yield


@pytest.fixture(scope="session")
def made_ranked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``ranked_space`` is a copy of: none may change it."""
    from tests.ranked import write

    return write(tmp_path_factory.mktemp("ranked"))


@pytest.fixture
def ranked_space(made_ranked: Path, tmp_path: Path, tellers: None) -> Path:
    """A workspace with the recording of ``tests.ranked`` and its features."""
    return Path(shutil.copytree(made_ranked, tmp_path, dirs_exist_ok=True))
