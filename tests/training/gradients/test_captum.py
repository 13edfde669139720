"""Products along a run against captum's TracInCP on the same checkpoints."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gptfl.training.network import Network
from gptfl.training.reference_run import Setup, reference_plan
from tests.training.reference import along_reference
from tests.training.test_trainer import make

influence = pytest.importorskip("captum.influence", reason="captum is not installed", exc_type=ImportError)


class Losses(nn.Module):
    """The losses of examples by their number, pool and test in one row."""

    def __init__(self, network: Network, rows: list[Any]) -> None:
        super().__init__()
        self.model, self.network, self.rows = network.model, network, rows

    def forward(self, numbers: Tensor) -> Tensor:
        return torch.stack([self.network.loss(self.rows[int(n)].batch(self.network)) for n in numbers])


@pytest.mark.filterwarnings("ignore:Since `loss_fn` has no:UserWarning")
def test_the_sum_over_checkpoints_is_captums(neox: Path) -> None:
    trainer = make(neox)
    network = trainer.network
    plan, points = reference_plan(6, 3, 3, 1), (0, 1, 3)
    setup = Setup.of(trainer)
    weights: list[list[Tensor]] = []

    def keep(point: int, step: int, pairs: int) -> None:
        if len(weights) == point:
            weights.append([p.detach().clone() for p in network.trainable])

    found = along_reference(trainer, plan, points, setup, keep)
    network.switch(training=False)
    rates = [0.5, 0.25, 2.0]

    def load(model: nn.Module, checkpoint: str) -> float:
        with torch.no_grad():
            for parameter, value in zip(network.trainable, weights[int(checkpoint)], strict=True):
                parameter.copy_(value)
        return rates[int(checkpoint)]

    rows = [side.take([i]) for side in (setup.pool, setup.test) for i in range(len(side))]
    numbers = torch.arange(len(setup.pool))
    tracin = influence.TracInCP(
        Losses(network, rows),
        torch.utils.data.TensorDataset(numbers, torch.zeros(len(numbers))),
        checkpoints=["0", "1", "2"],
        checkpoints_load_func=load,
        loss_fn=lambda losses, labels: losses,
        batch_size=3,
        sample_wise_grads_per_batch=False,
    )
    test = torch.arange(len(setup.pool), len(rows))
    expected = tracin.influence((test, torch.zeros(len(test)))).numpy()  # (test, pool)
    ours = np.tensordot(rates, found.raw, axes=1).T
    np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
