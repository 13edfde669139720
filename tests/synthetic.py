"""Seeded recordings of no model at all, in which both classes and single examples matter."""

from collections.abc import Sequence

import numpy as np

from gptfl.core import Curriculum, Dynamics, Example, Features, FeatureSet, MetricInfo, Run, role_of
from gptfl.core.curriculum import draw_subset, fill_batches, linear_decay, recorded_steps, run_seed
from gptfl.designs.draws import Draw
from gptfl.estimators.exposures import exposures

LOSS = MetricInfo("loss", higher_is_better=False, low=0.0)


def examples(prefix: str, count: int, classes: int) -> tuple[Example, ...]:
    """Examples ``<prefix>-0`` and on, their classes in turn; no class where ``classes`` is 0."""
    choices = tuple(f" class{c}" for c in range(classes))
    return tuple(
        Example(
            f"{prefix}-{i}",
            f"Question {prefix} {i}:",
            choices[i % classes] if classes else f" answer {i}",
            choices,
            i % classes if classes else None,
        )
        for i in range(count)
    )


def synthetic(
    runs: int = 24,
    *,
    pool: int = 24,
    test: int = 8,
    steps: int = 18,
    every: int = 3,
    batch_size: int = 4,
    subset: int = 8,
    classes: int = 2,
    class_effect: float = 1.0,
    example_effect: float = 1.0,
    noise: float = 0.005,
    seed: int = 0,
    drawn: Sequence[Draw] | None = None,
) -> tuple[Dynamics, Features]:
    """A recording and the features that determine it.

    A test example's loss falls along a curve of its own, common to all runs; exposure to a training
    example moves it by the product of their hidden vectors (the features) and by its class. ``drawn`` are its runs, where
    they aren't of the uniform design.
    """
    random = np.random.default_rng(seed)
    pool_vectors, test_vectors = random.normal(size=(pool, 6)), random.normal(size=(test, 6))
    by_class = random.normal(size=(max(classes, 1), test))
    first, drop = random.uniform(2, 4, size=test), random.uniform(0.5, 1.5, size=test)
    trained = examples("train", pool, classes)
    labels = np.array([e.label or 0 for e in trained])
    influence = example_effect * pool_vectors @ test_vectors.T / 6 + class_effect * by_class[labels]
    recorded = recorded_steps(steps, every)
    made = []
    for place in range(runs if drawn is None else len(drawn)):
        index, key = (place, run_seed(seed, place)) if drawn is None else (drawn[place].index, drawn[place].seed)
        if drawn is None:
            batches = fill_batches(draw_subset(pool, subset, key), batch_size, steps, key)
        else:
            batches = drawn[place].batches(batch_size, steps)
        rates = linear_decay(1.0, steps)
        seen = exposures(batches[None], rates[None], recorded, pool)[0] / rates.sum()
        curve = 1 - np.exp(-3 * recorded / steps)
        values = first - drop * curve[:, None] + 0.3 * seen @ influence
        values[1:] += noise * random.normal(size=values[1:].shape)
        made.append(Run(index, key, role_of(index), Curriculum(batches, rates), recorded, {"loss": values}))
    dynamics = Dynamics(trained, examples("test", test, classes), {"loss": LOSS}, tuple(made), {"task": "synthetic"})
    vectors = {"vectors": FeatureSet(pool_vectors.astype(np.float32), test_vectors.astype(np.float32))}
    return dynamics, Features("synthetic", {"seed": seed}, dynamics.examples, vectors)
