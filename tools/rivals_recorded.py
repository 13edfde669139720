"""A recording as other attribution methods need it: its texts, its model, and trainings on its whole pool."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gptfl.core import Example, TaskData
from gptfl.core.curriculum import run_seed
from gptfl.core.examples import RESERVED
from gptfl.core.packing import Batching
from gptfl.designs.draws import LEAVE_SMALL, ORDERS
from gptfl.errors import DataError
from gptfl.plugins.guards import make_metric
from gptfl.plugins.interfaces import Plan
from gptfl.recording.recording import open_recording, with_texts
from gptfl.recording.reference_run import REFERENCE
from gptfl.recording.tokens import check_tokens
from gptfl.recording.trainers import TrainerMaker, check_weights, model_of, recipe_of
from gptfl.simulation.schedule import batching_in
from gptfl.training.gradients.blocks import Weights as Sizes
from gptfl.training.gradients.blocks import default_memory, pieces_within
from gptfl.training.gradients.sides import Side, measured_exactly, test_side
from gptfl.training.gradients.tape import Tape
from gptfl.training.reference_run import check_against_autograd, reference_plan
from gptfl.training.trainer import RecordingTrainer


@dataclass(frozen=True, slots=True)
class Matrix:
    """A method's scores: positive where a training example makes the loss on a test example smaller.

    ``meaning`` says what a score is, and of which scale.
    """

    scores: Float[np.ndarray, "pool test"]
    meaning: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A point of a training: its weights, AdamW's moments, and what it took to get there.

    ``rate`` is the mean step size since the snapshot before, ``seconds`` the training from its beginning.
    ``first`` and ``second`` are empty for other optimisers.
    """

    step: int
    rate: float
    weights: Mapping[str, Tensor]
    first: Mapping[str, Tensor]
    second: Mapping[str, Tensor]
    seconds: float


