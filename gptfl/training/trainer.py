"""Fine-tunes a model along a plan and records what it scores: the loop that everything is about."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import nn

from gptfl.core import Curriculum, Example, Run
from gptfl.core.curriculum import recorded_steps, run_seed
from gptfl.core.recording_settings import ADAMW, DECAYS, MEANS, PER_TOKEN, SETTINGS
from gptfl.core.schedules import SCHEDULES
from gptfl.errors import DataError
from gptfl.interruption import uninterrupted
from gptfl.plugins.interfaces import Metric, Plan
from gptfl.training.batching import plan_batches
from gptfl.training.checkpoints import CheckpointWriter
from gptfl.training.distributed import ALONE, ProcessGroup, whole
from gptfl.training.evaluation import Evaluator, NotFiniteError
from gptfl.training.gradients.directional import AlongRun
from gptfl.training.gradients.sides import test_side
from gptfl.training.model_config import longest_input
from gptfl.training.models import LoadedModel, check_tokens
from gptfl.training.network import Batch, Network
from gptfl.training.optimisers import make_optimiser
from gptfl.training.precision import loss_scaler
from gptfl.training.prompts import Decoding
from gptfl.training.tokenization import Tokenizer, training_rows

SCALINGS = 24
"""How often the loss scale of fp16 is halved for one step: to 2**-8 from where it begins."""


@dataclass(frozen=True, slots=True)
class TrainerSettings:
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
    lora: str | None = None
    """Adapters to train instead of the weights, as ``--lora`` takes them."""
    accumulate: int = 1
    """Into how many passes the computing of a batch is cut; the mathematics is the same."""
    processes: int = 1
    shard: bool = False
    """Whether each process keeps only its part of the model (FSDP)."""
    seed: int = 0
    """What the adapters' first values come from, and what is drawn when text is sampled."""
    derivatives: bool = False
    """Whether to record what the gradients along each run predict of its test losses."""
    warmup: float = 0
    """Steps of warm-up, or below 1 the share of them."""
    clip_norm: float | None = None
    """The largest norm of a step's gradient; None for any."""
    optimiser: str = ADAMW
    momentum: float | None = None
    """Of SGD and Muon."""
    decay: str = DECAYS[0]
    """Which weights decay."""
    loss_mean: str = MEANS[0]
    """What a step's loss is the mean over."""
    dropout: bool = True
    """Whether the model and its adapters are trained with the dropout that they have."""
    packing: str | None = None
    """How examples come together in rows, of which ``batch_size`` make a step; none where each is a row."""
    group_by_length: bool = False
    """Whether batches are made of examples of about one length."""
    quantize: str | None = None
    """How weights that aren't trained are kept."""
    end_token: bool | None = None
    """Whether the token that ends an answer is a part of the target; None: of conversations."""
    chat_template: str | None = None
    """The template of conversations, instead of the tokenizer's."""

    def rates(self, steps: int) -> Float[np.ndarray, " step"]:
        """The step sizes of a run."""
        return SCHEDULES[self.schedule](self.learning_rate, steps, self.warmup)

    def to_json(self) -> dict[str, Any]:
        """As JSON has it; what older versions didn't know is there only where it isn't as it was then."""
        known = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return {name: value for name, value in known.items() if SETTINGS[name].kept(value, True)}


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
    derivatives: Mapping[str, Float[np.ndarray, "recorded test"]] = field(default_factory=dict)

    def add(self, step: int, values: Mapping[str, Float[np.ndarray, " test"]]) -> None:
        """Keep what was measured after ``step`` updates."""
        self.steps.append(step)
        self.values.append(values)

    def run(self, plan: Plan, batches: Int[np.ndarray, "step batch"], rates: Float[np.ndarray, " step"]) -> Run:
        """The run that was carried out so far."""
        names = self.values[0] if self.values else {}
        metrics = {name: np.stack([values[name] for values in self.values]) for name in names}
        steps = np.array(self.steps, dtype=np.int64)
        curriculum = Curriculum(batches, rates)
        return Run(plan.index, plan.seed, plan.role, curriculum, steps, metrics, self.derivatives)


