"""What is known of the rows of a ranking, in a line and for programs."""

import numpy as np
import pytest

from gptfl.influence.verdicts import HALF, NEARLY_ALL, Verdicts
from gptfl.report.verdicts import verdict_counts, verdict_line


def verdicts(decided: list[bool], more: tuple[int | None, int | None] | None = None) -> Verdicts:
    sign = np.array([1.0, 1.0, -1.0])
    runs = None if more is None else {HALF: more[0], NEARLY_ALL: more[1]}
    return Verdicts(0.1, sign, np.full(3, 0.05), np.array(decided), runs)


def test_counts_add_up() -> None:
    counts = verdict_counts(verdicts([True, True, False], (4, None)))
    assert counts == {"fdr": 0.1, "helpful": 2, "harmful": 0, "unclear": 1, "more_runs": {"0.5": 4, "0.9": None}}
    assert "more_runs" not in verdict_counts(verdicts([True] * 3))


@pytest.mark.parametrize(
    ("decided", "more", "line"),
    [
        ([True] * 3, (0, 0), "2 helpful, 1 harmful at a false discovery rate of 0.1 (--fdr)."),
        (
            [False] * 3,
            None,
            "0 helpful, 0 harmful; the other 3 can't be told at a false discovery rate of 0.1 (--fdr).",
        ),
        (
            [True, False, True],
            (None, None),
            "More than 1000 times as many runs would be needed to settle half of these.",
        ),
        (
            [True, False, True],
            (4, 9),
            "About 4 more runs like the recorded would settle half of these, about 9 nine in ten",
        ),
        ([True, False, True], (4, None), "would settle half of these, still more nine in ten, if each tells"),
    ],
)
def test_the_line_says_what_would_settle_the_rest(decided: list[bool], more: object, line: str) -> None:
    found = verdict_line(verdicts(decided, more))  # type: ignore[arg-type]
    assert line in found
    assert found.endswith(".")
