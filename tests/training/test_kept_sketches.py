"""Sketches that are kept in blocks are those that are taken at once, and what is there isn't made again."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from gptfl.core.blocked_rows import BlockedRows
from gptfl.core.gradients import GradientSketches, PointsInBlocks
from gptfl.interruption import left_by
from gptfl.metrics import Loss
from gptfl.recording.trainers import TrainerMaker
from gptfl.tasks.errands import Errands
from gptfl.training import kept_sketches
from gptfl.training.gradient_sketches import Sketching, SketchSetup
from gptfl.training.kept_sketches import KeptSketching
from gptfl.training.reference_run import follow_reference, reference_plan
from gptfl.training.trainer import RecordingTrainer, TrainerSettings

POINTS = (0, 2, 3)
PLAN = reference_plan(7, 2, 3, 11)
DATA = Errands().load(7, 3, 0)


@pytest.fixture(scope="module")
def trainer(neox: Path) -> RecordingTrainer:
    return TrainerMaker(str(neox), "cpu", DATA, (Loss(),), TrainerSettings(1e-3, clip_norm=0.1))()


@pytest.fixture(autouse=True)
def few_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_sketches, "EXAMPLES", 2)


def at_once(trainer: RecordingTrainer, setup: SketchSetup) -> GradientSketches:
    sketching = Sketching(DATA.pool, DATA.test, PLAN.seed, setup, lambda point, step, more: None)
    run = follow_reference(trainer, PLAN, POINTS, sketching)
    return sketching.sketches(run.rates, run.scales(trainer, sketching.steps))


def kept(trainer: RecordingTrainer, setup: SketchSetup, folder: Path) -> KeptSketching:
    return KeptSketching(trainer, PLAN, POINTS, setup, folder / "a.dynamics.h5")


def close(got: object, expected: object) -> None:
    """The same but for rounding: gradients of other examples are computed beside each, and those near zero are divided by
    next to nothing."""
    if expected is None or got is None:
        assert got is expected
    else:
        got, expected = np.asarray(got), np.asarray(expected)
        np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
        off = np.linalg.norm(np.nan_to_num(got - expected))
        assert off <= 1e-2 * np.linalg.norm(np.nan_to_num(expected))


@pytest.mark.parametrize("dimensions", [16, 2**18])
def test_they_are_those_that_are_taken_at_once(trainer: RecordingTrainer, tmp_path: Path, dimensions: int) -> None:
    setup = SketchSetup.of(trainer, dimensions)
    expected, sketching = at_once(trainer, setup), kept(trainer, setup, tmp_path)
    told: list[tuple[int, int, int]] = []
    sketching.on_examples = lambda *one: told.append(one)
    found = sketching.follow()
    assert sum(more for _, _, more in told) == 3 * (7 + 3)
    assert {(place, step) for place, step, _ in told} == {(0, 0), (1, 2), (2, 3)}
    assert isinstance(found.points, PointsInBlocks)
    for name in ("seed", "dimensions", "modules", "own_counted"):
        assert getattr(found, name) == getattr(expected, name)
    np.testing.assert_array_equal(found.steps, expected.steps)
    np.testing.assert_array_equal(found.learning_rates, expected.learning_rates)
    for place, one in enumerate(expected.points):
        some, whole = found.point(place), found.points[place]
        assert isinstance(some.train, BlockedRows)
        for name in ("train", "test", "preconditioned", "split_train", "split_test"):
            close(getattr(whole, name), getattr(one, name))
            if getattr(one, name) is not None:
                np.testing.assert_array_equal(np.asarray(getattr(some, name)), getattr(whole, name))
    assert [one.step for one in found.points[1:]] == [2, 3]
    assert (found.products is None) == (expected.products is None) == (dimensions == 2**18)
    if expected.products is not None and found.products is not None:
        for field in fields(expected.products):
            if isinstance(getattr(expected.products, field.name), np.ndarray):
                close(getattr(found.products, field.name), getattr(expected.products, field.name))
    assert found.seconds is not None
    assert found.seconds > 0
    sketching.kept.remove()
    assert not list(tmp_path.iterdir())


def test_what_was_interrupted_goes_on_and_ends_the_same(trainer: RecordingTrainer, tmp_path: Path) -> None:
    setup = SketchSetup.of(trainer, 16)
    whole = kept(trainer, setup, tmp_path / "whole").follow()
    sketching = kept(trainer, setup, tmp_path)
    told: list[int] = []

    def stop(place: int, step: int, more: int) -> None:
        told.append(more)
        if sum(told) > 14:  # in the second block of the second point
            raise KeyboardInterrupt

    sketching.on_examples = stop
    with pytest.raises(KeyboardInterrupt) as caught:
        sketching.follow()
    assert left_by(caught.value) == "14 of 30 sketches are kept, the same command goes on from there"
    again = kept(trainer, setup, tmp_path)
    assert again.done == 14
    told.clear()
    again.on_examples = lambda place, step, more: told.append(more)
    found = again.follow()
    assert sum(told) == 30 - 14
    assert found.fingerprint == whole.fingerprint
    assert kept(trainer, setup, tmp_path).done == 30


def test_an_interruption_at_the_start_leaves_nothing(trainer: RecordingTrainer, tmp_path: Path) -> None:
    def stop(place: int, step: int, more: int) -> None:
        raise KeyboardInterrupt

    sketching = kept(trainer, SketchSetup.of(trainer, 16), tmp_path)
    sketching.on_examples = stop
    with pytest.raises(KeyboardInterrupt) as caught:
        sketching.follow()
    assert left_by(caught.value) == "no gradients were sketched, the same command begins anew"
    assert not list(tmp_path.iterdir())


def test_other_dimensions_or_another_run_are_other_work(trainer: RecordingTrainer, tmp_path: Path) -> None:
    kept(trainer, SketchSetup.of(trainer, 16), tmp_path).follow()
    assert kept(trainer, SketchSetup.of(trainer, 8), tmp_path).done == 0
    other = KeptSketching(
        trainer, reference_plan(7, 2, 3, 12), POINTS, SketchSetup.of(trainer, 16), tmp_path / "a.dynamics.h5"
    )
    assert other.done == 0


def test_a_damaged_block_is_made_again(trainer: RecordingTrainer, tmp_path: Path) -> None:
    setup = SketchSetup.of(trainer, 16)
    whole = kept(trainer, setup, tmp_path).follow()
    expected = whole.fingerprint
    (path,) = tmp_path.glob("*.blocks-*/block-000005.h5")
    path.write_bytes(path.read_bytes()[:-9])
    again = kept(trainer, setup, tmp_path)
    assert again.done == 30 - 3
    (note,) = again.notes
    assert note.startswith("a block of sketches is made again: ")
    assert again.follow().fingerprint == expected
