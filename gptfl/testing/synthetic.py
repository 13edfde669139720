"""Small recordings that follow a known law, so that a check needs no model and no file."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from gptfl.curricula import draw_subset, fill_batches, generator, linear_decay, recorded_steps, run_seed
from gptfl.records import Curriculum, Dynamics, Example, Features, FeatureSet, MetricInfo, Query, Run, role_of

CHOICES = (" yes", " no")
THINGS = ("kettle", "ladder", "window", "parcel", "bicycle", "lantern", "garden", "bridge")
STATES = ("is ready", "was left outside", "needs a new handle", "stands by the door", "looks older than it is")


def make_examples(count: int, prefix: str = "pool", seed: int = 0) -> tuple[Example, ...]:
    """Short two-class examples with different texts; classes alternate."""
    random = generator(seed, sum(prefix.encode()))
    examples = []
    for index in range(count):
        thing, state = THINGS[random.integers(len(THINGS))], STATES[random.integers(len(STATES))]
        prompt = f"Note {index}: the {thing} {state}. Is that good news?"
        examples.append(Example(f"{prefix}-{index}", prompt, CHOICES[index % 2], CHOICES, index % 2))
    return tuple(examples)


def make_dynamics(
    runs: int = 12,
    pool: int = 10,
    test: int = 5,
    steps: int = 12,
    batch_size: int = 3,
    every: int = 1,
    missing: float = 0.0,
    seed: int = 0,
) -> Dynamics:
    """A recording whose loss falls towards a floor, faster where the batch holds kin of the test example.

    A run's subset is half of the pool. ``missing`` is the share of recorded values after the
    first that are NaN. Roles go by index, as in any recording.
    """
    random = generator(seed, 2)
    pull = 1.0 + random.normal(size=(pool, test))
    start = 2.0 + random.random(test)
    curricula = [_curriculum(pool, steps, batch_size, run_seed(seed, index)) for index in range(runs)]
    made = []
    for index, curriculum in enumerate(curricula):
        values = _trajectory(curriculum, pull, start)
        grid = recorded_steps(steps, every)
        recorded = values[grid]
        recorded[1:][random.random(recorded[1:].shape) < missing] = np.nan
        made.append(Run(index, run_seed(seed, index), role_of(index), curriculum, grid, {"loss": recorded}))
    return Dynamics(
        make_examples(pool, "pool", seed),
        make_examples(test, "test", seed),
        {"loss": MetricInfo("loss", higher_is_better=False, low=0.0)},
        tuple(made),
        {"task": "synthetic", "seed": seed},
    )


def _curriculum(pool: int, steps: int, batch_size: int, seed: int) -> Curriculum:
    subset = draw_subset(pool, max(1, pool // 2), seed)
    return Curriculum(fill_batches(subset, batch_size, steps, seed), linear_decay(0.1, steps))


def _trajectory(
    curriculum: Curriculum, pull: Float[np.ndarray, "pool test"], start: Float[np.ndarray, " test"]
) -> Float[np.ndarray, "step test"]:
    values = [start]
    for batch, rate in zip(curriculum.batches, curriculum.learning_rates, strict=True):
        values.append(values[-1] - rate * pull[batch].mean(axis=0) * (values[-1] - 0.5))
    return np.array(values)


def make_features(dynamics: Dynamics, width: int = 6, kind: str = "embedding", seed: int = 0) -> Features:
    """One set of random vectors, in which examples of one class lie closer to each other."""
    random = generator(seed, 3)
    centres = random.normal(size=(len(CHOICES), width))

    def vectors(examples: Sequence[Example]) -> Float[np.ndarray, "example d"]:
        classes = [example.label or 0 for example in examples]
        return (centres[classes] + random.normal(size=(len(examples), width))).astype(np.float32)

    sets = {"text": FeatureSet(vectors(dynamics.pool), vectors(dynamics.test), kind)}
    return Features("synthetic", {"seed": seed, "width": width}, dynamics.examples, sets)


def make_query(runs: Sequence[Run], metric: str = "loss") -> Query:
    """Ask for the trajectories of recorded runs that share one grid of recorded steps."""
    return Query(
        np.stack([run.curriculum.batches for run in runs]),
        np.stack([run.curriculum.learning_rates for run in runs]),
        runs[0].steps,
        np.stack([run.metrics[metric][0] for run in runs]),
    )
