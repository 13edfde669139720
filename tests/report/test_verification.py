"""The picture of a verified prediction."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gptfl.core import MetricInfo
from gptfl.evaluation.verification import PairedDifference, Verification
from gptfl.report import verification
from gptfl.report.verification import trainings, verification_figure, verification_table
from tests.report.made import printed


def verified(predicted: list[float], recorded: list[float], reference: list[float]) -> Verification:
    def steps(values: list[float]) -> np.ndarray:
        return np.stack([np.ones(len(values)), np.array(values)])

    tests = tuple(f"test-{place}" for place in range(len(predicted)))
    return Verification(
        "a.dynamics.h5", "exposure-gp", MetricInfo("loss", higher_is_better=False, low=0.0), "3 examples", ("order 1",),
        tests, np.array([0, 4]), steps(predicted)[None], steps(recorded)[None], steps(reference), (((),),),
        0.1, 0.9, 0.5, {}, 1.0,
    )  # fmt: skip


def drawn(found: Verification, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, str]]:
    given: dict[str, Any] = {}
    monkeypatch.setattr(verification, "simulation_figure", lambda **rest: given.update(rest))
    verification_figure(found)
    return given["shown"]


def test_those_changed_and_those_missed_most_are_drawn_and_called_so(monkeypatch: pytest.MonkeyPatch) -> None:
    # Recorded changes of 3, -2, 0, 0 and errors of 0, 0, 5, -4.
    found = verified([4.0, -1.0, 6.0, -3.0, 1.0], [4.0, -1.0, 1.0, 1.0, 1.0], [1.0] * 5)
    assert drawn(found, monkeypatch) == [
        ("test-0", 0, "changed most"),
        ("test-1", 1, "changed most"),
        ("test-2", 2, "missed most"),
        ("test-3", 3, "missed most"),
    ]


def test_one_that_did_both_is_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = verified([9.0, 1.5, 1.0], [4.0, 1.0, 1.25], [1.0] * 3)
    assert drawn(found, monkeypatch) == [
        ("test-0", 0, "changed and missed most"),
        ("test-2", 2, "changed most"),
        ("test-1", 1, "missed most"),
    ]


def paired(ends: list[float]) -> PairedDifference:
    runs = np.stack([np.ones((2, len(ends))), np.array([ends, ends])], axis=1)
    return PairedDifference(
        "the whole pool (8 examples)", ("order 1", "order 2"), runs, runs, (((),), ((),)), float(np.mean(ends)),
        (0.1, 0.2), 0.15, 0.05, (-0.1, 0.4), "not clear", 0.1, {},
    )  # fmt: skip


def test_what_changed_most_is_told_against_the_other_set_in_its_own_column(monkeypatch: pytest.MonkeyPatch) -> None:
    # Against the average run test-0 changed most; against the other set it is test-1.
    found = verified([4.0, 2.0, 1.0], [4.0, 2.0, 1.0], [1.0, 2.0, 1.0])
    text = printed(verification_table(found), 120)
    assert "average run   change" in text
    assert text.index("test-0") < text.index("test-1")
    found = replace(found, paired=paired([4.0, 7.0, 1.0]))
    text = printed(verification_table(found), 120)
    assert "against   change" in text
    assert "average run" not in text
    (row,) = (line for line in text.split("missed most")[0].splitlines() if "test-1" in line)
    assert row.split() == ["test-1", "2", "2", "7", "-5", "+0"]
    assert text.index("test-1") < text.index("test-0")
    assert drawn(found, monkeypatch)[0] == ("test-1", 1, "changed and missed most")


def test_trainings_of_both_sets_count() -> None:
    found = verified([4.0], [4.0], [1.0])
    assert trainings(found) == "1 training"
    assert trainings(replace(found, labels=("order 1", "order 2"), paired=paired([4.0]))) == "4 trainings"
