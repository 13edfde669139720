"""A training that is made again from a state against one that goes on, and against the trainer's own steps."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gptfl.errors import DataError
from gptfl.training.replay import Replay
from gptfl.training.trainer import RecordingTrainer
from tests.models import save_small
from tests.training.test_trainer import make, plan


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> RecordingTrainer:
    """With dropout, clipping and a batch in two pieces."""
    folder = save_small(tmp_path_factory.mktemp("replay"), "gpt2", blocks=1, width=16)
    made = make(folder, clip_norm=0.5, accumulate=2)
    for module in made.network.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.2
    return made


def weights(trainer: RecordingTrainer) -> list[Tensor]:
    return [weight.detach().clone() for weight in trainer.network.trainable]


def assert_equal(left: list[Tensor], right: list[Tensor]) -> None:
    assert all(torch.equal(one, other) for one, other in zip(left, right, strict=True))


def test_its_steps_are_the_trainers(trainer: RecordingTrainer) -> None:
    replay = Replay(trainer, plan(3))
    replay.begin()
    for step in range(3):
        replay.advance(step)
    found = weights(trainer)
    torch.manual_seed(plan().seed)
    trainer.network.restore()
    optimiser = trainer.optimiser()
    for members, rate in zip(plan(3).batches, trainer.recipe.rates(3), strict=True):
        trainer.step(optimiser, trainer.pieces(members), float(rate))
    assert_equal(found, weights(trainer))


def test_from_a_state_the_same_steps_are_made_again(trainer: RecordingTrainer) -> None:
    replay = Replay(trainer, plan(4))
    replay.begin()
    replay.advance(0)
    start = replay.state()
    gradients = [replay.advance(step) for step in (1, 2, 3)]
    end = weights(trainer)
    passed = replay.segment(1, 4, start)
    assert [one.step for one in passed] == [1, 2, 3]
    assert_equal(end, weights(trainer))
    assert_equal(start.weights, passed[0].before.weights)
    for one, gradient in zip(passed, gradients, strict=True):
        assert_equal([g for g in one.gradients if g is not None], [g for g in gradient if g is not None])
    # A step is made from what it found, so that a gradient is as it was before clipping.
    assert float(torch.cat([g.flatten() for g in gradients[0] if g is not None]).norm()) > 0.5
    assert float(passed[1].before.optimiser[0]["step"]) == 2.0


def test_a_state_isnt_changed_by_what_comes_after_it(trainer: RecordingTrainer) -> None:
    replay = Replay(trainer, plan(2))
    replay.begin()
    replay.advance(0)
    state = replay.state()
    before = [weight.clone() for weight in state.weights]
    first = state.optimiser[0]["exp_avg"].clone()
    replay.advance(1)
    assert_equal(before, state.weights)
    assert torch.equal(first, state.optimiser[0]["exp_avg"])
    replay.stand_at(state)
    assert_equal(before, weights(trainer))


def test_weights_decay_as_the_recipe_has_it(trainer: RecordingTrainer, neox: Path) -> None:
    assert set(Replay(trainer, plan()).decays) == {0.001}
    made = make(neox, decay="weights")
    decays = dict(zip(made.network.names, Replay(made, plan()).decays, strict=True))
    assert {value for name, value in decays.items() if "query_key_value.weight" in name} == {0.001}
    assert {value for name, value in decays.items() if name.endswith("bias")} == {0.0}


def test_a_loss_that_isnt_finite_is_told_with_its_step(trainer: RecordingTrainer) -> None:
    replay = Replay(trainer, plan(4))
    replay.begin()
    with torch.no_grad():
        trainer.network.trainable[0].fill_(torch.nan)
    with pytest.raises(DataError, match="the training's loss is nan at step 3 of 4: lower --lr"):
        replay.advance(2)
