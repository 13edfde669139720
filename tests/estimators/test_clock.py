import numpy as np
import pytest

from gptfl.core import Query
from gptfl.errors import DataError
from gptfl.estimators.clock import Clock, Span

RATES = np.array([1.0, 0.8, 0.6, 0.4, 0.2, 0.0, 0.5, 0.5])
BATCHES = np.zeros((8, 2), dtype=np.int64)
GRID = np.array([0, 2, 4, 6, 8])
CLOCK = Clock.of([Span(BATCHES, RATES, 0, 8)])


def query_of(rates, steps=GRID, batches=None):
    rates = np.atleast_2d(rates)
    batches = np.zeros((*rates.shape, 2), dtype=np.int64) if batches is None else batches
    return Query(batches, rates, np.asarray(steps), np.zeros((len(rates), 1)))


def sums(rates):
    return np.append(0.0, np.cumsum(rates))


def test_recorded_step_sizes_stand_for_themselves():
    np.testing.assert_allclose(CLOCK.least, sums(RATES))
    places = CLOCK.place(query_of(np.stack([RATES, RATES * (1 + 1e-9)])), GRID)
    np.testing.assert_array_equal(places.requested, np.stack([GRID, GRID]))
    assert places.plain.all()
    assert not places.still.any()


@pytest.mark.parametrize("factor", [0.9, 0.5, 0.1])
def test_a_slower_run_stands_where_the_recorded_sums_were_as_large(factor):
    places = CLOCK.place(query_of(factor * RATES), GRID).check()
    at_places = np.interp(places.requested[0], GRID, sums(RATES)[GRID])
    np.testing.assert_allclose(at_places, factor * sums(RATES)[GRID])
    assert (places.requested[0, 1:] < GRID[1:]).all()
    assert not places.plain.any()
    np.testing.assert_allclose(places.of(places.pace)[0, 1:], factor)


def test_a_faster_run_stands_for_later_steps_and_is_refused_beyond_the_last():
    fast = np.array([1.5, 1.5, 0.5])
    places = CLOCK.place(query_of(fast, [0, 1, 2, 3]), GRID).check()
    assert (places.requested[0, 1:] > [1, 2, 3]).all()
    np.testing.assert_allclose(np.interp(places.requested[0], GRID, sums(RATES)[GRID]), sums(fast))
    with pytest.raises(
        DataError, match=r"step sizes add up to 4.5 by step 3, those of the recorded runs to at most 4, "
    ):
        CLOCK.place(query_of([1.5, 1.5, 1.5], [0, 1, 2, 3]), GRID).check()
    with pytest.raises(DataError, match="step 9 is outside steps 0 to 8"):
        CLOCK.place(query_of(RATES, [0, 9]), GRID).check()


def test_more_and_smaller_steps_are_answered_as_far_as_they_add_up():
    places = CLOCK.place(query_of(np.full(16, 0.25), [0, 8, 16]), GRID).check()
    np.testing.assert_allclose(np.interp(places.requested[0], GRID, sums(RATES)[GRID]), [0, 2, 4])


def test_without_step_sizes_nothing_moves():
    for query in (query_of(0 * RATES), query_of(RATES, batches=np.full((1, 8, 2), -1))):
        places = CLOCK.place(query, GRID).check()
        np.testing.assert_array_equal(places.requested, 0 * GRID[None])
        assert places.still.all()


def test_sums_count_from_the_first_score():
    grid = GRID[1:]
    rates = RATES.copy()
    rates[:2] = 7.0
    places = CLOCK.place(query_of(rates, grid), grid)
    assert places.plain.all()
    slower = CLOCK.place(query_of(rates * np.where(np.arange(8) < 2, 1, 0.5), grid), grid)
    assert slower.requested[0, 0] == 2
    np.testing.assert_allclose(
        np.interp(slower.requested[0], GRID, sums(RATES)[GRID]), 1.8 + (sums(RATES)[grid] - 1.8) / 2
    )


def test_between_the_recorded_schedules_each_step_stands_for_itself():
    clock = Clock.of([Span(BATCHES, RATES, 0, 8), Span(BATCHES, 2 * RATES, 0, 8)])
    places = clock.place(query_of(np.stack([RATES, 1.5 * RATES, 2 * RATES, 0.5 * RATES, 2.1 * RATES])), GRID)
    np.testing.assert_array_equal(places.plain, [True, True, True, False, False])
    assert np.isinf(places.requested[4, -1])


def test_pieces_of_runs_count_along_what_was_recorded_of_them():
    def piece(begin, end):
        batches = np.where((np.arange(8) >= begin) & (np.arange(8) < end), 0, -1)
        return Span(np.repeat(batches[:, None], 2, axis=1), RATES, begin, end)

    for spans in ([piece(0, 4), piece(4, 8)], [piece(0, 4), piece(6, 8)]):
        clock = Clock.of(spans)
        np.testing.assert_allclose(clock.least, sums(RATES))
        np.testing.assert_allclose(clock.most, sums(RATES))


def test_recorded_steps_without_examples_count_nothing():
    batches = BATCHES.copy()
    batches[3] = -1
    clock = Clock.of([Span(batches, RATES, 0, 8)])
    np.testing.assert_allclose(clock.most, sums(np.where(np.arange(8) == 3, 0, RATES)))
    assert clock.place(query_of(RATES, batches=batches[None]), GRID).plain.all()


def test_arrays_come_back_and_others_are_refused():
    again = Clock.from_array(CLOCK.array())
    np.testing.assert_array_equal(again.most, CLOCK.most)
    np.testing.assert_array_equal(again.least, CLOCK.least)
    for wrong in (CLOCK.array()[:1], CLOCK.array()[:, ::-1], CLOCK.array() * np.nan, CLOCK.array() * [[2], [1]]):
        with pytest.raises(ValueError, match="a clock is"):
            Clock.from_array(wrong)
