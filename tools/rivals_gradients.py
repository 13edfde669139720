"""Scores by gradients: products and cosines at single points, LESS along a training, TRAK over several trainings.

All go by the exact gradients of single examples that gptfl takes. LESS and TRAK project them at random, as they do in
their papers, by gptfl's own projection.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from rivals_recorded import Matrix, Recorded, Snapshot, losses_of, pieces_of
from torch import Tensor

from gptfl.core.curriculum import run_seed
from gptfl.core.recording_settings import ADAMW
from gptfl.errors import DataError
from gptfl.training.gradients.blocks import Arrangement, Weights, all_products, default_memory
from gptfl.training.gradients.factored import Block, Held
from gptfl.training.gradients.projection import Projection, ProjectionRequest, project
from gptfl.training.gradients.sides import Side
from gptfl.training.gradients.tape import Tape

DIMENSIONS = 8192
"""Numbers of a projected gradient: LESS's own choice."""
TRAININGS = 3
"""How many trainings TRAK averages over."""
DAMPING = 0.1
"""What is added to the diagonal of TRAK's kernel, as a share of the mean eigenvalue: with fewer examples than numbers of
a projected gradient it has no inverse otherwise."""
Turn = Callable[[int, Tensor], Tensor]
"""What is made of a parameter's gradients (its place; example by number) before they are projected."""


def at_start(recorded: Recorded) -> dict[str, Matrix]:
    """Products and cosines of gradients before any training."""
    return _at_point(recorded, None)


def at_end(recorded: Recorded) -> dict[str, Matrix]:
    """The same at the end of a training on the whole pool."""
    return _at_point(recorded, recorded.trained()[-1])


def _at_point(recorded: Recorded, point: Snapshot | None) -> dict[str, Matrix]:
    where, meaning = ("start", "before training") if point is None else ("end", f"after {point.step} steps on the pool")
    tape, (pool, test) = recorded.tape, recorded.sides
    with _At(recorded, point):
        found = all_products(tape, pool, test, None, _arranged(tape, pool, test))
        lengths = all_products(tape, test, test.take([0]), None, _arranged(tape, test, test.take([0]))).own
    assert found.own is not None
    assert lengths is not None
    raw, sizes = found.raw.numpy(), found.own.sqrt().numpy()[:, None] * lengths.sqrt().numpy()
    cosine = np.divide(raw, sizes, out=np.zeros_like(raw), where=sizes > 0)
    return {
        f"grad-dot-{where}": Matrix(
            raw, f"product of the losses' gradients {meaning}: the first order of a step of SGD"
        ),
        f"grad-cosine-{where}": Matrix(cosine, f"cosine of the losses' gradients {meaning}"),
    }


def _arranged(tape: Tape, pool: Side, test: Side) -> Arrangement:
    memory = default_memory(tape.network.device)
    return Arrangement.fit(pool, test, Weights.measured(tape, pool), memory, divided=False)


class _At:
    """Within, the network has the weights of a point; None is the start."""

    def __init__(self, recorded: Recorded, point: Snapshot | None) -> None:
        self.network, self.point = recorded.trainer.network, point

    def __enter__(self) -> None:
        if self.point is not None:
            self.network.load(self.point.weights)

    def __exit__(self, *error: object) -> None:
        self.network.restore()


# ---------------------------------------------------------------- LESS


def less(recorded: Recorded) -> dict[str, Matrix]:
    """LESS (Xia et al., 2024): cosines of Adam's steps with test gradients, added up over the passes of a training.

    Its warm-up is the training on the whole pool by the recording's own recipe. Raises ``DataError`` for another
    optimiser than AdamW.
    """
    if recorded.recipe.optimiser != ADAMW:
        raise DataError(
            f"LESS follows AdamW, and the recording's optimiser is {recorded.recipe.optimiser}", "leave it out"
        )
    tape, (pool, test) = recorded.tape, recorded.sides
    total = np.zeros((len(pool), len(test)))
    points = recorded.trained()
    for point in points:
        projection = Projection(DIMENSIONS, run_seed(recorded.settings.seed, point.step), tape.network.trainable[0])
        with _At(recorded, point):
            ours = projected(tape, pool, projection, _adam_step(recorded, point))
            theirs = projected(tape, test, projection)
        total += point.rate * (_unit(ours) @ _unit(theirs).T).double().numpy()
    steps = ", ".join(str(point.step) for point in points)
    meaning = (
        f"cosine of Adam's step by the training example and the test gradient, times step sizes, over steps {steps}"
    )
    return {"less": Matrix(total, meaning)}


