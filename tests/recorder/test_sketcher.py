"""Sketches along a run: whether any are taken, when, and what is said of them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gptfl.core import Example
from gptfl.errors import UsageError
from gptfl.recorder.file import Identity
from gptfl.recorder.run import RunSoFar
from gptfl.recorder.sketch_spec import SketchSpec
from gptfl.recorder.sketcher import Sketcher
from gptfl.store.recordings import read_dynamics
from tests.recorder.own_runs import callback, sketched

Trainers = Callable[..., Any]


def test_one_run_is_sketched_and_the_cost_is_reported(trainer_of: Trainers, tmp_path: Path) -> None:
    lines: list[str] = []
    for seed in range(2):
        trainer_of(callback(tmp_path, sketches_at=3, sketch_dimensions=64, say=lines.append), seed=seed).train()
    assert sketched(tmp_path).steps.tolist() == [0, 3, 6]
    assert sketched(tmp_path).dimensions == 64
    pattern = r"gradient sketches of 12 training and 6 test examples: the first took \S+ s, all 3 about \S+ s"
    assert sum(bool(re.fullmatch(pattern, line)) for line in lines) == 1
    assert sum(line.startswith("the recording has gradient sketches of an earlier run") for line in lines) == 1


def test_a_run_that_is_resumed_after_the_first_point_takes_none(trainer_of: Trainers, tmp_path: Path) -> None:
    lines: list[str] = []
    trainer_of(callback(tmp_path / "whole", sketches_at=3, sketch_dimensions=64), keep=3).train()
    late = callback(tmp_path / "late", sketches_at=3, sketch_dimensions=64, say=lines.append)
    trainer_of(late, keep=3).train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-3"))
    assert any(
        "goes on from step 3, after the first point of sketches_at: no sketches are taken" in line for line in lines
    )
    assert read_dynamics(tmp_path / "late" / "own.dynamics.h5").sketches is None


def test_how_it_trains_says_nothing_where_no_sketches_are_wanted() -> None:
    for more in ({"optimiser": object()}, {"loss_mean": "tokens"}):
        with pytest.raises(UsageError, match="optimiser and loss_mean say how to sketch gradients, and none are asked"):
            Sketcher(None, ((), ()), print, **more)


def test_without_a_spec_nothing_is_taken_and_nothing_said() -> None:
    lines: list[str] = []
    idle = Sketcher(None, ((), ()), lines.append)
    run: Any = None
    idle.begin(run, ((), ()), None, None, there=False)
    idle.look(run)
    assert idle.finish(run) is None
    assert lines == []


class Live:
    """Stands for sketches along a run, at steps 2 and 5."""

    def __init__(self) -> None:
        self.points = (2, 5)
        self.clipped: list[float] = []
        self.seen: list[int] = []

    def __call__(self, step: int, batches: np.ndarray) -> float | None:
        self.seen.append(step)
        return 0.5 if step in self.points else None

    def sketches(self, rates: list[float]) -> tuple[list[float], list[float]]:
        return rates, self.clipped


def test_steps_of_which_nothing_is_known_are_clipped_like_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    live, example = Live(), (Example("a", "b", "c"),)
    monkeypatch.setattr("gptfl.recorder.sketches.LiveSketches.of", lambda *given, **more: live)
    rows = [{"input_ids": [1, 2], "labels": [1, 2]}]
    sketcher = Sketcher(SketchSpec.of({"sketches_at": [2, 5]}), (rows, rows), lines.append, object(), "tokens")
    run = RunSoFar(Identity(example, example, {}, 1, "x", "m", None), 0, 6, None, None, ("loss",))
    sketcher.begin(run, (example, example), object(), None, there=False)
    sketcher.look(run)
    run.places, run.rates = [[0], [0]], [0.1, 0.1]
    sketcher.look(run, 0.25)
    run.places, run.rates = [[0]] * 3, [0.1] * 3
    sketcher.look(run)
    assert live.seen == [0, 2, 3]
    assert live.clipped == [0.25, 0.25, 1.0]
    assert lines == ["gradient sketches of 1 training and 1 test examples: the first took 0.5 s, all 2 about 1 s"]
    assert sketcher.finish(run) == ([0.1] * 3, live.clipped)
    assert lines[1:] == ["the run ended before step 5, and has no sketches there"]
    assert sketcher.finish(run) is None
