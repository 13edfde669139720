"""How far runs moved the loss, and what is told of those that moved it little."""

from collections.abc import Callable

import numpy as np
import pytest

from gptfl.core import Curriculum, Run
from gptfl.recording.movement import movement_of

Curve = Callable[[np.ndarray], np.ndarray]


def run_of(curve: Curve, index: int = 0, steps: int = 12, rates: np.ndarray | None = None) -> Run:
    """A run of three test examples whose losses are a curve of the step sizes taken so far, and of it a little apart."""
    rates = np.full(steps, 0.1) if rates is None else rates
    passed = np.append(0.0, np.cumsum(rates)) / rates.sum()
    losses = curve(passed)[:, None] + np.array([-0.1, 0.0, 0.1])
    batches = np.zeros((steps, 2), dtype=np.int64)
    return Run(index, "fit", 1, Curriculum(batches, rates), np.arange(steps + 1), {"loss": losses.astype(np.float32)})


def falling(by: float, bend: float = 0.0) -> Curve:
    """From 3 on: a straight line down, or one that levels off."""

    def curve(passed: np.ndarray) -> np.ndarray:
        way = passed if bend == 0 else (1 - np.exp(-bend * passed)) / (1 - np.exp(-bend))
        return 3.0 * (1 - by * way)

    return curve


@pytest.mark.parametrize(
    ("by", "bend", "message"),
    [
        (0.12, 0.0, "barely moved for what is possible: it fell by 12%"),  # the beginning of a fall
        (0.12, 6.0, None),  # a little, and then no further: there was no more to learn
        (0.7, 0.0, None),  # far, and still falling
        (0.001, 0.0, "hardly moved"),
        (-0.2, 0.0, None),  # it rose
    ],
)
def test_what_is_reported_follows_from_the_fall_and_from_its_pace_at_the_end(
    by: float, bend: float, message: str
) -> None:
    movement = movement_of([run_of(falling(by, bend), index) for index in range(3)])
    assert movement is not None
    assert movement.fell == pytest.approx(by, abs=1e-6)
    if message is None:
        assert movement.notes == ()
    else:
        (note,) = movement.notes
        assert message in note
        assert "larger --lr, or more --steps" in note


def test_pace_counts_step_sizes_and_not_steps() -> None:
    # By steps, a rate that falls to 0 makes every loss level off.
    decaying = np.linspace(0.1, 0.0, 13)[:12]
    movement = movement_of([run_of(falling(0.12), rates=decaying)])
    assert movement is not None
    assert movement.pace == pytest.approx(1.0, abs=0.05)
    assert movement.apart == 0.0
    curve = falling(0.12, 3.0)
    levelled = movement_of([run_of(curve, rates=decaying)])
    assert levelled is not None
    expected = (curve(np.array([2 / 3])) - curve(np.array([1.0]))) / (curve(np.array([0.0])) - curve(np.array([1 / 3])))
    assert levelled.pace == pytest.approx(expected[0], abs=0.05)


def test_how_far_runs_end_apart_is_their_standard_deviation() -> None:
    ends = (0.1, 0.12, 0.15)
    movement = movement_of([run_of(falling(by), index) for index, by in enumerate(ends)])
    assert movement is not None
    assert movement.apart == pytest.approx(np.std([3 * (1 - by) for by in ends], ddof=1), rel=1e-5)


def test_nothing_is_reported_where_too_little_was_recorded() -> None:
    assert movement_of([]) is None
    short = movement_of([run_of(falling(0.12), steps=2)])
    assert short is not None
    assert short.pace is None
    lost = run_of(falling(0.12))
    lost.metrics["loss"][1:] = np.nan
    assert movement_of([lost]) is None
