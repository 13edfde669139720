"""The options of ``gptfl apply``."""

from pathlib import Path

import pytest

from gptfl.errors import UsageError
from gptfl.options.apply import ApplyOptions
from gptfl.options.base import make, places
from gptfl.options.rows import RowOptions


def test_ids_are_a_file_or_the_ids_themselves() -> None:
    for given in ("ids.txt", Path("ids.txt"), ["a", "b"], ("a",)):
        made = make(ApplyOptions, data="rows.jsonl", drop=given)
        assert made.drop == given
        assert made.keep is None
    with pytest.raises(UsageError, match=r"^apply: drop is 3: give a text or a sequence$"):
        make(ApplyOptions, data="rows.jsonl", drop=3)
    with pytest.raises(UsageError, match=r"^apply: weights is 'yes': give true or false$"):
        make(ApplyOptions, data="rows.jsonl", weights="yes")


def test_the_rows_have_to_be_named_and_their_fields_are_named_as_for_collect() -> None:
    with pytest.raises(TypeError, match="apply needs 'data'"):
        make(ApplyOptions, drop=["a"])
    ours, theirs = ({place.name: place for place in places(kind)} for kind in (ApplyOptions, RowOptions))
    assert ours["fields"].flags == theirs["fields"].flags
    assert ours["fields"].option.metavar == theirs["fields"].option.metavar
    assert ours["fields"].default is None
