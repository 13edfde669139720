"""Recordings whose batches are packed rows, or of examples of about one length."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gptfl import collect
from gptfl.core import Dynamics
from gptfl.core.examples import lengths_of, weights_of
from gptfl.core.packing import Batching
from gptfl.errors import UsageError
from gptfl.options.recording import TrainingOptions
from gptfl.plugins.registry import build
from gptfl.recording.batching import ChosenBatches, batching_of, choose_batches, widest_of
from gptfl.recording.command import command_of
from gptfl.recording.trainers import recipe_of
from gptfl.simulation.schedule import Overrides, adjusted, recorded_schedule
from gptfl.store.recordings import read_dynamics

WIDTH = 60
OPTIONS: dict[str, Any] = {
    "pool": 10,
    "test": 2,
    "runs": 2,
    "subset_size": 6,
    "record_every": 9,
    "design": "contrast",
    "max_length": WIDTH,
    "batch_size": 2,
}


def rows_in(dynamics: Dynamics, batches: np.ndarray) -> list[list[list[int]]]:
    """The rows of each step: examples in order for as long as they are of one packed row of the run's subset."""
    batching = recorded_schedule(dynamics, dynamics.metrics["loss"])._batching
    known = batching.rows(np.unique(batches[batches >= 0]))
    found = []
    for batch in batches.tolist():
        left, rows = [i for i in batch if i >= 0], []
        while left:
            row = next(row for row in known if row == left[: len(row)])
            rows.append(row)
            left = left[len(row) :]
        found.append(rows)
    return found


@pytest.mark.usefixtures("quick_tiny")
def test_a_packed_recording_says_what_was_in_each_step_and_is_asked_about_in_kind(tmp_path: Path) -> None:
    more = {**OPTIONS, "packing": "bfd", "epochs": 2, "loss_mean": "tokens", "sketches": True, "sketch_points": 1}
    path = collect("tiny", "errands", **more, workspace=tmp_path).path
    found = read_dynamics(path)
    assert (found.settings.packing, recipe_of(found).packing) == ("bfd", "bfd")
    lengths, weights = lengths_of(found.pool), weights_of(found.pool)
    assert lengths.min() > 0
    assert weights is not None
    assert (weights < lengths).all()
    rows = [
        len(
            Batching(2, "bfd", width=WIDTH, lengths=lengths).rows(
                np.unique(run.curriculum.batches[run.curriculum.batches >= 0])
            )
        )
        for run in found.runs
    ]
    assert found.settings.steps == -(-2 * int(np.ceil(np.mean(rows))) // 2)
    assert max(rows) < 6
    for run in found.runs:
        steps = rows_in(found, run.curriculum.batches)
        assert all(len(step) == 2 for step in steps)
        assert all(lengths[row].sum() <= WIDTH for step in steps for row in step)
    assert found.sketches is not None
    assert found.sketches.points[0].train.shape[0] == 10
    typed = str(command_of(path, build([])))
    assert "--packing bfd" in typed
    assert f"--steps {found.settings.steps}" in typed
    members = np.array([0, 2, 3, 5, 8])
    recipe = recorded_schedule(found, found.metrics["loss"])
    orders = recipe.orders(members, 2, 1)
    assert set(orders[orders >= 0].tolist()) == set(members.tolist())
    assert rows_in(found, orders[0])
    longer = adjusted(recipe, found, len(members), Overrides(epochs=4), 1, members)
    assert longer.steps == Batching(2, "bfd", width=WIDTH, lengths=lengths).steps(members, 4)
    assert collect("tiny", "errands", **more, workspace=tmp_path).runs == 2


@pytest.mark.usefixtures("quick_tiny")
def test_a_recording_grouped_by_length_keeps_the_lengths(tmp_path: Path) -> None:
    more = {**OPTIONS, "group_by_length": True, "steps": 3, "sketches": False}
    path = collect("tiny", "errands", **more, workspace=tmp_path).path
    found = read_dynamics(path)
    assert found.settings.group_by_length
    assert weights_of(found.pool) is None
    lengths = lengths_of(found.pool)
    expected = Batching(2, grouped=True, lengths=lengths)
    run = found.runs[0]
    order = recorded_schedule(found, found.metrics["loss"]).fill(np.unique(run.curriculum.batches), 5)
    np.testing.assert_array_equal(order, expected.fill(np.unique(run.curriculum.batches), 3, 5))
    first = lengths[run.curriculum.batches[0]]
    assert first.max() == lengths[run.curriculum.batches].max()


@pytest.mark.usefixtures("quick_tiny")
def test_the_largest_step_of_packed_rows_is_that_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[ChosenBatches] = []

    def choose(*given: Any) -> ChosenBatches:
        chosen.append(choose_batches(*given))
        return chosen[-1]

    monkeypatch.setattr("gptfl.recording.plan.choose_batches", choose)
    more = {**OPTIONS, "packing": "bfd", "steps": 6, "loss_mean": "tokens", "sketches": False}
    found = read_dynamics(collect("tiny", "errands", **more, workspace=tmp_path).path)
    widths = [run.curriculum.batches.shape[1] for run in found.runs]
    assert chosen[0].widest == max(widths) > more["batch_size"]
    checked: list[int] = []
    monkeypatch.setattr("gptfl.recording.plan.check_recording_size", lambda *given: checked.append(given[-1]))
    collect("tiny", "errands", **more, workspace=tmp_path, dry_run=True)
    assert checked == [max(widths)]


def test_steps_that_arent_packed_have_the_size_of_a_batch() -> None:
    design: Any = None
    for batching in (Batching(3), Batching(3, grouped=True)):
        assert widest_of(design, batching, None, "t", 5) == 3


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            {"packing": "wrapped"},
            "packing 'wrapped' cuts examples in two, so that what one of them does can't be told: use bfd",
        ),
        ({"packing": "tight"}, "packing 'tight' is unknown: use bfd"),
        ({"packing": "bfd", "group_by_length": True}, "--group-by-length with --packing bfd"),
    ],
)
def test_what_can_not_be_followed_is_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        batching_of(TrainingOptions(**options))
