"""The numbers of each kind of result as a data frame, a row each."""

from types import SimpleNamespace

import numpy as np
import pytest

from gptfl.errors import UsageError
from gptfl.report.frames import frame_of
from tests.report.made import comparison, curve_of, sweep_of


def test_what_makes_no_table_is_one_line() -> None:
    with pytest.raises(UsageError, match=r"a list makes no table of numbers: take its fields, or gptfl\.save"):
        frame_of([])


def test_a_simulation_has_a_row_for_each_point(results: SimpleNamespace) -> None:
    found = results.simulation
    frame = frame_of(found)
    assert len(frame) == found.values.size
    for place in (0, 7, found.values.size - 1):
        run, step, test = np.unravel_index(place, found.values.shape)
        row = frame.iloc[place]
        assert (row.curriculum, row.step, row.test) == (found.labels[run], found.steps[step], found.tests[test])
        assert row.value == float(found.values[run, step, test])
        assert row.reference == found.reference.values[step, test]
        assert row["low_0.9"] == float(found.prediction.intervals[0.9][0][run, step, test])
    assert "recorded" not in frame


def test_many_subsets_have_a_row_for_each_test_example(results: SimpleNamespace) -> None:
    frame = frame_of(results.many)
    assert list(frame.subset) == [0] * 6 + [1] * 6
    np.testing.assert_array_equal(frame.value.to_numpy().reshape(2, 6), results.many.final)
    np.testing.assert_array_equal(frame["high_0.9"].to_numpy().reshape(2, 6), results.many.intervals[0.9][1])


def test_a_ranking_has_a_row_for_each_example_with_its_rank(results: SimpleNamespace) -> None:
    (one,) = results.ranking.rankings
    frame = frame_of(results.ranking)
    assert list(frame.id) == [example.id for example in results.ranking.pool]
    assert frame.sort_values("rank").influence.is_monotonic_decreasing
    np.testing.assert_array_equal(frame.low, one.low)


def test_a_selection_has_its_examples_in_their_order(results: SimpleNamespace) -> None:
    frame = frame_of(results.selection)
    assert tuple(frame.id) == results.selection.ids
    np.testing.assert_array_equal(frame.influence, results.selection.influence)


def test_scores_have_a_row_for_each_estimator_or_point() -> None:
    made = comparison()
    assert list(frame_of(made).estimator) == [row.estimator for row in made.rows]
    grid = frame_of(sweep_of(1.0, 2.0))
    assert list(zip(grid.scale, grid.kind, grid.mse, strict=True)) == [
        (1.0, "a", 1.0),
        (1.0, "b", 2.0),
        (2.0, "a", 2.0),
        (2.0, "b", 3.0),
    ]
    assert len(frame_of(curve_of(2, 4))) == 6
