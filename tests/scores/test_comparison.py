from dataclasses import replace

import numpy as np
import pytest

from gptfl.scores.bootstrap import draw_weights, interval, scale_of, skill_draws
from gptfl.scores.comparison import Predictions, score_rows
from gptfl.scores.held_out import HeldOut
from gptfl.scores.pointwise import squared_errors


def held_out(runs=24, recorded=4, test=5, seed=0):
    random = np.random.default_rng(seed)
    truth = random.normal(size=(runs, recorded, test))
    steps = np.broadcast_to(np.arange(recorded), (runs, recorded))
    names, tests = tuple(f"run-{i:04d}" for i in range(runs)), tuple(f"t{i}" for i in range(test))
    return HeldOut(names, tests, np.zeros(runs, dtype=int), steps, truth, np.zeros_like(truth))


def outcomes(held, **noises):
    random = np.random.default_rng(1)
    noise = random.normal(size=held.recorded.shape)
    return [Predictions(name, held.recorded + size * noise) for name, size in noises.items()]


def test_the_clear_leader_is_marked_and_a_tie_is_not():
    held = held_out()
    clear = score_rows(held, outcomes(held, good=0.1, bad=1.0))
    assert clear[0].best >= {"mse", "mae", "skill", "lds"}
    assert clear[1].best == frozenset()
    tie = score_rows(held, [*outcomes(held, good=0.1), Predictions("twin", outcomes(held, good=0.1)[0].predicted)])
    assert all(row.best == frozenset() for row in tie)


def test_runs_that_belong_together_count_as_one():
    held = replace(held_out(12), together=np.arange(12) // 2)
    assert (held.independent, held_out(12).independent) == (6, 12)
    alone, paired = (score_rows(one, outcomes(one, good=0.3, bad=0.5)) for one in (held_out(12), held))
    for score in ("skill", "lds"):
        assert paired[0].scores[score].value == alone[0].scores[score].value
        low, high = paired[0].scores[score].interval
        assert low < paired[0].scores[score].value < high
        assert paired[0].scores[score].interval != alone[0].scores[score].interval
    assert paired[0].best
    few = replace(held, together=np.arange(12) % 5)
    assert not any(row.best or row.excess.clear for row in score_rows(few, outcomes(few, good=0.01, bad=3.0)))


def test_the_same_runs_twice_have_the_interval_of_one_time():
    once = held_out(12)
    twice = replace(
        once,
        names=once.names * 2,
        folds=np.zeros(24, dtype=int),
        steps=np.tile(once.steps, (2, 1)),
        recorded=np.tile(once.recorded, (2, 1, 1)),
        mean_run=np.tile(once.mean_run, (2, 1, 1)),
        together=np.tile(np.arange(12), 2),
    )
    (one,) = outcomes(once, good=0.3)
    (first,) = score_rows(once, [one])
    (second,) = score_rows(twice, [replace(one, predicted=np.tile(one.predicted, (2, 1, 1)))])
    assert second.scores["skill"].interval == pytest.approx(first.scores["skill"].interval)


def test_an_oracle_is_not_best_and_keeps_nobody_from_being_it():
    held = held_out()
    oracle, good, bad = outcomes(held, oracle=0.01, good=0.1, bad=1.0)
    rows = score_rows(held, [replace(oracle, oracle=True), good, bad])
    assert rows[0].oracle
    assert not rows[0].best
    assert rows[1].best >= {"mse", "mae", "skill", "lds"}


def test_the_best_must_be_clear_of_every_other_not_just_of_the_next():
    held = held_out(14)

    def off_by(name, errors):
        return Predictions(name, held.recorded + np.sqrt(errors)[:, None, None])

    a, b = off_by("a", np.full(14, 1.0)), off_by("b", np.full(14, 1.1))
    c = off_by("c", np.eye(14)[0] * 17)
    assert "mse" in score_rows(held, [a, b])[0].best
    rows = score_rows(held, [a, b, c])
    assert [row.scores["mse"].value for row in rows] == pytest.approx([1.0, 1.1, 17 / 14])
    assert all("mse" not in row.best for row in rows)


def test_lds_compares_runs_of_one_fold_that_end_at_one_step():
    held = held_out(12)
    assert len(set(held.peers)) == 1
    folds = np.arange(12) % 3
    assert np.array_equal(replace(held, folds=folds).peers, folds)
    truth = held.recorded.copy()
    truth[6:, -1] = np.nan
    assert np.array_equal(replace(held, recorded=truth).peers, [1] * 6 + [0] * 6)
    alone = replace(held, folds=np.arange(12))
    (row,) = score_rows(alone, outcomes(alone, good=0.01))
    assert "lds" not in row.scores
    assert "mse" in row.scores


@pytest.mark.parametrize(
    ("runs", "lds", "reliable", "marked"), [(5, 0, 0, 0), (7, 0, 0, 1), (8, 1, 0, 1), (20, 1, 1, 1)]
)
def test_what_is_shown_depends_on_how_many_runs_were_held_out(runs, lds, reliable, marked):
    held = held_out(runs)
    rows = score_rows(held, outcomes(held, good=0.01, bad=3.0))
    assert ("lds" in rows[0].scores) == bool(lds)
    assert rows[0].lds_reliable == bool(reliable)
    assert bool(rows[0].best) == bool(marked)


def test_skill_has_the_interval_of_its_draws():
    held = held_out()
    (one,) = outcomes(held, one=0.5)
    (row,) = score_rows(held, [one], seed=7)
    errors, reference = squared_errors(one.predicted, held.recorded), squared_errors(held.mean_run, held.recorded)
    skill = float(1 - errors.sum() / reference.sum())
    expected = interval(skill, skill_draws(errors, reference, draw_weights(24, 7)), 23, scale_of("skill"))
    assert row.scores["skill"].interval == expected
    assert expected[0] < row.scores["skill"].value < expected[1]


def test_a_failed_outcome_keeps_its_place():
    held = held_out()
    rows = score_rows(held, [Predictions("broken", error="why"), *outcomes(held, good=0.1)])
    assert [row.estimator for row in rows] == ["broken", "good"]
    assert rows[0].error == "why"
    assert rows[0].scores == {}


def test_one_run_has_no_standard_deviation():
    held = held_out(1)
    (row,) = score_rows(held, outcomes(held, one=0.5))
    assert row.scores["mse"].std is None
