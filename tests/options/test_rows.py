"""The options of data of one's own."""

import pytest

from gptfl.errors import UsageError
from gptfl.options.base import check, places
from gptfl.options.rows import OWN, RowOptions


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_no_rows_or_all_of_them_are_no_share_to_test_on(share: float) -> None:
    check(RowOptions(eval_share=0.1))
    check(RowOptions())
    with pytest.raises(
        UsageError, match=r"give the share of the rows to test on, between 0 and 1, as in 0.1"
    ) as caught:
        check(RowOptions(eval_share=share))
    assert caught.value.line.startswith(f"--eval-share is {share:g}: ")


def test_what_a_chat_is_made_of_is_a_recordings_own_and_where_rows_lie_is_not() -> None:
    fixed = {place.name for place in places(RowOptions) if place.option.identity}
    assert fixed == {"chat_template", "end_token"}


def test_nothing_is_said_unless_asked_and_all_stands_in_one_panel() -> None:
    assert {place.default for place in places(RowOptions)} == {None}
    assert {place.panel for place in places(RowOptions)} == {OWN}
    (ending,) = (place.flags for place in places(RowOptions) if place.name == "end_token")
    assert ending == ("--end-token/--no-end-token",), "not given is neither"
