"""How fast each test example's loss changes along a direction in the space of trained weights."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call

from gptfl.errors import DataError
from gptfl.interruption import uninterrupted
from gptfl.training.batching import plan_batches
from gptfl.training.forward import explained
from gptfl.training.gradients.sides import Side, computed_plainly, measured_exactly
from gptfl.training.network import Batch, Network

DIRECTIONS = ("gradient", "update")
TOLERANCE = 1e-2
"""How far a derivative may lie from autograd's, as a share of it."""


class _Functional(nn.Module):
    """A network as one module, whose weights can be stood in for."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.model: nn.Module = network.model
        self.log_probs = network.log_probs

    def forward(self, batch: Batch) -> Tensor:
        return self.log_probs(batch)


class Slopes:
    """Derivatives of the examples' losses along a direction: one Jacobian-vector product a batch, in forward mode.

    No gradient is made: the derivative travels with the values, at three to four times the cost of a forward pass.
    """

    def __init__(self, network: Network, side: Side, budget: int = 0) -> None:
        self.network = network
        gpu = network.device.type != "cpu"
        self.order = plan_batches(side.lengths, budget or (16384 if gpu else 1024), 1024 if gpu else 32)
        self.sides = [side.take(members) for members in self.order]
        self.count = len(side)
        self._module = _Functional(network)

    def check(self) -> None:
        """Hold a derivative along a gradient against its squared length, for the first batch.

        Raises ``DataError`` where they differ, or where the model computes by means that have no forward mode.
        """
        trained, members, side = self.network.trainable, self.order[0], self.sides[0]
        with explained(self._refusal):
            with measured_exactly(self.network), torch.enable_grad():
                loss = self.network.loss(side.batch(self.network)) * len(side)
                gradients = torch.autograd.grad(loss, trained, allow_unused=True)
            direction = [torch.zeros_like(w) if g is None else g for w, g in zip(trained, gradients, strict=True)]
            got = self.along([weight.detach() for weight in trained], direction, batches=1)[members].sum()
        expected = float(sum(part.double().square().sum() for part in direction))
        if not np.isclose(got, expected, rtol=TOLERANCE, atol=0.0):
            raise self._refusal(f"forward mode gives {got:.4g} along a gradient of squared length {expected:.4g}")

    def _refusal(self, why: str) -> DataError:
        name, kind = self.network.loaded.source.name, type(self.network.model).__name__
        return DataError(
            f"{name}: derivatives along a run can't be taken in {kind}: {why}",
            "ask for --gradients reference alone, or choose another model",
        )

    def along(
        self, weights: Sequence[Tensor], direction: Sequence[Tensor], batches: int | None = None
    ) -> Float[np.ndarray, " example"]:
        """d/dε of each example's loss at ``weights`` + ε ``direction``, both in the order of ``network.trainable``.

        NaN for examples beyond the first ``batches``, where that is given.
        """
        names = [f"model.{name}" for name in self.network.names]
        found = np.full(self.count, np.nan)
        with measured_exactly(self.network), torch.no_grad(), computed_plainly(self.network):
            for members, side in list(zip(self.order, self.sides, strict=True))[:batches]:
                # Some derivatives are Python that autograd calls, which would swallow a Ctrl-C.
                with uninterrupted(), forward_ad.dual_level():
                    duals = {
                        name: forward_ad.make_dual(weight, tangent)  # type: ignore[no-untyped-call]
                        for name, weight, tangent in zip(names, weights, direction, strict=True)
                    }
                    dual_output = functional_call(self._module, duals, (side.batch(self.network),))
                    slope = forward_ad.unpack_dual(dual_output).tangent  # type: ignore[no-untyped-call]
                found[members] = _means(slope, [len(row.tokens) for row in side.rows])
        return -found


def _means(values: Tensor | None, counts: Sequence[int]) -> Float[np.ndarray, " example"]:
    if values is None:  # the loss doesn't depend on the weights at all
        return np.zeros(len(counts))
    starts = np.cumsum(counts) - counts
    sums: Float[np.ndarray, " example"] = np.add.reduceat(values.double().cpu().numpy(), starts.astype(np.intp))
    return np.asarray(sums / np.asarray(counts))


class AlongRun:
    """What the gradients along a run predict of the test losses' changes, from one recorded step to the next.

    ``gradient``: along the sum of -η_t ∇L_t, the steps that plain gradient descent would have taken, at the weights where
    the interval begins. ``update``: along the change of the weights that the optimiser made.
    """

    def __init__(self, network: Network, side: Side) -> None:
        self.network = network
        self.slopes = Slopes(network, side)
        self.slopes.check()
        self._rows: dict[str, list[Float[np.ndarray, " test"]]] = {}
        self._before: list[Tensor] = []
        self._descent: list[Tensor] = []

    def add(self, learning_rate: float) -> None:
        """Count in a step that has just been made, its gradients still there."""
        for total, weight in zip(self._descent, self.network.trainable, strict=bool(self._descent)):
            if weight.grad is not None:
                total.add_(weight.grad, alpha=-learning_rate)

    def record(self, step: int) -> dict[str, Float[np.ndarray, "recorded test"]]:
        """An interval ends at a recorded step (at 0, a run begins); returns the predicted changes so far."""
        if step == 0:
            self._rows = {name: [np.zeros(self.slopes.count)] for name in DIRECTIONS}
        else:
            with torch.no_grad():
                moved = [p.detach() - before for p, before in zip(self.network.trainable, self._before, strict=True)]
            self._rows["gradient"].append(self.slopes.along(self._before, self._descent))
            self._rows["update"].append(self.slopes.along(self._before, moved))
        self._before = [p.detach().clone() for p in self.network.trainable]
        self._descent = [torch.zeros_like(p) for p in self._before]
        return {name: np.stack(rows).astype(np.float32) for name, rows in self._rows.items()}
