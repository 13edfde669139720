"""Paths as users write them."""

from pathlib import Path

import pytest

from gptfl.core import user_path


def test_a_tilde_is_home_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~/a/b") == tmp_path / "a" / "b"
    assert user_path(Path("~")) == tmp_path
    assert user_path("a/~/b") == Path("a/~/b")
    # No such user: the name is taken as it is, as a shell does.
    assert user_path("~no-such-user/a") == Path("~no-such-user/a")