class RecordingTrainer:
    """One model, one pool, one test set; every plan starts from the same weights in memory."""

    def __init__(
        self,
        loaded: LoadedModel,
        pool: tuple[Example, ...],
        test: tuple[Example, ...],
        metrics: tuple[Metric, ...],
        recipe: TrainerSettings,
        group: ProcessGroup = ALONE,
        checkpoint_writer: CheckpointWriter | None = None,
        files: Mapping[str, str] | None = None,
    ) -> None:
        self.recipe, self.group, self.pool = recipe, group, pool
        self.checkpoint_writer = checkpoint_writer
        self.tokenizer = Tokenizer(
            loaded.tokenizer,
            recipe.max_length,
            longest_input(loaded.model.config),
            end_token=recipe.end_token,
            template=recipe.chat_template,
            name=f"--model {loaded.source.name}",
            files=files,
        )
        self.tokenizer.read(pool, "pool")
        self.tokenizer.read(test, "test", any("choices" in metric.needs for metric in metrics))
        self.network = Network(
            loaded,
            recipe.train_layers,
            recipe.precision,
            lora=recipe.lora,
            seed=recipe.seed,
            dropout=recipe.dropout,
            quantize=recipe.quantize,
        )
        self.rows = training_rows(self.tokenizer, pool)
        check_tokens(loaded, ((*row.input_ids, *row.tokens) for row in self.rows))
        self.network.check([*self.rows, *training_rows(self.tokenizer, test, "test")])
        if group.shard:
            self.network.shard(group.device)
        gpu = self.network.device.type != "cpu"
        budget = recipe.evaluation_tokens or (32768 if gpu else 2048)
        overhead = 1024 if gpu else 32
        decoding = Decoding(recipe.decode, recipe.generate_tokens, recipe.seed)
        self.evaluator = Evaluator(
            self.network,
            self.tokenizer,
            test=test,
            metrics=metrics,
            budget=budget,
            overhead=overhead,
            decoding=decoding,
            group=group,
        )
        layout = plan_batches([len(row.input_ids) for row in self.rows], budget, overhead)
        self.hidden = self.network.lower(self.rows, layout)
        self.scaler = loss_scaler(recipe.precision, self.network.device)
        self.clipped: torch.Tensor | None = None
        """The factor that the last step's gradient was shortened by; None without clipping."""
        self.along: AlongRun | None = None
        if recipe.derivatives:
            self.along = AlongRun(self.network, test_side(self.network, self.tokenizer, self.evaluator))

    def optimiser(self) -> torch.optim.Optimizer:
        """A fresh optimiser over the trainable weights, and a fresh loss scale with it."""
        self.scaler = loss_scaler(self.recipe.precision, self.network.device)
        return make_optimiser(self.network, self.recipe)

    def batch(self, members: Int[np.ndarray, " batch"]) -> Batch:
        """The batch of these pool examples (-1 is padding), in one piece."""
        return self._piece([int(i) for i in members if i >= 0], None)

    def pieces(self, members: Int[np.ndarray, " batch"]) -> list[Batch]:
        """This process's part of the batch, in as many pieces as ``accumulate`` says; their losses add up.

        It may be none, where the batch has fewer examples than there are processes.
        """
        of = self._counted([int(i) for i in members if i >= 0])
        parts = self.parts(members)
        if self.group.shard:  # all must compute equally often: an empty part becomes one that counts nothing
            return [self._piece(part or [0], of if part else math.inf) for part in parts]
        return [self._piece(part, of) for part in parts if part]

    def parts(self, members: Int[np.ndarray, " batch"]) -> list[list[int]]:
        """The pool examples of each of these pieces, in the order of its rows; some may be empty."""
        mine = np.array(self.group.share([int(i) for i in members if i >= 0]), dtype=np.int64)
        if self.recipe.accumulate > 1:  # rows of about one length in a piece: less padding is computed
            mine = mine[np.argsort([len(self.rows[i].input_ids) for i in mine], kind="stable")]
        return [part.tolist() for part in np.array_split(mine, self.recipe.accumulate)]

    def _counted(self, members: list[int]) -> int:
        """How many of what the loss is the mean over these examples have."""
        if self.recipe.loss_mean == PER_TOKEN:
            return sum(len(self.rows[i].tokens) for i in members)
        return len(members)

    def _piece(self, members: list[int], of: float | None) -> Batch:
        hidden = None if self.hidden is None else [self.hidden[i] for i in members]
        per_token = self.recipe.loss_mean == PER_TOKEN
        return Batch([self.rows[i] for i in members], hidden, self.network.device, of, per_token)

    def step(self, optimiser: torch.optim.Optimizer, pieces: Sequence[Batch], learning_rate: float) -> torch.Tensor:
        """One update by the pieces of a batch; returns the loss before it, still on the device.

        Where fp16 overflows, the scaler leaves the weights alone and halves the loss's scale; the same batch is then
        computed again, so that no step of the curriculum is lost. A loss is infinite where no scale fits.
        """
        for settings in optimiser.param_groups:
            settings["lr"] = learning_rate
        self.network.switch(training=True)
        for _ in range(SCALINGS):
            with uninterrupted():  # autograd calls hooks back, which would swallow a Ctrl-C
                loss = self.differentiate(pieces)
            scale = self.scaler.get_scale()
            if self.along is not None or self.recipe.clip_norm is not None:
                self.scaler.unscale_(optimiser)
            self.clip_gradients()
            self.scaler.step(optimiser)
            self.scaler.update()
            if self.along is not None and self.scaler.get_scale() >= scale:
                self.along.add(learning_rate)
            optimiser.zero_grad(set_to_none=True)
            if self.scaler.get_scale() >= scale or not torch.isfinite(loss):
                return loss
        return torch.full_like(loss, math.inf)

    def clip_gradients(self) -> None:
        """Shorten the step's gradient to the longest allowed, and note by what factor."""
        longest = self.recipe.clip_norm
        if longest is not None:
            norm = whole(nn.utils.clip_grad_norm_(self.network.trainable, longest))
            # As torch has it: a gradient of just this length becomes shorter by a millionth.
            self.clipped = (longest / (norm + 1e-6)).clamp(max=1.0)

    def differentiate(self, pieces: Sequence[Batch]) -> torch.Tensor:
        """Fill in the (scaled) gradients of the whole batch's loss, summed over all processes; returns the loss."""
        total = torch.zeros((), device=self.network.device)
        for piece in pieces:
            loss = self.network.loss(piece)
            # FSDP averages the gradients of the processes, and what is wanted is their sum.
            self.scaler.scale(loss * self.group.size if self.group.shard else loss).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        if self.group.size > 1 and not self.group.shard:
            for weight in self.network.trainable:
                if weight.grad is None:  # this process had no example
                    weight.grad = torch.zeros_like(weight)
            self.group.add(weight.grad for weight in self.network.trainable if weight.grad is not None)
        self.group.add([total])
        return total

    def run(self, plan: Plan, on_step: Callable[[int, int], None]) -> Run:
        """Train along the plan's batches and measure at step 0 and every recorded step.

        Raises ``DivergedError`` where a batch's loss or what is measured after it is not finite, with what
        was recorded before, and ``NotFiniteError`` where that is so before any training.
        """
        started = time.perf_counter()
        total = len(plan.batches)
        rates = self.recipe.rates(total)
        due = set(recorded_steps(total, self.recipe.record_every).tolist())
        generated = set(recorded_steps(total, self.recipe.generate_every or self.recipe.record_every).tolist())
        track = Track()
        # Dropout draws other masks in each process, or different examples would share theirs.
        torch.manual_seed(plan.seed if self.group.main else run_seed(plan.seed, self.group.rank))
        self.network.restore()
        optimiser = self.optimiser()
        self._record(track, plan, 0, True)
        for step, members in enumerate(plan.batches, start=1):
            loss = self.step(optimiser, self.pieces(members), float(rates[step - 1]))
            try:
                if not torch.isfinite(loss):
                    raise NotFiniteError(f"the loss of the batch is {float(loss)}")
                if step in due:
                    self._record(track, plan, step, step in generated)
            except NotFiniteError as error:
                ids = ", ".join(self.pool[i].id for i in members if i >= 0)
                kept = track.run(plan, plan.batches[: step - 1], rates[: step - 1])
                raise DivergedError(
                    f"{kept.name}: {error.problem} at step {step} of {total} (batch: {ids})",
                    "lower --lr, or look at these examples",
                    kept,
                ) from error
            on_step(step, total)
        return replace(track.run(plan, plan.batches, rates), seconds=time.perf_counter() - started)

    def _record(self, track: Track, plan: Plan, step: int, generate: bool) -> None:
        track.add(step, self.evaluator.measure(generate))
        if self.along is not None:
            track.derivatives = self.along.record(step)
        if self.checkpoint_writer is not None:
            self.checkpoint_writer.save(self.network, self.group, plan.index, step)
