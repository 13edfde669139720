"""The groups that rows fall into by a field."""

import pytest

from gptfl.core import Example
from gptfl.errors import DataError
from gptfl.recording.row_groups import group_rows


def test_rows_are_grouped_by_any_field() -> None:
    pool = [
        Example("a", "", "", fields={"source": "web", "level": 3}),
        Example("b", "", "", fields={"source": "book", "level": 3}),
        Example("c", "", "", fields={"tags": ["x"]}),
    ]
    found = group_rows(pool, "source")
    assert (found.names, found.of.tolist(), found.sizes.tolist()) == (("web", "book", "(none)"), [0, 1, 2], [1, 1, 1])
    assert group_rows(pool, "level").names == ("3", "(none)")
    assert group_rows(pool, "tags").names == ("(none)", '["x"]')
    with pytest.raises(DataError, match="--by sourc: no row of the pool has it: did you mean 'source'"):
        group_rows(pool, "sourc")
    with pytest.raises(DataError, match="--by class: no row of the pool has it: there is level, source, tags"):
        group_rows(pool, "class")
    many = [Example(str(place), "", "", fields={"n": place}) for place in range(1001)]
    with pytest.raises(DataError, match="1,001 values, which make more than 1,000 groups: use another field"):
        group_rows(many, "n")
