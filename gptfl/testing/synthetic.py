"""Small recordings that follow a known law, so that a check needs no model and no file."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from gptfl.core import (
    Curriculum,
    Dynamics,
    Example,
    Features,
    FeatureSet,
    GradientProducts,
    MetricInfo,
    Query,
    RecordingSettings,
    Run,
    changes_between,
    role_of,
)
from gptfl.core.curriculum import (
    SyntheticStream,
    draw_subset,
    fill_batches,
    generator,
    linear_decay,
    recorded_steps,
    run_seed,
)

CHOICES = (" yes", " no")
LOSS = MetricInfo("loss", higher_is_better=False, low=0.0)
SCORE = MetricInfo("score", higher_is_better=True, low=0.0, high=1.0)
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
    gradients: bool = False,
    score: bool = False,
) -> Dynamics:
    """A recording whose loss falls towards a floor, faster where the batch holds kin of the test example.

    A run's subset is half of the pool. Roles go by index, as in any recording.

    Args:
        runs: how many.
        pool: training examples.
        test: test examples.
        steps: optimiser steps of a run.
        batch_size: examples a step.
        every: the loss is recorded at every so many-th step, the first and the last among them.
        missing: the share of recorded values after the first that are NaN.
        seed: of everything that is drawn.
        gradients: whether it is the recording of a model whose losses are linear in its parameters and that plain
            gradient descent trains, so that its gradient products and derivatives predict exactly what is recorded
            (see ``make_gradients``).
        score: whether a score between 0 and 1 is recorded beside the loss, which falls with it.
    """
    random = generator(seed, SyntheticStream.TRAJECTORIES)
    pull = 1.0 + random.normal(size=(pool, test))
    start = 2.0 + random.random(test)
    products = make_gradients(pool, test, steps, seed) if gradients else None
    curricula = [_curriculum(pool, steps, batch_size, run_seed(seed, index)) for index in range(runs)]
    made = []
    for index, curriculum in enumerate(curricula):
        grid = recorded_steps(steps, every)
        values = _trajectory(curriculum, pull, start) if products is None else _descent(curriculum, products, start)
        recorded, derivatives = values[grid], {}
        if products is not None:
            changes = changes_between(np.diff(values, axis=0, prepend=values[:1]), grid)
            # Gradient descent is the optimiser, so that its updates are the gradients.
            derivatives = {"gradient": changes, "update": changes}
        recorded[1:][random.random(recorded[1:].shape) < missing] = np.nan
        metrics = {"loss": recorded, **({SCORE.name: 1.0 / (1.0 + np.exp(3.0 * (recorded - 1.5)))} if score else {})}
        made.append(Run(index, run_seed(seed, index), role_of(index), curriculum, grid, metrics, derivatives))
    return Dynamics(
        make_examples(pool, "pool", seed),
        make_examples(test, "test", seed),
        {one.name: one for one in ((LOSS, SCORE) if score else (LOSS,))},
        tuple(made),
        RecordingSettings.of({"task": "synthetic", "seed": seed}),
        products,
    )


def make_gradients(pool: int, test: int, steps: int, seed: int = 0) -> GradientProducts:
    """Gradient products of a model whose losses are linear in its parameters.

    Gradients are as constant as such a model's, but for a factor that falls from each point of the reference run
    to the next: 1, 1/2, 1/3, ... at steps 0, a third, two thirds and the whole of the run. The last counts for no
    step. In the preconditioned ones each of the pool's gradients is divided by constants; step 0 has none.

    Args:
        pool: training examples.
        test: test examples.
        steps: optimiser steps of the reference run.
        seed: of what is drawn.
    """
    random = generator(seed, SyntheticStream.GRADIENTS)
    of_pool, of_test = random.normal(size=(pool, 8)), random.normal(size=(test, 8))
    roots = 0.5 + random.random(8)
    points = recorded_steps(steps, max(1, steps // 3))
    factors = 1.0 / np.arange(1, len(points) + 1)
    none_yet = np.where(points == 0, np.nan, 1.0)
    raw, itself = of_pool @ of_test.T, (of_pool**2).sum(axis=1)
    divided, divided_itself = (of_pool / roots) @ of_test.T, (of_pool**2 / roots).sum(axis=1)
    return GradientProducts(
        seed=run_seed(seed, 0),
        steps=points,
        learning_rates=linear_decay(0.1, steps),
        raw=factors[:, None, None] * raw,
        preconditioned=(factors * none_yet)[:, None, None] * divided,
        self_raw=factors[:, None] * itself,
        self_preconditioned=(factors * none_yet)[:, None] * divided_itself,
    )


def _descent(
    curriculum: Curriculum, products: GradientProducts, start: Float[np.ndarray, " test"]
) -> Float[np.ndarray, "step test"]:
    values = [start]
    for step, (batch, rate) in enumerate(zip(curriculum.batches, curriculum.learning_rates, strict=True)):
        point = np.flatnonzero(products.steps <= step)[-1]
        values.append(values[-1] - rate * products.raw[point][batch].mean(axis=0))
    return np.array(values)


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
    """One set of random vectors, in which examples of one class lie closer to each other.

    Args:
        dynamics: the recording whose examples get them.
        width: numbers of a vector.
        kind: what the set says that it is.
        seed: of what is drawn.
    """
    random = generator(seed, SyntheticStream.FEATURES)
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
        derivatives={name: np.stack([run.derivatives[name] for run in runs]) for name in runs[0].derivatives},
    )