def _adam_step(recorded: Recorded, point: Snapshot) -> Turn:
    """What Adam would do next if it saw one example alone; its learning rate is left out.

    As LESS computes it, without correcting the moments for their start.
    """
    one, two = recorded.recipe.betas
    names = recorded.trainer.network.names

    def turn(place: int, gradients: Tensor) -> Tensor:
        name = names[place]
        if name not in point.first:  # never had a gradient
            return torch.zeros_like(gradients)
        first, second = point.first[name].flatten(), point.second[name].flatten()
        moved = one * first + (1 - one) * gradients
        return moved / (two * second + (1 - two) * gradients.square() + recorded.recipe.epsilon).sqrt()

    return turn


def projected(tape: Tape, side: Side, projection: Projection, turn: Turn | None = None) -> Float[Tensor, "example d"]:
    """A random projection of what ``turn`` makes of each example's gradient, else of the gradient itself."""
    found = torch.zeros(len(side), projection.dimensions)
    for piece in pieces_of(tape, side):
        block = tape.record(side.take(piece))
        if turn is not None:
            block = _turned(tape, block, turn)
        found[piece] = project(block, [ProjectionRequest(projection)], None)[0][0]
    return found


def _turned(tape: Tape, block: Block, turn: Turn) -> Block:
    """Gradients of all parameters, written out; of those that no example's loss depends on, zeros."""
    held = {}
    for place, weight in enumerate(tape.network.trainable):
        known = block.held.get(place)
        gradients = torch.zeros(block.count, weight.numel()) if known is None else known.dense(block.count)
        held[place] = Held(tuple(weight.shape), whole=turn(place, gradients))
    return Block(block.count, held)


def _unit(vectors: Float[Tensor, "example d"]) -> Float[Tensor, "example d"]:
    return torch.nn.functional.normalize(vectors, dim=1)


# ---------------------------------------------------------------- TRAK


def trak(recorded: Recorded) -> dict[str, Matrix]:
    """TRAK (Park et al., 2023) over the ends of several trainings on the whole pool, each with a projection of its own.

    The output that it attributes is log(p / (1 - p)), p being the exponential of minus the example's loss; scores are
    turned to the loss itself by the chain rule.
    """
    kernels, weights = [], []
    for number in range(TRAININGS):
        kernel, weight = _one_trak(recorded, number)
        kernels.append(kernel)
        weights.append(weight)
    scores = np.mean(weights, axis=0)[:, None] * np.mean(kernels, axis=0)
    meaning = f"TRAK over {TRAININGS} trainings, {DIMENSIONS} numbers, damped by {DAMPING:g} of the mean eigenvalue"
    return {"trak": Matrix(scores, meaning)}


def _one_trak(recorded: Recorded, number: int) -> tuple[Float[np.ndarray, "pool test"], Float[np.ndarray, " pool"]]:
    """One training's (K + damping)^-1 Φ φᵀ, and by what training examples count in it, 1 - p."""
    tape, (pool, test) = recorded.tape, recorded.sides
    projection = Projection(DIMENSIONS, run_seed(recorded.settings.seed, number), tape.network.trainable[0])
    with _At(recorded, recorded.trained(number)[-1]):
        ours, theirs = (projected(tape, side, projection).double() for side in (pool, test))
        doubt = 1 - torch.exp(-losses_of(tape, pool).double())
    # The gradient of log(p / (1 - p)) is that of the loss over -(1 - p).
    features = ours / doubt[:, None]
    kernel = features @ features.T
    kernel.diagonal().add_(DAMPING * kernel.diagonal().mean())
    found = torch.linalg.solve(kernel, features @ theirs.T)
    return found.numpy(), doubt.numpy()
