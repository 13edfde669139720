"""From a seed or a set of examples to the batches of a run: one definition for recording and simulating."""

import math
from enum import IntEnum

import numpy as np
from jaxtyping import Float, Int

from gptfl.core.schedules import SCHEDULES as SCHEDULES
from gptfl.core.schedules import constant as constant
from gptfl.core.schedules import linear_decay as linear_decay
from gptfl.errors import UsageError


class Stream(IntEnum):
    """What is drawn from the seed of a command: each draw is from a stream of its own."""

    POOL_ROWS = 2
    TEST_ROWS = 3
    ERRANDS_HABITS = 10
    ERRANDS_SIDES = 11
    ERRANDS_TEXTS = 12
    HELD_OUT_TRAIN = 21
    HELD_OUT_TEST = 22
    RESERVE = 23
    CLUSTERS = 24
    TARGET_SPLIT = 31
    RANDOM_SUBSETS = 32
    SWAPS = 33
    STARTS = 34
    MIXTURES = 35
    REMOVED_ROWS = 36
    FORECAST_ORDER = 41


class RunStream(IntEnum):
    """What is drawn from the seed of a run (``run_seed``)."""

    SUBSET = 0
    BATCHES = 1
    PARTNERS = 3
    DEALING = 5
    RESERVED = 6
    CHECKING_ORDER = 7
    NEXT = 8


class TinyStream(IntEnum):
    """What is drawn from the seed of the built-in model, beside the texts of ``Stream.ERRANDS_TEXTS``."""

    WINDOWS = 2


class SyntheticStream(IntEnum):
    """What is drawn from the seed of a synthetic recording."""

    TRAJECTORIES = 2
    FEATURES = 3
    GRADIENTS = 4


def generator(*key: int) -> np.random.Generator:
    """A random generator that depends on the key alone: the same on every machine."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))


def check_seed(seed: int) -> None:
    """Raise ``UsageError`` unless a seed is a number that a file can hold: 0 or more, below 2**63."""
    if not 0 <= seed < 2**63:
        raise UsageError(f"is {seed}", "give a whole number from 0 to 2**63 - 1", option="seed")


def run_seed(seed: int, index: int) -> int:
    """The seed of run ``index``, independent of how many runs there are."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1)[0])


def draw_subset(pool: int, size: int, seed: int) -> Int[np.ndarray, " subset"]:
    """Draw ``size`` different examples of the pool, uniformly (the paper's design)."""
    if size > pool:
        raise UsageError(f"--subset-size {size} is larger than the pool of {pool}", "ask for a smaller subset")
    return generator(seed, RunStream.SUBSET).permutation(pool)[:size]


def count_steps(subset: int, batch_size: int, epochs: float) -> int:
    """How many batches it takes to see every example of a subset ``epochs`` times."""
    return max(1, math.ceil(subset * epochs / batch_size))


def fill_batches(
    subset: Int[np.ndarray, " subset"], batch_size: int, steps: int, seed: int
) -> Int[np.ndarray, "step batch"]:
    """The places of a run's batches: the subset in fresh shuffles, one after the other, until every batch is full.

    Args:
        subset: places in the pool, each once.
        batch_size: examples a step.
        steps: how many batches.
        seed: the run's seed, of which the shuffles are drawn.

    Raises ``UsageError`` where the subset is empty.
    """
    if len(subset) == 0:
        raise UsageError("the subset is empty", "name at least one example")
    random = generator(seed, RunStream.BATCHES)
    stream = np.empty(steps * batch_size, dtype=np.int64)
    for begin in range(0, len(stream), len(subset)):
        stream[begin : begin + len(subset)] = random.permutation(subset)[: len(stream) - begin]
    return stream.reshape(steps, batch_size)


def presentation_weights(
    batches: Int[np.ndarray, "*run step batch"],
    learning_rates: Float[np.ndarray, "*run step"],
    weights: Float[np.ndarray, " pool"] | None = None,
) -> Float[np.ndarray, "*run step"]:
    """How much seeing an example once at each step counts: the step size times its share of the batch.

    The loss of a batch is the mean over its examples, so that the share is 1 over the number of filled places. An
    example that is twice in a batch is seen twice; -1 is padding; a step without examples has weight 0. The exposures
    of a run to all its examples thus add up to its step sizes, whatever its batches.

    Where the loss is a mean over tokens, an example's share is its tokens over the batch's. With ``weights``, in
    proportion to these and 1 for a usual example (``relative_weights``), what is told is the share of an example of
    weight 1; another's is its weight times as much.
    """
    if weights is None:
        filled = (batches >= 0).sum(axis=-1)
    else:
        filled = np.where(batches >= 0, weights[batches], 0.0).sum(axis=-1)
        return np.asarray(np.where(filled > 0, learning_rates / np.where(filled > 0, filled, 1.0), 0.0))
    return np.asarray(np.where(filled > 0, learning_rates / np.maximum(filled, 1), 0.0))


def recorded_steps(steps: int, every: int) -> Int[np.ndarray, " recorded"]:
    """Step 0, every ``every``-th step and the last one."""
    return np.unique(np.append(np.arange(0, steps + 1, every), steps)).astype(np.int64)


def spread_points(steps: int, count: int) -> Int[np.ndarray, " point"]:
    """``count`` steps from 0 to the last, evenly spaced; one is step 0."""
    return np.unique(np.linspace(0, steps, count).round().astype(np.int64))
