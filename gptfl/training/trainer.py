"""Fine-tunes a model along a plan and records what it scores: the loop that everything is about."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int

from gptfl.curricula import SCHEDULES, recorded_steps
from gptfl.errors import DataError
from gptfl.interfaces import Metric, Plan
from gptfl.records import Curriculum, Example, Run
from gptfl.training.encoding import Tokenizer, training_rows
from gptfl.training.evaluation import Evaluator, NotFiniteError
from gptfl.training.generation import Decoding
from gptfl.training.layout import plan_batches
from gptfl.training.models import LoadedModel
from gptfl.training.network import Batch, Network


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a run is trained and recorded; the defaults are the paper's (its section on GPTDynamics)."""

    learning_rate: float
    schedule: str = "linear"
    weight_decay: float = 0.001
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-6
    max_length: int = 2048
    precision: str = "fp32"
    train_layers: int | None = None
    record_every: int = 1
    evaluation_tokens: int = 0
    """Padded tokens of an evaluation batch; 0 chooses by device."""
    generate_tokens: int | None = None
    """The longest answer that metrics of generated text let the model give; None takes it from the references."""
    generate_every: int | None = None
    """How often text is generated, a multiple of ``record_every``; None at every recorded step."""
    decode: str = "greedy"
    seed: int = 0
    """What is drawn when text is sampled depends on it."""


class DivergedError(DataError):
    """A loss or a measured value was not finite; ``run`` holds what was recorded before."""

    def __init__(self, problem: str, remedy: str, run: Run) -> None:
        super().__init__(problem, remedy)
        self.run = run


@dataclass
class Track:
    """Values as they are recorded along a run."""

    steps: list[int] = field(default_factory=list)
    values: list[Mapping[str, Float[np.ndarray, " test"]]] = field(default_factory=list)

    def add(self, step: int, values: Mapping[str, Float[np.ndarray, " test"]]) -> None:
        """Keep what was measured after ``step`` updates."""
        self.steps.append(step)
        self.values.append(values)

    def run(self, plan: Plan, batches: Int[np.ndarray, "step batch"], rates: Float[np.ndarray, " step"]) -> Run:
        """The run that was carried out so far."""
        names = self.values[0] if self.values else {}
        metrics = {name: np.stack([values[name] for values in self.values]) for name in names}
        steps = np.array(self.steps, dtype=np.int64)
        return Run(plan.index, plan.seed, plan.role, Curriculum(batches, rates), steps, metrics)


class RecordingTrainer:
    """One model, one pool, one test set; every plan starts from the same weights in memory."""

    def __init__(
        self,
        loaded: LoadedModel,
        pool: tuple[Example, ...],
        test: tuple[Example, ...],
        metrics: tuple[Metric, ...],
        recipe: Recipe,
    ) -> None:
        self.recipe = recipe
        self.pool = pool
        limit = getattr(loaded.model.config, "max_position_embeddings", None) or recipe.max_length
        self.tokenizer = Tokenizer(loaded.tokenizer, min(recipe.max_length, limit))
        self.tokenizer.count_cuts(pool, "pool")
        self.tokenizer.count_cuts(test, "test", any("choices" in metric.needs for metric in metrics))
        self.network = Network(loaded, recipe.train_layers, recipe.precision)
        gpu = self.network.device.type != "cpu"
        budget = recipe.evaluation_tokens or (32768 if gpu else 2048)
        overhead = 1024 if gpu else 32
        self.rows = training_rows(self.tokenizer, pool)
        self.network.check(self.rows[0])
        decoding = Decoding(recipe.decode, recipe.generate_tokens, recipe.seed)
        self.evaluator = Evaluator(self.network, self.tokenizer, test, metrics, budget, overhead, decoding)
        layout = plan_batches([len(row.input_ids) for row in self.rows], budget, overhead)
        self.hidden = self.network.lower(self.rows, layout)

    def optimiser(self) -> torch.optim.Optimizer:
        """A fresh AdamW over the trainable weights."""
        recipe = self.recipe
        return torch.optim.AdamW(
            self.network.trainable,
            lr=recipe.learning_rate,
            betas=recipe.betas,
            eps=recipe.epsilon,
            weight_decay=recipe.weight_decay,
            fused=True,
        )

    def batch(self, members: Int[np.ndarray, " batch"]) -> Batch:
        """The batch of these pool examples (-1 is padding)."""
        chosen = [int(i) for i in members if i >= 0]
        hidden = None if self.hidden is None else [self.hidden[i] for i in chosen]
        return Batch([self.rows[i] for i in chosen], hidden, self.network.device)

    def step(self, optimiser: torch.optim.Optimizer, batch: Batch, learning_rate: float) -> torch.Tensor:
        """One update; returns the loss before it, still on the device."""
        for group in optimiser.param_groups:
            group["lr"] = learning_rate
        self.network.switch(training=True)
        loss = self.network.loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return loss.detach()

    def run(self, plan: Plan, on_step: Callable[[int, int], None]) -> Run:
        """Train along the plan's batches and measure at step 0 and every recorded step.

        Raises ``DivergedError`` where a batch's loss or what is measured after it is not finite, with what
        was recorded before, and ``NotFiniteError`` where that is so before any training.
        """
        total = len(plan.batches)
        rates = SCHEDULES[self.recipe.schedule](self.recipe.learning_rate, total)
        due = set(recorded_steps(total, self.recipe.record_every).tolist())
        generated = set(recorded_steps(total, self.recipe.generate_every or self.recipe.record_every).tolist())
        track = Track()
        torch.manual_seed(plan.seed)
        self.network.restore()
        optimiser = self.optimiser()
        track.add(0, self.evaluator.measure())
        for step, members in enumerate(plan.batches, start=1):
            loss = self.step(optimiser, self.batch(members), float(rates[step - 1]))
            try:
                if not torch.isfinite(loss):
                    raise NotFiniteError(f"the loss of the batch is {float(loss)}")
                if step in due:
                    track.add(step, self.evaluator.measure(step in generated))
            except NotFiniteError as error:
                ids = ", ".join(self.pool[i].id for i in members if i >= 0)
                kept = track.run(plan, plan.batches[: step - 1], rates[: step - 1])
                raise DivergedError(
                    f"{kept.name}: {error.problem} at step {step} of {total} (batch: {ids})",
                    "lower --lr, or look at these examples",
                    kept,
                ) from error
            on_step(step, total)
        return track.run(plan, plan.batches, rates)
