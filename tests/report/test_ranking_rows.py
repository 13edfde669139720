"""Rows of a ranking come in order, one at a time, and the first of many without a sort of all."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gptfl.core import Example, MetricInfo
from gptfl.influence.ranking import Ranking, RankResult, TokenInfluence
from gptfl.influence.verdicts import HARMFUL, HELPFUL, Verdicts
from gptfl.report import ranking_rows
from gptfl.report.ranking_rows import columns_of_table, count_shown, first_places, shown, table_rows

POOL = tuple(Example(f"e{i}", f"Prompt\n{i}", " b") for i in range(40))
VALUES = np.random.default_rng(0).integers(-3, 4, size=40) / 2.0
"""With ties."""


def ranking(**more: object) -> Ranking:
    return Ranking("e", "e", "drop", VALUES, 8, Path("e.h5"), **more)


def result(*rankings: Ranking, **more: object) -> RankResult:
    return RankResult("r.h5", MetricInfo("loss", False), "mean", "the mean", POOL, rankings or (ranking(),), **more)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("top", [0, 1, 7, 39, 40, 41, None])
def test_the_first_rows_are_those_of_all(top: int | None, reverse: bool) -> None:
    every = [(rank, place) for rank, place in enumerate(ranking().order, 1)]
    expected = (every[::-1] if reverse else every)[:top]
    found = shown(ranking(), top, reverse)
    assert list(found) == expected
    assert len(found) == len(expected)


def test_the_first_rows_are_found_without_sorting_all(monkeypatch: pytest.MonkeyPatch) -> None:
    sorted_rows = []
    sort = np.argsort
    monkeypatch.setattr(ranking_rows.np, "argsort", lambda a, **more: sorted_rows.append(len(a)) or sort(a, **more))
    values = np.random.default_rng(1).permutation(10_000).astype(float)
    many = replace(ranking(), influence=values)
    assert [place for _, place in shown(many, 5, False)] == sort(-values)[:5].tolist()
    assert [place for _, place in shown(many, 5, True)] == sort(values)[:5].tolist()
    assert max(sorted_rows) <= 5


def test_what_is_no_number_comes_last() -> None:
    values = np.array([2.0, np.nan, 1.0, np.nan, 3.0])
    for count in range(6):
        for reverse in (False, True):
            if count < 5:
                whole = np.argsort(values, kind="stable")
                expected = (whole[::-1] if reverse else whole)[:count]
                np.testing.assert_array_equal(first_places(values, count, reverse), expected)


def test_rows_with_a_verdict_keep_their_ranks() -> None:
    decided = np.arange(40) % 3 == 0
    sure = ranking(verdicts=Verdicts(0.1, np.sign(VALUES), np.full(40, 0.1), decided))
    for only in (HELPFUL, HARMFUL):
        expected = [
            (rank, place)
            for rank, place in enumerate(sure.order, 1)
            if decided[place] and (VALUES[place] > 0) == (only == HELPFUL)
        ]
        assert list(shown(sure, None, False, only)) == expected
        assert list(shown(sure, 3, True, only)) == expected[::-1][:3]
        assert count_shown(sure, only) == len(expected)
    assert count_shown(sure, None) == 40
    assert count_shown(ranking(), HELPFUL) == len(shown(ranking(), None, False, HELPFUL)) == 0


def test_a_row_has_what_its_columns_say() -> None:
    one = ranking(low=VALUES - 1, high=VALUES + 1)
    tokens = TokenInfluence(("a", "b"), np.arange(80.0).reshape(40, 2))
    made = result(one, tokens=tokens, flipped=np.arange(40) == 3)
    columns = columns_of_table(made)
    rows = list(table_rows(made, 2))
    assert [list(row) for row in rows] == [
        ["estimator", "rank", "id", "influence", "low", "high", "class", "flipped", "text", "token 1", "token 2"]
    ] * 2
    assert sorted(columns) == sorted(rows[0])
    place = made.rankings[0].order[0]
    assert (rows[0]["id"], rows[0]["rank"], rows[0]["token 2"]) == (f"e{place}", 1, 2.0 * place + 1)
    assert len(list(table_rows(result(one, replace(one, label="f"))))) == 80
