"""The rows of a pool, most suspicious first, with each sign of it."""

from pathlib import Path

import numpy as np

from gptfl.core import Example, MetricInfo
from gptfl.influence.cleaning import COMBINED
from gptfl.influence.ranking import Ranking, RankResult
from gptfl.report.cleaning import cleaning_table, row_of
from tests.report.made import printed

POOL = tuple(Example(f"größe-{i}", "Prompt\n", f" {i}", (" 0", " 1"), i) for i in range(2))
SIGNS = {"harm": np.array([0.25, np.nan]), "outlier": np.array([1.0, 2.0])}
RANKING = Ranking("e", "e", "cleaning", np.array([-0.5, 0.5]), 8, Path("e.h5"))


def result(flipped: np.ndarray | None = None) -> RankResult:
    given = ("r.dynamics.h5", MetricInfo("loss", False), "mean", "the mean", POOL, (RANKING,))
    return RankResult(*given, signs=SIGNS, flipped=flipped)


def test_a_row_has_its_suspicion_and_every_sign() -> None:
    row = row_of(result(), RANKING, 1, 0)
    assert {name: value for name, value in row.items() if name not in SIGNS} == {
        "rank": 1, "id": "größe-0", COMBINED: -0.5, "class": "0", "text": "Prompt 0"
    }  # fmt: skip
    assert (row["harm"], row["outlier"]) == (0.25, 1.0)
    assert row_of(result(np.array([False, True])), RANKING, 1, 1)["flipped"] is True


def test_the_table_says_how_many_there_are() -> None:
    text = printed(cleaning_table(result(np.array([False, True])), RANKING, [(1, 1)], 2), 120)
    assert "the 1 most suspicious, of 2 (--top 2 shows all)" in text
    (line,) = (line.split() for line in text.splitlines() if line.split()[:1] == ["1"])
    assert line[1:] == ["+0.50", "nan", "2", "größe-1", "1", "flipped", "Prompt", "1"]
    whole = printed(cleaning_table(result(), RANKING, [(1, 1), (2, 0)], 2), 120)
    assert "--top" not in whole
    assert "flipped" not in whole
