"""``gptfl unlock`` from the command line."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gptfl.recording.unlock import Unlocked
from tests.cli.test_errors import refuses

SAMPLE = Path(__file__).parents[1] / "store" / "samples" / "v1" / "dynamics.h5"


def test_a_file_that_can_be_read_stays_as_it_is(gptfl: Callable, tmp_path: Path) -> None:
    path = tmp_path / "a b.h5"
    path.write_bytes(SAMPLE.read_bytes())
    told = gptfl("unlock", str(path))
    assert (told.code, told.out) == (0, f"{path}: can be read as it is; nothing was changed\n")
    assert path.read_bytes() == SAMPLE.read_bytes()


def test_what_was_changed_is_said(gptfl: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gptfl.recording.unlock.unlock", lambda path: Unlocked(Path(path), True))
    assert gptfl("unlock", "a.h5").out == "a.h5: can be read again; what was in it is unchanged\n"


def test_what_is_no_file_of_gptfl_is_refused(gptfl: Callable, tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_text("mine")
    refuses(gptfl("unlock", str(tmp_path / "a.h5")), 3, "a.h5")
    refuses(gptfl("unlock", str(tmp_path / "none.h5")), 3, "none.h5", "does not exist")
    assert gptfl("unlock").code == 2
