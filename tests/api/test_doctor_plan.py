"""What fits into a budget, and what is kept of a plan."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from gptfl.api.doctor_plan import (
    BESIDE,
    LEAST_PAIRS,
    LEAST_RUNS,
    MOST_PAIRS,
    MOST_RUNS,
    VERIFYING,
    change_of,
    plan_for,
    planned,
    read_state,
    replanned,
    room_left,
    seconds_of,
    write_state,
)
from gptfl.errors import DataError, UsageError
from gptfl.recording.cost import CostEstimate


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("20m", 1200), ("1.5h", 5400), (" 2h ", 7200)])
def test_times_are_read(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "20", "m", "-5m", "0s", "1e3s", "5 m", "99999h", "20m\n20m"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"budget is .*: give a time such as 90s, 20m or 2h"):
        seconds_of(text)


@pytest.mark.parametrize("per_run", [0.5, 3.0, 10.0, 20.0, 40.0])
@pytest.mark.parametrize("reference", [0.0, 30.0, 120.0])
def test_a_plan_fits_into_its_budget_and_keeps_a_quarter_for_verifying(per_run: float, reference: float) -> None:
    plan = planned(1200.0, per_run, reference)
    assert LEAST_RUNS <= plan.runs <= MOST_RUNS
    assert LEAST_PAIRS <= plan.pairs <= MOST_PAIRS
    assert plan.recording + plan.verifying <= (1 - BESIDE) * 1200.0
    # No pair more fits into the quarter, and no run more beside them.
    assert plan.pairs == MOST_PAIRS or 2 * (plan.pairs + 1) * per_run > VERIFYING * 1200.0
    assert plan.runs == MOST_RUNS or plan.recording + plan.verifying + per_run > (1 - BESIDE) * 1200.0


def test_a_budget_that_is_too_short_says_which_is_enough() -> None:
    for per_run, reference in ((40.0, 10.0), (10.0, 200.0), (7.0, 0.0)):
        with pytest.raises(DataError, match="--budget of 30 s is too short") as caught:
            planned(30.0, per_run, reference)
        assert caught.value.remedy is not None
        assert caught.value.problem.endswith(f" s, about {per_run:.0f} s a run")
        (enough,) = (word for word in caught.value.remedy.split() if word[0].isdigit())
        assert planned(seconds_of(enough.rstrip(",")), per_run, reference).runs >= LEAST_RUNS


@pytest.mark.parametrize(
    ("done", "reference", "what"),
    [
        (0, 20.0, "8 runs, the gradients and 2 pairs"),
        (5, 20.0, "3 more runs, the gradients and 2 pairs"),
        (7, 0.0, "1 more run and 2 pairs"),
        (9, 0.0, "short: 2 pairs"),
    ],
)
def test_runs_that_are_recorded_are_not_asked_for_again(done: int, reference: float, what: str) -> None:
    with pytest.raises(DataError, match=what) as caught:
        planned(30.0, 10.0, reference, done)
    least = float(caught.value.problem.split("take about ")[1].split()[0])
    plan = planned(least + 1, 10.0, reference, done)
    assert (plan.runs, plan.pairs) == (max(LEAST_RUNS, done), LEAST_PAIRS)
    # Of a larger budget, each run that is there leaves room for one more.
    assert planned(300.0, 10.0, reference, done).runs == planned(300.0, 10.0, reference).runs + done


def test_measuring_is_named_where_it_takes_much() -> None:
    cost = cast(
        CostEstimate,
        SimpleNamespace(steps=10, recorded=11, seconds_per_step=1.0, seconds_per_evaluation=1.0, sketches=None),
    )
    with pytest.raises(DataError) as caught:
        plan_for(60.0, cost)
    assert caught.value.remedy == (
        "give --budget 5m, or a larger --record-every (measuring takes 52% of a run), fewer --steps or --train-layers"
    )
    with pytest.raises(DataError, match="give --budget 10m, or fewer --steps") as caught:
        planned(60.0, 40.0, 0.0, 0, 0.33)


def test_what_recorded_runs_took_goes_before_timed_steps() -> None:
    cost = cast(
        CostEstimate,
        SimpleNamespace(
            steps=10,
            recorded=2,
            seconds_per_step=1.0,
            seconds_per_evaluation=1.0,
            sketches=SimpleNamespace(seconds=5.0),
        ),
    )
    assert plan_for(1200.0, cost) == planned(1200.0, 12.0, 15.0)
    assert plan_for(1200.0, cost, 3, 24.0) == planned(1200.0, 24.0, 15.0, 3)
    # Of the fewest that a plan by measured runs has, nothing is left to time.
    assert plan_for(1200.0, cost, 8, 24.0) == replace(planned(1200.0, 24.0, 15.0, 8), measured=True)


def test_runs_that_take_twice_as_long_leave_room_for_fewer() -> None:
    plan = planned(780.0, 14.0, 20.0)
    assert (plan.runs, plan.pairs) == (MOST_RUNS, 6)
    done, spent, before = 8, 8 * 27.0 + 40.0 + 30.0, 30.0
    room = room_left(780.0, before, spent)
    assert room == 780.0 - spent - (BESIDE * 780.0 - before)
    now = replanned(plan, 780.0, room, 27.0, done)
    assert (now.per_run, now.measured) == (27.0, True)
    assert done < now.runs < plan.runs
    assert (now.runs - done) * 27.0 + now.verifying <= room < (now.runs - done + 1) * 27.0 + now.verifying
    assert change_of(plan, now, room, done) == f"runs take about 27 s, not 14 s: {now.runs} runs, {now.pairs} pairs"
    # Where runs take what was thought, so does the plan.
    assert replanned(plan, 780.0, plan.runs * 14.0 - 8 * 14.0 + plan.verifying, 14.0, 8) == replace(plan, measured=True)


def test_never_fewer_than_the_fewest_are_planned_and_that_is_said() -> None:
    plan = planned(780.0, 14.0, 20.0)
    for room in (-100.0, 0.0, 100.0):
        now = replanned(plan, 780.0, room, 90.0, 8)
        assert (now.runs, now.pairs) == (8, LEAST_PAIRS)
        change = change_of(plan, now, room, 8)
        assert change == "runs take about 90 s, not 14 s: 8 runs, 2 pairs; that is the fewest, and longer than --budget"
    assert replanned(plan, 780.0, 1e6, 0.5, 8).runs == MOST_RUNS
    same = replace(plan, measured=True)
    assert change_of(plan, same, 1e6, 8) is None
    fewer = replace(same, runs=plan.runs - 1)
    assert change_of(plan, fewer, 1e6, 8) == (
        f"runs take about 14 s, and less time is left: {fewer.runs} runs, {plan.pairs} pairs"
    )
    # However long it took to begin, half of what trains nothing is kept for fitting.
    assert room_left(1000.0, 400.0, 500.0) == 1000.0 - 500.0 - BESIDE * 1000.0 / 2


def test_a_kept_plan_is_taken_for_the_same_question_alone(tmp_path: Path) -> None:
    path = tmp_path / "doctor.json"
    plan = planned(1200.0, 10.0, 30.0)
    assert read_state(path, "a") is None
    write_state(path, "a", plan, {"verdict": "x"})
    assert read_state(path, "a") == plan
    assert read_state(path, "b") is None
    measured = replace(plan, measured=True)
    write_state(path, "a", measured, {})
    assert read_state(path, "a") == measured
    for text in (
        "",
        "[]",
        '{"key": "a"}',
        '{"key": "a", "plan": {"runs": "6"}}',
        '{"key": "a", "plan": {"runs": 1e9}}',
    ):
        path.write_text(text)
        assert read_state(path, "a") is None
