"""What fits into a budget, what is kept of a plan, and what is said of a patch."""

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
from gptfl.api.doctor_words import too_little, verdict_of
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


def test_too_little_trust_is_said() -> None:
    assert too_little((0.5, 0.2, 0.7), (0.6, 0.1, 0.8), 8) is None
    for skill, lds, words in (
        ((0.1, -0.1, 0.3), (0.6, 0.1, 0.8), "(skill 0.10 [-0.10, 0.30])"),
        ((0.5, 0.2, 0.7), (0.2, -0.2, 0.5), "(LDS 0.20 [-0.20, 0.50])"),
        ((0.5, 0.2, 0.7), None, "(LDS can't be told)"),
        (None, None, "(skill and LDS)"),
    ):
        said = too_little(skill, lds, 8)
        assert said is not None
        assert said.startswith("Nothing is proposed: 8 runs don't show")
        assert words in said


def test_the_verdict_says_what_pairs_show() -> None:
    paired = {"change": -0.05, "predicted_change": -0.07, "interval": [-0.08, -0.02], "pairs": 3, "verdict": "better"}
    folder = Path("there")
    said = verdict_of("loss", 11, paired, 0.1, folder)
    assert said == (
        "Leave out the 11 rows of the patch: loss changed by -0.05 [-0.08, -0.02] against leaving out as many random ones, in "
        "3 pairs of trainings (predicted -0.07), which is clear of noise (there)."
    )
    assert verdict_of("loss", 11, {**paired, "verdict": "worse"}, 0.1, folder).startswith("Don't leave out the 11 rows")
    assert verdict_of("loss", 1, {**paired, "verdict": "not clear"}, 0.1, folder).startswith(
        "Read the 1 row of the patch"
    )
    assert verdict_of("loss", 0, None, 0.1, None).startswith(
        "Nothing is proposed: no row is clearly worse than the average row"
    )
    assert verdict_of("loss", 3, None, 0.1, folder).startswith("Not verified")
