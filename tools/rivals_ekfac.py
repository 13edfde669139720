"""EK-FAC influence by kronfluence (Grosse et al., 2023), at the end of a training on the whole pool.

kronfluence tracks layers of type nn.Linear. Others that are trained, such as norms and embeddings, are left out, and so is
an output layer, which is given the tokens of all examples as one row.
"""

import tempfile
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from rivals_recorded import Matrix, Recorded, sides_of
from torch import Tensor, nn
from torch.utils.data import Dataset

from gptfl.errors import DataError
from gptfl.training.gradients.sides import Side
from gptfl.training.network import Network

QUERY_BYTES = 2**31
"""So many bytes of the test examples' gradients are held at once."""


class Places(Dataset[Tensor]):
    """The places of a side's examples, which are all that is handed around."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, place: int) -> Tensor:
        return torch.tensor(place)


def ekfac(recorded: Recorded) -> dict[str, Matrix]:
    """Products of the gradients with the inverse of a damped EK-FAC Hessian between, over the trained linear layers.

    Factors are fitted to all of the pool, to labels that the model draws itself. Raises ``DataError`` where no linear layer is trained.
    """
    from kronfluence.analyzer import Analyzer, prepare_model  # type: ignore[import-not-found]
    from kronfluence.arguments import FactorArguments, ScoreArguments  # type: ignore[import-not-found]

    point = recorded.trained()[-1]
    # A model of its own: kronfluence wraps its layers for good.
    trainer = recorded.new_trainer()
    network, sides = trainer.network, sides_of(trainer)
    network.load(point.weights)
    network.switch(training=False)
    names = tracked_layers(network)
    if not names:
        raise DataError("no linear layer is trained, and kronfluence knows no other", "leave ekfac out")
    total = sum(weight.numel() for weight in network.trainable)
    part = sum(weight.numel() for name in names for weight in network.model.get_submodule(name).parameters())
    task = _task(network, sides, names)
    model = prepare_model(network.model, task)
    torch.manual_seed(recorded.settings.seed)
    pool, test = (Places(len(side)) for side in sides)
    with tempfile.TemporaryDirectory() as folder:
        analyzer = Analyzer("ekfac", model, task, cpu=True, output_dir=folder, disable_tqdm=True)
        # One example at a time: no padding enters a layer's covariances.
        analyzer.fit_all_factors("all", pool, per_device_batch_size=1, factor_args=FactorArguments(strategy="ekfac"))
        # Each batch of test examples goes through the whole pool once more. Padding has no gradient, and adds nothing.
        together = max(1, min(len(test), QUERY_BYTES // (4 * part)))
        damped = ScoreArguments(damping_factor=None)
        analyzer.compute_pairwise_scores("all", "all", test, pool, together, 1, score_args=damped)
        scores = analyzer.load_pairwise_scores("all")["all_modules"]
    meaning = (
        f"influence with kronfluence's EK-FAC Hessian, damped by a tenth of its mean eigenvalue, over {len(names)} linear "
        f"layers ({part / total:.0%} of what is trained)"
    )
    return {"ekfac": Matrix(np.asarray(scores.T.double().numpy()), meaning)}


def tracked_layers(network: Network) -> list[str]:
    """The names of the trained linear layers but the output layer."""
    return [
        name
        for name, module in network.model.named_modules()
        if isinstance(module, nn.Linear) and module is not network.head and module.weight.requires_grad
    ]


def _task(network: Network, sides: tuple[Side, Side], names: list[str]) -> Any:
    from kronfluence.task import Task  # type: ignore[import-not-found]

    class Losses(Task):  # type: ignore[misc]
        """The loss of a pool example, with its own targets or with what the model draws, and of a test example."""

        def compute_train_loss(self, batch: Tensor, model: nn.Module, sample: bool = False) -> Float[Tensor, ""]:
            """Summed over the batch, as kronfluence has it."""
            part = sides[0].take(batch.tolist()).batch(network)
            return drawn_loss(network.logits(part)) if sample else network.loss(part) * len(batch)

        def compute_measurement(self, batch: Tensor, model: nn.Module) -> Float[Tensor, ""]:
            """The loss whose change is told."""
            return network.loss(sides[1].take(batch.tolist()).batch(network)) * len(batch)

        def get_influence_tracked_modules(self) -> list[str]:
            """The trained linear layers."""
            return names

    return Losses()


def drawn_loss(logits: Float[Tensor, "asked vocabulary"]) -> Float[Tensor, ""]:
    """A loss of one example whose gradient's outer product is, on average, its part of the Gauss-Newton matrix.

    Each token is drawn from what the model says. The example's loss is a mean over n tokens, and so is its matrix; the
    gradients of drawn tokens have no mean, so that the sum's outer product is the sum of theirs: hence 1 / √n.
    """
    with torch.no_grad():
        drawn = torch.multinomial(logits.softmax(-1), 1)[:, 0]
    return nn.functional.cross_entropy(logits, drawn, reduction="sum") / len(drawn) ** 0.5
