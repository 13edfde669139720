"""The kinds of file, as their messages need them and as the docs list them."""

from pathlib import Path

import pytest

from gptfl.cli.commands import COMMANDS
from gptfl.errors import DataError
from gptfl.store.files import create, open_file, read_header
from gptfl.store.kinds import KINDS

DOCS = Path(__file__).parents[2] / "docs" / "file-format.md"


@pytest.mark.parametrize("name", KINDS)
def test_a_file_of_each_kind_is_known_and_taken_for_no_other(tmp_path: Path, name: str) -> None:
    with create(tmp_path / "a.h5", name, settings={}, inputs={}):
        pass
    assert read_header(tmp_path / "a.h5").format_version == KINDS[name].format_version
    for other in KINDS.values():
        if other.name != name:
            with (
                pytest.raises(DataError, match=f"is a {KINDS[name].noun}, not a {other.noun}: "),
                open_file(tmp_path / "a.h5", other.name),
            ):
                pass


def test_the_commands_that_make_and_take_files_are_there() -> None:
    for kind in KINDS.values():
        words = kind.made_by.split()
        assert words[0] == "gptfl"
        assert words[1] in COMMANDS


def test_the_page_of_formats_has_every_kind() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for name in KINDS:
        assert name in text
