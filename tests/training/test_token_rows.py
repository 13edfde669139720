"""A conversation's tokens as one row: what is fed, and what is asked where."""

import numpy as np

from gptfl.training.token_rows import Marked


def test_each_target_is_asked_for_at_the_token_before_it() -> None:
    marked = Marked([10, 11, 12, 13, 14], np.array([False, True, False, False, True]), last=4)
    row = marked.row(7)
    assert row.input_ids == (10, 11, 12, 13)
    assert row.positions.tolist() == [0, 3]
    assert row.tokens.tolist() == [11, 14]
    assert row.segments.tolist() == [7, 7]


def test_the_last_token_is_asked_for_but_never_fed() -> None:
    row = Marked([5, 6], np.array([False, True]), last=1).row()
    assert (row.input_ids, row.positions.tolist(), row.tokens.tolist()) == ((5,), [0], [6])
    assert row.segments.tolist() == [0]
