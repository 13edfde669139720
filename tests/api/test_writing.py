"""Where tables and pictures go."""

from pathlib import Path

import pytest

from gptfl.api.writing import is_named, picture_at
from gptfl.errors import UsageError


def test_where_a_picture_goes(tmp_path: Path) -> None:
    usual = tmp_path / "usual.png"
    assert picture_at(None, usual) == picture_at(True, usual) == usual
    assert picture_at(False, usual) is None
    assert picture_at(str(tmp_path / "own.svg"), usual) == tmp_path / "own.svg"
    assert [is_named(one) for one in (None, True, False, "a.png", Path("a.png"))] == [False] * 3 + [True] * 2
    with pytest.raises(UsageError):
        picture_at(tmp_path / "own.txt", usual)
