"""What a result shows of itself: the lines that its command prints, and its tables."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
from rich.table import Table

from gptfl.report.display import html_of, tables_of
from gptfl.report.shown import parts_of
from gptfl.scores.coverage import Coverage
from tests.report.made import comparison
from tests.report.test_verification import verified


def texts(result: object) -> list[str]:
    return [part for part in parts_of(result, tables_of(result)) if isinstance(part, str)]


def test_a_verification_says_what_it_came_to() -> None:
    found = texts(verified([4.0, 2.0], [3.0, 2.0], [1.0, 1.0]))
    assert found[0] == "Trained on 3 examples (1 training), loss at step 4"
    assert found[1:4] == [
        "  predicted    3 by exposure-gp, mean of 2 test examples",
        "  recorded     2.5",
        "  average run  1",
    ]
    assert found[-1] == "  skill        0.50 (0: as good as the average run, 1: perfect)"


def test_a_ranking_says_what_its_numbers_are(results: SimpleNamespace) -> None:
    (ranking,) = results.ranking.rankings
    found = texts(results.ranking)
    assert found[0].startswith("Influence of each of 12 training examples on the mean of all 6 test examples")
    assert ranking.meaning in found
    assert any("at a false discovery rate of 0.1" in line for line in found)


def test_a_comparison_shows_its_intervals_where_it_has_some() -> None:
    made = comparison()
    assert len(parts_of(made, tables_of(made))) == 1
    covered = replace(made.rows[1], coverage={0.9: Coverage(0.875, 1.5, 40, (0.5, 1.0))})
    parts = parts_of(replace(made, rows=(made.rows[0], covered)), [])
    assert len(parts) == 2
    assert isinstance(parts[1], Table)
    assert "87.5 %" in html_of(replace(made, rows=(made.rows[0], covered)))


def test_other_results_show_their_tables(results: SimpleNamespace) -> None:
    tables = tables_of(results.selection)
    assert parts_of(results.selection, tables) == tables


def test_nothing_of_a_wide_table_is_cut_or_broken(results: SimpleNamespace) -> None:
    long = "x" * 150
    pool = tuple(replace(one, id=f"{long}-{place}") for place, one in enumerate(results.ranking.pool))
    html = html_of(replace(results.ranking, pool=pool))
    first = int(np.argmax(results.ranking.rankings[0].influence))
    assert f"{long}-{first}" in html
    assert "white-space:pre;overflow-x:auto" in html
