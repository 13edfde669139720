"""What fits into a budget, and what is kept of a plan."""

from pathlib import Path

import pytest

from gptfl.api.doctor_plan import (
    BESIDE,
    LEAST_PAIRS,
    LEAST_RUNS,
    MOST_PAIRS,
    MOST_RUNS,
    VERIFYING,
    planned,
    read_state,
    seconds_of,
    write_state,
)
from gptfl.errors import DataError, UsageError


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
        (enough,) = (word for word in caught.value.remedy.split() if word[0].isdigit())
        assert planned(seconds_of(enough.rstrip(",")), per_run, reference).runs >= LEAST_RUNS


def test_a_kept_plan_is_taken_for_the_same_question_alone(tmp_path: Path) -> None:
    path = tmp_path / "doctor.json"
    plan = planned(1200.0, 10.0, 30.0)
    assert read_state(path, "a") is None
    write_state(path, "a", plan, {"verdict": "x"})
    assert read_state(path, "a") == plan
    assert read_state(path, "b") is None
    for text in (
        "",
        "[]",
        '{"key": "a"}',
        '{"key": "a", "plan": {"runs": "6"}}',
        '{"key": "a", "plan": {"runs": 1e9}}',
    ):
        path.write_text(text)
        assert read_state(path, "a") is None
