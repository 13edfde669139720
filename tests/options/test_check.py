"""The options of ``gptfl check``."""

import pytest

from gptfl.errors import UsageError
from gptfl.options.base import make, places
from gptfl.options.check import CheckOptions
from gptfl.options.common import InputOptions
from gptfl.options.influence import RankOptions


def test_new_rows_have_to_be_named_and_are_told_by_place() -> None:
    with pytest.raises(TypeError, match="check needs 'new'"):
        make(CheckOptions)
    assert [place.name for place in places(CheckOptions) if place.option.argument] == ["new"]
    made = make(CheckOptions, InputOptions(workspace="study"), new="rows.jsonl", by="source")
    assert (made.new, made.by, made.inputs.workspace) == ("rows.jsonl", "source", "study")
    with pytest.raises(UsageError, match=r"^check: by is 3: give a text$"):
        make(CheckOptions, new="rows.jsonl", by=3)


def test_groups_are_named_as_in_rank() -> None:
    ours, theirs = ({place.name: place for place in places(kind)}["by"] for kind in (CheckOptions, RankOptions))
    assert ours.flags == theirs.flags
    assert ours.option.complete == theirs.option.complete
