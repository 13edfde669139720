"""What the runs of a design will leave unknown."""

from typing import Any

import numpy as np

from gptfl.core import Example, RecordingSettings
from gptfl.recording.design import choose_design, make_plans
from gptfl.recording.identify import identify, plan_of_design

OPEN: dict[str, Any] = {"subset_size": 6, "reserve_pool": 0, "leave_out_size": None, "repeats": 0}


def marked(count: int) -> list[Example]:
    return [Example(f"e{i}", "q", "a", (), i % 2, {"source": "wxyz"[i % 4]}) for i in range(count)]


def test_what_runs_identify_is_of_those_to_fit_and_by_class() -> None:
    pool = marked(12)
    design = choose_design("contrast", 4, 12, 3, **OPEN)
    draws = design.draws(pool, "x")
    found = identify(draws, make_plans(draws, 3, 4), np.ones(4), pool)
    assert found is not None
    assert found.runs == sum(draw.role == "fit" for draw in draws)
    assert set(found.classes) == {"0", "1"}
    assert identify(draws[:1], make_plans(draws[:1], 3, 4), np.ones(4), pool) is None


def test_runs_by_groups_tell_the_groups_and_little_of_single_rows() -> None:
    pool = marked(24)
    told = {}
    for name, by, size in (("groups", "source", 12), ("contrast", None, 4)):
        draws = choose_design(name, 8, 24, 3, by=by, **{**OPEN, "subset_size": size}).draws(pool, "x")
        found = identify(draws, make_plans(draws, 3, 8), np.ones(8), pool, by="source")
        assert found is not None
        assert set(found.groups) == {"w", "x", "y", "z"}
        told[name] = (np.mean(list(found.groups.values())), found.example)
    assert told["groups"][0] < told["contrast"][0]
    assert told["groups"][1] > told["contrast"][1]


def test_a_plan_says_of_what_runs_are() -> None:
    pool = marked(12)
    assert plan_of_design(RecordingSettings(design="leave-small", leave_out_size=3), pool) == {"left_out": 3}
    assert plan_of_design(RecordingSettings(design="contrast"), pool) == {}
    by = plan_of_design(RecordingSettings(design="groups", by="source"), pool)
    assert by == {"grouped": "2 of 4 groups by source"}
    three = [Example(f"e{i}", "q", "a", fields={"cluster": i % 3}) for i in range(4)]
    clusters = plan_of_design(RecordingSettings(design="groups", by="clusters:3"), three)
    assert clusters == {"grouped": "1 or 2 of 3 groups by clusters:3"}
