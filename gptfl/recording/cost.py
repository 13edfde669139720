"""What a recording will cost: steps, tokens, time, memory and disk, from a few timed steps."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from gptfl.core.display import Listed
from gptfl.core.texts import counted
from gptfl.designs.identification import Identification
from gptfl.plugins.interfaces import Plan
from gptfl.recording.gradient_request import GradientCost
from gptfl.recording.sketch_request import SketchCost
from gptfl.training.checkpoints import BYTES
from gptfl.training.generation import Generator
from gptfl.training.gradients.directional import DIRECTIONS, AlongRun
from gptfl.training.trainer import RecordingTrainer

TIMED_STEPS = 3
TIMED_SECONDS = 2.0
TIMED_TOKENS = 4


@dataclass(frozen=True, slots=True)
class CostEstimate(Listed):
    """The cost of the runs that are left; seconds from timed steps, bytes from shapes.

    ``generated`` is how often a run generates text, and ``seconds_per_generation`` what that takes if every answer
    is as long as it may be. ``seconds_per_derivative`` is what the derivatives along a run take at each recorded
    step, 0 where they aren't recorded; ``gradients`` and ``sketches`` tell of the reference run, and ``seconds`` leaves
    it out.
    ``identifies`` tells what the design leaves unknown; ``follows_gradients`` says whether gradients of single examples are
    recorded, too. ``whole_steps`` is how many steps the asked epochs of the whole pool take, None where none were asked for.
    """

    runs: int
    runs_left: int
    steps: int
    recorded: int
    pool: int
    test: int
    subset: int
    batch_size: int
    learning_rate: float
    device: str
    precision: str
    trained_parameters: int
    parameters: int
    forward_tokens: int
    backward_tokens: int
    seconds_per_step: float
    seconds_per_evaluation: float
    seconds: float
    memory_bytes: int
    file_bytes: int
    processes: int = 1
    checkpoint_bytes: int = 0
    notes: tuple[str, ...] = ()
    generated: int = 0
    generated_tokens: int = 0
    seconds_per_generation: float = 0.0
    seconds_per_derivative: float = 0.0
    gradients: GradientCost | None = None
    sketches: SketchCost | None = None
    reference_bytes: int = 0
    """What keeping the reference run takes on disk."""
    identifies: Identification | None = None
    follows_gradients: bool = False
    whole_steps: int | None = None
    left_out: int | None = None
    """How many of the pool some runs lack, where they are trained on the whole pool but for these."""
    grouped: str | None = None
    """How many groups a run has, of how many by what; None for a design without groups."""
    workers: int | None = 1
    """How many runs the executor carries out at once, each as fast as here; None where that isn't known before."""

    @property
    def elapsed(self) -> float | None:
        """Seconds until the last run is done; ``seconds`` are those of all runs together. None where that isn't known."""
        if self.workers is None:
            return None
        rounds = -(-self.runs_left // self.workers)
        return self.seconds * rounds / self.runs_left if self.runs_left else 0.0

    @property
    def passes(self) -> float:
        """How often a run sees each of its examples."""
        return self.steps * self.batch_size / self.subset

    @property
    def whole_passes(self) -> float:
        """How often a training on the whole pool, of as many steps, sees each example."""
        return self.steps * self.batch_size / self.pool


@dataclass(frozen=True, slots=True)
class Size:
    """The counts of a recording that its cost follows from."""

    runs: int
    runs_left: int
    steps: int
    recorded: int
    subset: int
    batch_size: int
    metrics: int
    generated: int = 0


def _seen_note(plan: Plan, size: Size) -> tuple[str, ...]:
    """That a run is too short to come to all of its examples."""
    seen = len(np.unique(plan.batches[plan.batches >= 0]))
    if seen >= size.subset:
        return ()
    enough = -(-size.subset // size.batch_size)
    return (
        f"a run of {counted(size.steps, 'step')} of {size.batch_size} trains on {seen} of its {size.subset} examples: "
        f"--steps {enough} come to all of them",
    )


def estimate(trainer: RecordingTrainer, plan: Plan, size: Size, notes: tuple[str, ...]) -> CostEstimate:
    """What a recording costs, from a few timed steps and a part of one evaluation; the weights are put back.

    Args:
        trainer: is timed; each process of a group calls this.
        plan: the batches of a run that is still to be recorded, on which steps are timed.
        size: counts of runs, steps and recorded points.
        notes: what to know of the recording, which the estimate shows.
    """
    per_step = _time_steps(trainer, plan)
    # The other processes do as much meanwhile; all take part only where the model is spread over them.
    timed = trainer.group.main or trainer.group.shard
    per_evaluation = _time_evaluation(trainer) if timed else 0.0
    generator = trainer.evaluator.generator
    per_derivative = 0.0 if trainer.along is None else _time_derivatives(trainer, trainer.along)
    per_generation = 0.0 if generator is None or not timed else _time_generation(trainer, generator)
    lengths = [len(row.input_ids) for row in trainer.rows]
    batch_tokens = size.batch_size * sum(lengths) / len(lengths)
    training = int(size.runs_left * size.steps * batch_tokens)
    network = trainer.network
    trained = sum(p.numel() for p in network.trainable)
    whole = sum(p.numel() for p in network.model.parameters())
    points = 0 if trainer.checkpoint_writer is None else len(trainer.checkpoint_writer.steps)
    recipe = trainer.recipe
    test = len(trainer.evaluator.test)
    kinds = 0 if trainer.along is None else len(DIRECTIONS)
    texts = sum(len(e.text.encode()) for e in (*trainer.pool, *trainer.evaluator.test))
    return CostEstimate(
        runs=size.runs,
        runs_left=size.runs_left,
        steps=size.steps,
        recorded=size.recorded,
        pool=len(trainer.pool),
        test=test,
        subset=size.subset,
        batch_size=size.batch_size,
        learning_rate=recipe.learning_rate,
        device=str(network.device),
        precision=recipe.precision,
        trained_parameters=trained,
        parameters=whole,
        forward_tokens=training + size.runs_left * size.recorded * trainer.evaluator.tokens,
        backward_tokens=training,
        seconds_per_step=per_step,
        seconds_per_evaluation=per_evaluation,
        seconds=size.runs_left
        * (
            size.steps * per_step
            + size.recorded * per_evaluation
            + size.generated * per_generation
            + (size.recorded - 1) * per_derivative
        ),
        memory_bytes=_memory_bytes(trainer, trained, whole),
        file_bytes=texts
        + size.runs * (size.recorded * test * (size.metrics + kinds) * 4 + size.steps * (size.batch_size + 1) * 8),
        processes=trainer.group.size,
        checkpoint_bytes=size.runs_left * points * trained * BYTES,
        notes=(*notes, *_seen_note(plan, size)),
        generated=size.generated,
        generated_tokens=0 if generator is None else generator.prompts.limit,
        seconds_per_generation=per_generation,
        seconds_per_derivative=per_derivative,
    )


def _memory_bytes(trainer: RecordingTrainer, trained: int, whole: int) -> int:
    """What a process holds while it trains, of so many trained parameters among the whole model's."""
    hidden = 0 if trainer.hidden is None else sum(h.numel() for h in trainer.hidden)
    hidden += sum(b.hidden.numel() for b in trainer.evaluator.batches if b.hidden is not None)
    parts = trainer.group.size if trainer.group.shard else 1
    # Weights, then for the trained ones a copy to restore from, gradients and AdamW's two moments.
    memory = 4 * ((whole + 4 * trained) // parts + hidden)
    if trainer.along is not None:  # the weights of the last recorded step, and two directions from there
        memory += 4 * 3 * trained
    return memory


def _time_steps(trainer: RecordingTrainer, plan: Plan) -> float:
    optimiser = trainer.optimiser()
    times = []
    for members in plan.batches[: TIMED_STEPS + 1]:
        pieces = trainer.pieces(members)
        times.append(_timed(trainer, lambda pieces=pieces: trainer.step(optimiser, pieces, 0.0)))  # type: ignore[misc]
    trainer.network.restore()
    return statistics.median(times[1:] or times)  # the first step also allocates


def _time_evaluation(trainer: RecordingTrainer) -> float:
    """Seconds of one evaluation: its batches from the longest down until enough time is measured."""
    batches = trainer.evaluator.batches[::-1]
    spent = tokens = 0.0
    mine = sum(batch.inputs.shape[0] * batch.inputs.shape[1] for batch in batches)
    for index, batch in enumerate((batches[-1], *batches)):  # the shortest first, uncounted, as a warm-up
        with trainer.network.measuring():
            seconds = _timed(trainer, lambda batch=batch: trainer.network.log_probs(batch))  # type: ignore[misc]
        if index:
            spent += seconds
            tokens += batch.inputs.shape[0] * batch.inputs.shape[1]
        enough = spent > TIMED_SECONDS
        if trainer.group.broadcast(enough) if trainer.group.shard else enough:
            break
    return spent * mine / tokens


def _time_derivatives(trainer: RecordingTrainer, along: AlongRun) -> float:
    """Seconds of all directions at one recorded step, from one of them along the weights themselves."""
    weights = [weight.detach() for weight in trainer.network.trainable]
    along.slopes.along(weights, weights, batches=1)  # the first derivative also sets up the forward mode
    return len(DIRECTIONS) * _timed(trainer, lambda: along.slopes.along(weights, weights))


def _time_generation(trainer: RecordingTrainer, generator: Generator) -> float:
    """Seconds of generating for every test example, from one group: its prompts read, and a few tokens decoded.

    All rows are taken to go on to the longest answer, so that this is what it takes at most.
    """
    trainer.network.switch(training=False)
    sizes = [sum(len(generator.prompts.ids[index]) for index in group) for group in generator.groups]
    chosen = int(np.argsort(sizes)[len(sizes) // 2])
    group = generator.groups[chosen]
    generator.answers([group[:1]], 1)  # a warm-up
    reading = _timed(trainer, lambda: generator.answers([group], 1))
    few = min(generator.prompts.limit, 1 + TIMED_TOKENS)
    decoding = max(0.0, _timed(trainer, lambda: generator.answers([group], few)) - reading) / max(1, few - 1)
    return float(
        reading * sum(sizes) / sizes[chosen]
        + decoding * (generator.prompts.limit - 1) * sum(map(len, generator.groups)) / len(group)
    )


def _timed(trainer: RecordingTrainer, work: Callable[[], object]) -> float:
    on_gpu = trainer.network.device.type == "cuda"
    started = time.perf_counter()
    work()
    if on_gpu:
        torch.cuda.synchronize()
    return time.perf_counter() - started


Announce = Callable[["CostEstimate"], None]
