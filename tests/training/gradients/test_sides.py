"""The examples to differentiate at, and how the network computes meanwhile."""

from pathlib import Path

import pytest
import torch

from gptfl.training.gradients import sides
from gptfl.training.gradients.sides import Side, measured_exactly
from tests.training.test_trainer import TEST, make


@pytest.fixture
def rows(neox: Path) -> Side:
    trainer = make(neox, train_layers=1)
    return Side(trainer.rows, trainer.hidden)


def test_some_examples_keep_their_hidden_states(rows: Side) -> None:
    assert rows.hidden is not None
    some = rows.take([4, 1])
    assert (len(some), some.lengths) == (2, [rows.lengths[4], rows.lengths[1]])
    assert some.hidden is not None
    assert some.hidden[0] is rows.hidden[4]
    assert Side(rows.rows).take([2]).hidden is None
    assert len(rows.take([])) == 0


def test_the_test_side_has_each_target_alone_and_its_recorded_loss(neox: Path) -> None:
    trainer = make(neox)
    side = sides.test_side(trainer.network, trainer.tokenizer, trainer.evaluator)
    assert len(side) == len(TEST)
    trainer.network.switch(training=False)
    losses = trainer.evaluator.measure()["loss"]
    for place in range(len(side)):
        with torch.no_grad():
            found = trainer.network.loss(side.take([place]).batch(trainer.network))
        assert float(found) == pytest.approx(float(losses[place]), rel=1e-4)


def test_within_nothing_is_dropped_and_nothing_rounded(neox: Path) -> None:
    network = make(neox).network
    network.precision = "bf16"
    network.switch(training=True)

    def fail() -> None:
        with measured_exactly(network):
            assert (network.precision, network.model.training) == ("fp32", False)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (network.precision, network.model.training) == ("bf16", True)