class Recorded:
    """One recording, its model loaded when it is first needed.

    Raises ``DataError`` where the recording can't be read or doesn't say how it was trained, and where the model is
    another than the recorded one or makes other tokens of the examples.
    """

    def __init__(self, path: Path, model: str | None = None, data: Path | None = None) -> None:
        self.recording = open_recording(path)
        self.settings = self.recording.dynamics.settings
        self.pool, self.test = with_texts(self.recording, data)
        self.recipe = replace(recipe_of(self.recording.dynamics), derivatives=False, processes=1, shard=False)
        self.model = model
        self._trainings: dict[int, list[Snapshot]] = {}

    def new_trainer(self) -> RecordingTrainer:
        """A trainer by the recording's recipe on a model of its own, at the weights before any training."""
        model, where = model_of(self.recording, self.model), str(self.recording.path)
        names = list(self.settings.metrics or ["loss"])
        metrics = [make_metric(self.recording.registry, name) for name in names]
        read = tuple(metric for metric in metrics if "generated" not in metric.needs)
        data = TaskData(self.settings.task, self.pool, self.test)
        trainer = TrainerMaker(model, "cpu", data, read, self.recipe)()
        check_weights(self.recording, trainer.network.loaded.weights_hash, model)
        check_tokens(self.settings, trainer.tokenizer, self.pool, self.test, trainer.evaluator.choices, where)
        return trainer

    @cached_property
    def trainer(self) -> RecordingTrainer:
        """The one that all methods share which leave the model as it is."""
        return self.new_trainer()

    @cached_property
    def tape(self) -> Tape:
        """Takes the gradients of single examples, checked against autograd's."""
        tape = Tape(self.trainer.network)
        check_against_autograd(tape, self.sides[0])
        return tape

    @cached_property
    def sides(self) -> tuple[Side, Side]:
        """The examples of the pool and the test examples, as tokens."""
        return sides_of(self.trainer)

    @property
    def open(self) -> Int[np.ndarray, " open"]:
        """The places in the pool that a training on all of it draws from."""
        return np.array([i for i, example in enumerate(self.pool) if not example.fields.get(RESERVED)])

    def epochs(self) -> list[int]:
        """The steps at which a training on the whole pool has seen it once, twice and so on, and the last step."""
        batching, steps = self._batching, self.settings.steps
        passes = range(1, 1 + steps)
        ends = [batching.steps(self.open, count) for count in passes]
        return sorted({steps, *(end for end in ends if end <= steps)})

    def plan(self, number: int = 0) -> Plan:
        """The batches of a training on the whole pool, in an order by ``number`` that no recorded run has."""
        seed = run_seed(self.settings.seed, REFERENCE + number)
        return reference_plan(self.open, self._batching, self.settings.steps, seed)

    def whole_runs(self) -> list[Plan]:
        """The batches and seeds of the recorded runs on the whole pool, which the design ``leave-small`` begins with.

        None for other designs.
        """
        if self.settings.design != LEAVE_SMALL:
            return []
        runs = [run for run in self.recording.dynamics.runs if run.index < ORDERS]
        return [Plan(run.index, run.seed, run.role, run.curriculum.batches) for run in runs]

    def trained(self, number: int = 0) -> list[Snapshot]:
        """A training on the whole pool by the recording's recipe, at the end of each pass over it; seeded by ``number``.

        The weights are those of the start afterwards. Raises ``DataError`` where its loss isn't finite.
        """
        if number not in self._trainings:
            self._trainings[number] = list(self._train(number))
        return self._trainings[number]

    def _train(self, number: int) -> Iterator[Snapshot]:
        trainer, steps = self.trainer, self.settings.steps
        plan = self.plan(number)
        rates, ends = trainer.recipe.rates(steps), self.epochs()
        torch.manual_seed(plan.seed)
        trainer.network.restore()
        optimiser = trainer.optimiser()
        seconds, since = 0.0, 0
        for step in range(1, steps + 1):
            started = time.process_time()
            loss = trainer.step(optimiser, trainer.pieces(plan.batches[step - 1]), float(rates[step - 1]))
            if not torch.isfinite(loss):
                raise DataError(
                    f"the training on the whole pool has the loss {float(loss)} at step {step}", "lower --lr"
                )
            seconds += time.process_time() - started
            if step in ends:
                moments = [self._moments(optimiser, name) for name in ("exp_avg", "exp_avg_sq")]
                rate, since = float(rates[since:step].mean()), step
                # On a CPU these are the network's own, which train on.
                weights = {name: weight.clone() for name, weight in trainer.network.weights().items()}
                yield Snapshot(step, rate, weights, *moments, seconds)
        trainer.network.restore()

    def _moments(self, optimiser: torch.optim.Optimizer, which: str) -> dict[str, Tensor]:
        network, state = self.trainer.network, optimiser.state
        pairs = zip(network.names, network.trainable, strict=True)
        return {name: state[weight][which].clone() for name, weight in pairs if which in state.get(weight, {})}

    @property
    def _batching(self) -> Batching:
        return batching_in(self.recording.dynamics) or Batching(self.settings.batch_size)


def sides_of(trainer: RecordingTrainer) -> tuple[Side, Side]:
    """The pool and the test examples of a trainer, as tokens."""
    return Side(trainer.rows, trainer.hidden), test_side(trainer.network, trainer.tokenizer, trainer.evaluator)


def pieces_of(tape: Tape, side: Side) -> list[list[int]]:
    """The examples of a side, in pieces whose gradients fit into memory."""
    return pieces_within(side, Sizes.measured(tape, side), default_memory(tape.network.device))


def losses_of(tape: Tape, side: Side) -> Float[Tensor, " example"]:
    """The loss of each example, the mean over its target's tokens."""
    network, found, pieces = tape.network, torch.zeros(len(side)), pieces_of(tape, side)
    with torch.inference_mode(), measured_exactly(network):
        for piece in pieces:
            part = side.take(piece)
            log_probs = network.log_probs(part.batch(network)).split([len(row.tokens) for row in part.rows])
            found[piece] = torch.stack([-one.mean() for one in log_probs])
    return found


def texts_of(examples: tuple[Example, ...]) -> list[str]:
    """The texts that are compared: prompt and target."""
    return [example.text for example in examples]
