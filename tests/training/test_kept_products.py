"""Products that are kept in blocks are those that are taken at once, and what is there isn't made again."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from gptfl.core import GradientProducts
from gptfl.errors import DataError
from gptfl.interruption import left_by
from gptfl.metrics import Loss
from gptfl.recording.trainers import TrainerMaker
from gptfl.tasks.errands import Errands
from gptfl.training import kept_products, reference_run
from gptfl.training.gradients.blocks import all_products
from gptfl.training.kept_products import KeptMultiplying
from gptfl.training.reference_run import Moment, Setup, follow_reference, reference_plan
from gptfl.training.trainer import RecordingTrainer, TrainerSettings

POINTS = (0, 2, 3)
PLAN = reference_plan(7, 2, 3, 11)
DATA = Errands().load(7, 5, 0)
PAIRS = 7 * 5


@pytest.fixture(scope="module")
def trainer(neox: Path) -> RecordingTrainer:
    return TrainerMaker(str(neox), "cpu", DATA, (Loss(),), TrainerSettings(1e-3, clip_norm=0.1))()


@pytest.fixture(params=[2**40, 1])
def setup(trainer: RecordingTrainer, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Setup:
    """Blocks of three training examples; all test examples are held at once, or one."""
    monkeypatch.setattr(reference_run, "TOGETHER", 1)
    monkeypatch.setattr(reference_run, "LEAST", 3)
    return Setup.of(trainer, memory=request.param)


def kept(trainer: RecordingTrainer, setup: Setup, folder: Path) -> KeptMultiplying:
    return KeptMultiplying(trainer, PLAN, POINTS, setup, folder / "a.dynamics.h5")


def followed(multiplying: KeptMultiplying) -> GradientProducts:
    return multiplying.products(follow_reference(multiplying.trainer, PLAN, POINTS, multiplying))


@pytest.mark.parametrize("large", [False, True])
def test_they_are_those_that_are_taken_at_once(
    trainer: RecordingTrainer, setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    monkeypatch.setattr(kept_products, "IN_MEMORY", 1 if large else 2**30)
    multiplying = kept(trainer, setup, tmp_path)
    assert [len(span) for span in multiplying.spans] == [3, 3, 1]
    assert len(multiplying.columns) == len(setup.arrangement.tests)
    told: list[tuple[int, int, int]] = []
    multiplying.on_pairs = lambda *one: told.append(one)
    found = followed(multiplying)
    assert sum(pairs for _, _, pairs in told) == 3 * PAIRS
    assert {(place, step) for place, step, _ in told} == {(0, 0), (1, 2), (2, 3)}
    assert found.in_blocks is large

    expected: list[dict[str, np.ndarray]] = []

    def visit(moment: Moment) -> None:
        whole = all_products(setup.tape, setup.pool, setup.test, moment.denominator, setup.arrangement)
        nothing = np.full((7, 5), np.nan), np.full(7, np.nan)
        assert whole.own is not None
        expected.append(
            {
                "raw": whole.raw.numpy(),
                "preconditioned": nothing[0] if whole.divided is None else whole.divided.numpy(),
                "self_raw": whole.own.numpy(),
                "self_preconditioned": nothing[1] if whole.own_divided is None else whole.own_divided.numpy(),
            }
        )

    run = follow_reference(trainer, PLAN, POINTS, visit)
    scales = run.scales(trainer, POINTS)
    assert scales is not None  # clipping shortens every gradient
    for place, one in enumerate(expected):
        for name, values in one.items():
            factor = scales[place] ** (2 if name.startswith("self") else 1)
            factor = factor if values.ndim == 1 else factor[:, None]
            # The same to the last bit: gradients are made in the same pieces.
            np.testing.assert_array_equal(
                np.asarray(getattr(found, name)[place]), values.astype(np.float32) * factor.astype(np.float32)
            )
    assert np.isnan(np.asarray(found.preconditioned[0])).all()
    multiplying.kept.remove()
    assert not list(tmp_path.iterdir())


def test_pieces_of_one_block_are_those_of_all_where_the_pool_is_small(trainer: RecordingTrainer) -> None:
    setup = Setup.of(trainer)
    assert setup.together > 7
    assert [sorted(i for piece in block for i in piece) for block in setup.arrangement.pools] == [list(range(7))]


def test_what_was_interrupted_goes_on_and_ends_the_same(
    trainer: RecordingTrainer, setup: Setup, tmp_path: Path
) -> None:
    whole = followed(kept(trainer, setup, tmp_path / "whole"))
    multiplying = kept(trainer, setup, tmp_path)
    told: list[int] = []

    def stop(place: int, step: int, more: int) -> None:
        told.append(more)
        if sum(told) > PAIRS + 3 * len(multiplying.columns[0]):  # in the second block of the second point
            raise KeyboardInterrupt

    multiplying.on_pairs = stop
    with pytest.raises(KeyboardInterrupt) as caught:
        followed(multiplying)
    done = PAIRS + 3 * len(multiplying.columns[0])
    said = f"{done} of {3 * PAIRS} gradient products are kept, the same command goes on from there"
    assert left_by(caught.value) == said
    again = kept(trainer, setup, tmp_path)
    assert again.done == done
    told.clear()
    again.on_pairs = lambda place, step, more: told.append(more)
    found = followed(again)
    assert sum(told) == 3 * PAIRS - done
    for field in fields(found):
        if isinstance(getattr(whole, field.name), np.ndarray):
            np.testing.assert_array_equal(getattr(found, field.name), getattr(whole, field.name))


def test_a_damaged_block_is_made_again_and_one_of_other_work_is_passed_over(
    trainer: RecordingTrainer, setup: Setup, tmp_path: Path
) -> None:
    expected = followed(kept(trainer, setup, tmp_path)).fingerprint
    path = next(iter(tmp_path.glob("*.blocks-*/block-000001.h5")))
    path.write_bytes(path.read_bytes()[:-9])
    again = kept(trainer, setup, tmp_path)
    (note,) = again.notes
    assert note.startswith("a block of gradient products is made again: ")
    assert again.done < 3 * PAIRS
    assert followed(again).fingerprint == expected
    other = KeptMultiplying(trainer, reference_plan(7, 2, 3, 12), POINTS, setup, tmp_path / "a.dynamics.h5")
    assert other.done == 0


def test_a_gradient_that_is_not_finite_is_named(
    trainer: RecordingTrainer, setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = kept_products.block_products

    def holed(*given: object) -> object:
        for rows, found in compute(*given):  # type: ignore[arg-type]
            found.raw[rows == 4] = float("inf")
            yield rows, found

    monkeypatch.setattr(kept_products, "block_products", holed)
    with pytest.raises(DataError, match=f"the gradient of pool example '{DATA.pool[4].id}' is not finite at step 0"):
        followed(kept(trainer, setup, tmp_path))
