"""Holds a metric against its interface."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gptfl.core import Example, MetricInfo
from gptfl.plugins.interfaces import Metric, Observation
from gptfl.testing import promises
from gptfl.testing.promises import require
from gptfl.testing.synthetic import make_examples

NEEDS = frozenset({"choices", "generated"})


def check_metric(
    factory: Callable[..., Metric],
    *,
    examples: Sequence[Example] = (),
    unfit: Sequence[Example] = (),
    **settings: Any,
) -> None:
    """Check that ``factory(**settings)`` makes a metric that keeps every promise of its interface.

    A metric that needs choices must refuse examples without.

    Args:
        factory: makes the metric.
        examples: ones that it can measure; of two classes by default.
        unfit: ones that it can't, each refused by ``check``.
        settings: those of the factory.

    Raises ``AssertionError`` that names the broken promise.
    """
    examples = tuple(examples) or make_examples(6, "test")
    made = factory(**settings)
    promises.require_members(made, Metric, ("info", "needs", "check", "measure"))
    info = made.info
    require(isinstance(info, MetricInfo), f"{type(made).__name__}.info is {type(info).__name__}, not a MetricInfo")
    name = f"metric {info.name!r}"
    require(bool(info.name), f"{type(made).__name__}.info has no name")
    require(info.low < info.high, f"{name} has the empty range {info.low} to {info.high}")
    require(
        isinstance(made.needs, frozenset) and made.needs <= NEEDS,
        f"{name} needs {made.needs!r}, not a frozenset of {sorted(NEEDS)}",
    )
    made.check(examples)
    bare = [Example(example.id, example.prompt, example.target) for example in examples]
    for example in [*unfit, *(bare if "choices" in made.needs else [])]:
        promises.refuses(lambda example=example: made.check([example]), f"{name}: check() of {example!r}")
    good, bad = (_measure(made, _observe(examples, made.needs, right), name) for right in (True, False))
    better, worse = (good, bad) if info.higher_is_better else (bad, good)
    require(
        float(better.mean()) >= float(worse.mean()),
        f"{name} says higher_is_better={info.higher_is_better}, but a model that knows the targets scores "
        f"{good.mean():.4g} and one that does not {bad.mean():.4g}",
    )


def _observe(examples: tuple[Example, ...], needs: frozenset[str], right: bool) -> Observation:
    """What a model that knows (or does not know) the targets would show."""
    log_prob = -0.5 if right else -4.0
    choices = tuple(
        np.array([log_prob if choice == example.target else -2.0 for choice in example.choices]) for example in examples
    )
    texts = tuple(example.target if right else "none of this was asked for" for example in examples)
    return Observation(
        examples,
        np.full(len(examples), log_prob),
        np.array([1 + len(example.target.split()) for example in examples]),
        choices if "choices" in needs else None,
        texts if "generated" in needs else None,
    )


def _measure(made: Metric, observation: Observation, name: str) -> np.ndarray:
    values = made.measure(observation)
    promises.require_finite(values, f"what {name} measures")
    shape = (len(observation.examples),)
    require(values.shape == shape, f"{name} measures shape {values.shape}, not one value an example: {shape}")
    info = made.info
    require(
        bool(np.all((values >= info.low) & (values <= info.high))),
        f"{name} measures values from {values.min():.4g} to {values.max():.4g}, outside its range {info.low} to {info.high}",
    )
    promises.require_equal(values, made.measure(observation), f"{name} measures differently when asked twice")
    return values
