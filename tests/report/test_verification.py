"""The picture of a verified prediction."""

from typing import Any

import numpy as np
import pytest

from gptfl.core import MetricInfo
from gptfl.evaluation.verification import Verification
from gptfl.report import verification
from gptfl.report.verification import verification_figure


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
