"""A terminal, a notebook and print walk the same parts of a ranking."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from rich.table import Table

from gptfl.cli import rank
from gptfl.influence.ranking import TokenInfluence
from gptfl.report.display import tables_of, text_of
from gptfl.report.ranking_parts import TOP, ranking_parts
from gptfl.report.shown import parts_of
from gptfl.scores.detection import detect


def shape(parts: list) -> list:
    """Each part as its line, or the numbers of a table's columns and rows."""
    return [part if isinstance(part, str) else (len(part.columns), len(part.rows)) for part in parts]


@pytest.fixture
def whole(results: SimpleNamespace):
    """A ranking with all that one may have: two estimators, tokens and flipped labels."""
    (one,) = results.ranking.rankings
    flipped = np.arange(12) < 4
    return replace(
        results.ranking,
        rankings=(one, replace(one, label="again", verdicts=None)),
        tokens=TokenInfluence(("a", "b"), np.zeros((12, 2))),
        flipped=flipped,
        detections={"exposure-gp": detect(np.arange(12.0), flipped)},
    )


def test_parts_come_from_top_to_bottom(whole) -> None:
    parts = list(ranking_parts(whole, top=3))
    tables = [place for place, part in enumerate(parts) if isinstance(part, Table)]
    assert [len(parts[place].rows) for place in tables] == [3, 3, 2, 2]
    assert "at a false discovery rate of" in parts[tables[0] + 1]
    assert parts[tables[1] + 1] == (
        "Influence on each token of its target, to first order; their mean is the whole example's"
    )
    assert parts[tables[2] + 1] == "4 of 12 labels are flipped; checking the lowest influence first:"
    assert len(next(part for part in ranking_parts(whole) if isinstance(part, Table)).rows) == TOP


def test_rows_can_be_those_of_the_other_end_or_of_one_verdict(whole) -> None:
    (first, *_) = [part for part in ranking_parts(whole, 2, reverse=True) if isinstance(part, Table)]
    ranking = whole.rankings[0]
    assert next(iter(first.columns[1].cells)).plain.strip() == f"{ranking.influence.min():+.3g}"
    (some, *_) = [part for part in ranking_parts(whole, 12, only="helpful") if isinstance(part, Table)]
    helpful = sum(ranking.verdicts.of(place) == "helpful" for place in range(12))
    assert len(some.rows) == helpful


def test_a_terminal_a_notebook_and_print_show_the_same(whole, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list = []
    monkeypatch.setattr(rank.console, "say", said.append)
    monkeypatch.setattr(rank.console, "say_paths", lambda **_: None)
    monkeypatch.setattr(rank, "show_table", said.append)
    rank.show(whole, None, False)
    assert shape(said) == shape(list(ranking_parts(whole))) == shape(parts_of(whole, tables_of(whole)))
    shown = " ".join(text_of(whole).split())
    for line in (part for part in said if isinstance(part, str)):
        assert " ".join(line.split()) in shown
