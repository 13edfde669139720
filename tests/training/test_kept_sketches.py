"""Sketches that are kept in blocks are those that are taken at once, and what is there isn't made again."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gptfl.core.blocked_rows import BlockedRows
from gptfl.core.gradients import GradientSketches, PointsInBlocks
from gptfl.errors import DataError
from gptfl.interruption import left_by
from gptfl.metrics import Loss
from gptfl.recording.trainers import TrainerMaker
from gptfl.store.features import read_feature_rows
from gptfl.tasks.errands import Errands
from gptfl.training import gradient_sketches, kept_sketches
from gptfl.training.gradient_sketches import Sketching, SketchSetup
from gptfl.training.gradients.sides import Side
from gptfl.training.gradients.tape import Tape
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


def set_up(trainer: RecordingTrainer, dimensions: int) -> SketchSetup:
    """An example in each piece, so that files have two of them."""
    return SketchSetup.of(trainer, dimensions, memory=1)


def at_once(trainer: RecordingTrainer, setup: SketchSetup) -> GradientSketches:
    sketching = Sketching(DATA.pool, DATA.test, PLAN.seed, setup, lambda point, step, more: None)
    run = follow_reference(trainer, PLAN, POINTS, sketching)
    return sketching.sketches(run.rates, run.scales(trainer, sketching.steps))


def kept(trainer: RecordingTrainer, setup: SketchSetup, folder: Path) -> KeptSketching:
    return KeptSketching(trainer, PLAN, POINTS, setup, folder / "a.dynamics.h5")


def close(got: object, expected: object) -> None:
    """The same but for rounding: gradients of other examples are computed beside each, and those near zero are divided by
    next to nothing."""
    got, expected = np.asarray(got), np.asarray(expected)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    off = np.linalg.norm(np.nan_to_num(got - expected))
    assert off <= 1e-2 * np.linalg.norm(np.nan_to_num(expected))


@pytest.mark.parametrize("dimensions", [16, 2**18])
@pytest.mark.parametrize("pieces", [1, None])
def test_they_are_those_that_are_taken_at_once(
    trainer: RecordingTrainer, tmp_path: Path, dimensions: int, pieces: int | None
) -> None:
    setup = SketchSetup.of(trainer, dimensions, memory=pieces)
    expected, sketching = at_once(trainer, setup), kept(trainer, setup, tmp_path)
    told: list[tuple[int, int, int]] = []
    sketching.on_examples = lambda *one: told.append(one)
    found = sketching.follow()
    assert sum(more for _, _, more in told) == 3 * (7 + 3)
    assert {(place, step) for place, step, _ in told} == {(0, 0), (1, 2), (2, 3)}
    assert isinstance(found.points, PointsInBlocks)
    for name in ("seed", "dimensions", "modules", "own_counted"):
        assert getattr(found, name) == getattr(expected, name)
    for place in range(3):
        some, whole = found.point(place), found.points[place]
        assert isinstance(some.train, BlockedRows)
        np.testing.assert_array_equal(some.train[np.array([5, 0, 2])], whole.train[[5, 0, 2]])
    assert [one.step for one in found.points[1:]] == [2, 3]
    assert (found.products is None) == (expected.products is None) == (dimensions == 2**18)
    assert found.fingerprint == expected.fingerprint, "to the last bit, products among them"
    assert found.seconds is not None
    assert found.seconds > 0
    sketching.kept.remove()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("large", [False, True])
def test_spans_of_a_large_pool_are_the_rows_of_all(
    trainer: RecordingTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    expected = at_once(trainer, SketchSetup.of(trainer, 16))
    monkeypatch.setattr(gradient_sketches, "TOGETHER", 1)
    monkeypatch.setattr(gradient_sketches, "LEAST", 3)
    monkeypatch.setattr(kept_sketches, "IN_MEMORY", 1 if large else 2**22)
    setup = SketchSetup.of(trainer, 16)
    assert [[len(span) for span in side] for side in setup.spans] == [[3, 3, 1], [3]]
    found = kept(trainer, setup, tmp_path).follow()
    for place, one in enumerate(expected.points):
        whole = found.points[place]
        for name in ("train", "test", "preconditioned", "split_train", "split_test"):
            if getattr(one, name) is None:
                assert getattr(whole, name) is None
            else:
                close(getattr(whole, name), getattr(one, name))
        if whole.preconditioned is not None:
            some = found.point(place).preconditioned
            assert some is not None
            np.testing.assert_array_equal(some[1:7], whole.preconditioned[1:7])
    assert expected.products is not None
    assert found.products is not None
    assert found.products.in_blocks is large
    for field in fields(expected.products):
        if isinstance(getattr(expected.products, field.name), np.ndarray):
            close(getattr(found.products, field.name), getattr(expected.products, field.name))


def test_what_was_interrupted_goes_on_and_ends_the_same(trainer: RecordingTrainer, tmp_path: Path) -> None:
    setup = set_up(trainer, 16)
    whole = kept(trainer, setup, tmp_path / "whole").follow()
    sketching = kept(trainer, setup, tmp_path)
    told: list[int] = []

    def stop(place: int, step: int, more: int) -> None:
        told.append(more)
        if sum(told) > 15:  # the second point has three tests, and a file of two training examples
            raise KeyboardInterrupt

    sketching.on_examples = stop
    with pytest.raises(KeyboardInterrupt) as caught:
        sketching.follow()
    assert left_by(caught.value) == "15 of 30 sketches are kept, the same command goes on from there"
    again = kept(trainer, setup, tmp_path)
    assert again.done == 15
    told.clear()
    again.on_examples = lambda place, step, more: told.append(more)
    found = again.follow()
    assert sum(told) == 30 - 15
    assert found.fingerprint == whole.fingerprint
    assert kept(trainer, setup, tmp_path).done == 30


def test_an_interruption_at_the_start_leaves_nothing(trainer: RecordingTrainer, tmp_path: Path) -> None:
    def stop(place: int, step: int, more: int) -> None:
        raise KeyboardInterrupt

    sketching = kept(trainer, set_up(trainer, 16), tmp_path)
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


def test_a_damaged_file_is_made_again(trainer: RecordingTrainer, tmp_path: Path) -> None:
    setup = set_up(trainer, 16)
    whole = kept(trainer, setup, tmp_path).follow()
    expected = whole.fingerprint
    folder = next(tmp_path.glob("*.blocks-*"))
    path = folder / "block-000010.h5"  # of the second point's first training examples
    rows = len(read_feature_rows(path)[1])
    path.write_bytes(path.read_bytes()[:-9])
    again = kept(trainer, setup, tmp_path)
    assert again.done == 30 - rows
    (note,) = again.notes
    assert note.startswith("a block of sketches is made again: ")
    assert again.follow().fingerprint == expected
    products = folder / "block-000031.h5"  # of the second point, after ten examples at each of three
    products.write_bytes(products.read_bytes()[:-9])
    more = kept(trainer, setup, tmp_path)
    assert len(more.notes) == 1
    # The last examples of a span are kept without what its products are estimated from.
    assert more.done < 30
    assert more.follow().fingerprint == expected


def test_another_cut_into_pieces_takes_what_is_there(trainer: RecordingTrainer, tmp_path: Path) -> None:
    """As on a GPU that has another amount of memory free."""
    sketching = kept(trainer, set_up(trainer, 16), tmp_path)
    told: list[int] = []

    def stop(place: int, step: int, more: int) -> None:
        told.append(more)
        if len(told) == 8:
            raise KeyboardInterrupt

    sketching.on_examples = stop
    with pytest.raises(KeyboardInterrupt):
        sketching.follow()
    again = kept(trainer, SketchSetup.of(trainer, 16), tmp_path)
    there = again.done
    assert 0 < there < 10
    told.clear()
    again.on_examples = lambda place, step, more: told.append(more)
    found = again.follow()
    assert sum(told) == 30 - there
    expected = at_once(trainer, SketchSetup.of(trainer, 16))
    for one, other in zip(found.points, expected.points, strict=True):
        close(one.train, other.train)


def test_what_takes_long_is_kept_at_once(
    trainer: RecordingTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_sketches, "EXAMPLES", 100)
    quick = kept(trainer, set_up(trainer, 16), tmp_path / "quick")
    quick.follow()
    monkeypatch.setattr(kept_sketches, "SECONDS", 0.0)
    slow = kept(trainer, set_up(trainer, 16), tmp_path / "slow")
    slow.follow()
    # Of quick ones a file of either side and one of products at each point; else one for each example.
    assert (len(quick.kept.numbers()), len(slow.kept.numbers())) == (9, 33)


def test_a_gradient_that_is_not_finite_is_named(
    trainer: RecordingTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = kept_sketches.sketch_each

    def holed(tape: Tape, side: Side, *given: Any) -> list[list[torch.Tensor]]:
        found = compute(tape, side, *given)
        if len(side) == 7:
            found[0][0][side.rows.index(trainer.rows[4])] = float("inf")
        return found

    monkeypatch.setattr(kept_sketches, "sketch_each", holed)
    with pytest.raises(DataError, match=f"the gradient of pool example '{DATA.pool[4].id}' is not finite at step 0"):
        kept(trainer, SketchSetup.of(trainer, 16), tmp_path).follow()
