"""A batch computed in pieces is the same batch."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gptfl.training.distributed import ProcessGroup
from tests.training.test_trainer import make, plan


def gradients(trainer: object, pieces: list[object]) -> list[torch.Tensor]:
    loss = trainer.differentiate(pieces)  # type: ignore[attr-defined]
    found = [weight.grad.clone() for weight in trainer.network.trainable]  # type: ignore[attr-defined]
    for weight in trainer.network.trainable:  # type: ignore[attr-defined]
        weight.grad = None
    return [loss, *found]


@pytest.mark.parametrize("top", [None, 1])
@pytest.mark.parametrize(("members", "accumulate"), [(6, 2), (5, 2), (5, 3), (3, 4), (1, 2)])
def test_pieces_add_up_to_the_batch(neox: Path, members: int, accumulate: int, top: int | None) -> None:
    batch = np.array([*range(members), -1])
    trainer = make(neox, train_layers=top, accumulate=accumulate)
    trainer.network.switch(training=True)
    pieces = trainer.pieces(batch)
    assert len(pieces) == min(members, accumulate)
    whole = gradients(trainer, [trainer.batch(batch)])
    for found, expected in zip(gradients(trainer, pieces), whole, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_a_run_in_pieces_is_the_run(neox: Path) -> None:
    whole = make(neox).run(plan(), lambda done, total: None)
    pieces = make(neox, accumulate=2).run(plan(), lambda done, total: None)
    np.testing.assert_allclose(pieces.metrics["loss"], whole.metrics["loss"], atol=1e-4)


@pytest.mark.parametrize("mean", ["examples", "tokens"])
@pytest.mark.parametrize("size", [2, 3, 8])
def test_the_pieces_of_all_processes_add_up_to_the_batch(neox: Path, size: int, mean: str) -> None:
    """Also where there are more processes than examples; sharded, empty pieces count nothing."""
    batch = np.array([4, 0, 2, 5, 1])
    trainer = make(neox, accumulate=2, loss_mean=mean)
    whole = gradients(trainer, [trainer.batch(batch)])
    for shard in (False, True):
        pieces = []
        for rank in range(size):
            trainer.group = ProcessGroup(rank, size, shard)
            mine = trainer.pieces(batch)
            assert len(mine) == 2 or not shard
            pieces += mine
        trainer.group = ProcessGroup()
        for found, expected in zip(gradients(trainer, pieces), whole, strict=True):
            torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
