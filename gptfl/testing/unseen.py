"""Holds an estimator that says that it generalises against what that promises."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gptfl.core import (
    Curriculum,
    Example,
    Features,
    FeatureSet,
    FitData,
    Query,
    Run,
    Unseen,
    changes_between,
    examples_fingerprint,
)
from gptfl.plugins.interfaces import Estimator
from gptfl.testing import promises
from gptfl.testing.promises import require

SIDES = frozenset({"train", "test"})


def check_unseen(make: Callable[[], Estimator], data: FitData, query: Query, name: str) -> None:
    """An estimator that is fitted without the last examples, to pieces of runs, answers about all of them as it claims to.

    One that generalises on neither side passes.

    Args:
        make: makes the estimator.
        data: of the whole recording.
        query: of the whole recording.
        name: what messages call the estimator.

    Raises ``AssertionError`` where it doesn't hold.
    """
    made = make()
    sides = made.tags.unseen
    require(sides <= SIDES, f"{name} generalises to {set(sides)}, not of {sorted(SIDES)}")
    if not sides:
        return
    pool = len(data.pool) - ("train" in sides and not made.tags.blind)
    test = len(data.test) - ("test" in sides)
    fitted = made.fit(_first_of(data, pool, test, cut=pool < len(data.pool)))
    unseen = _unseen_of(data, np.arange(len(data.pool)), np.arange(len(data.test)), pool, test)
    about = replace(query, unseen=unseen)
    values = fitted.predict(about).values
    promises.require_finite(values, f"what {name} predicts with unseen examples")
    shape = (len(query.batches), len(query.steps), len(data.test))
    require(values.shape == shape, f"{name} predicts shape {values.shape} with unseen examples, not {shape}")
    promises.require_close(values[:, 0], query.first, f"{name}: values[:, 0] of unseen examples is not the first value")
    familiar = np.where(query.batches >= pool, -1, query.batches)
    derived = {key: changes[..., :test] for key, changes in query.derivatives.items()}
    plain = replace(query, batches=familiar, first=query.first[:, :test], derivatives=derived)
    promises.require_close(
        fitted.predict(plain).values,
        fitted.predict(replace(about, batches=familiar)).values[:, :, :test],
        f"{name} predicts seen examples differently in the company of unseen ones",
    )
    _check_order(fitted, data, query, values, (pool, test), name)


def _check_order(
    fitted: Estimator, data: FitData, query: Query, values: np.ndarray, seen: tuple[int, int], name: str
) -> None:
    back, last = np.arange(len(data.test))[::-1], len(data.pool) - 1
    turned = replace(
        query,
        batches=np.where(query.batches >= 0, last - query.batches, -1),
        first=query.first[:, back],
        derivatives={key: changes[..., back] for key, changes in query.derivatives.items()},
        unseen=_unseen_of(data, np.arange(last + 1)[::-1], back, *seen),
    )
    promises.require_close(
        values[:, :, back], fitted.predict(turned).values, f"{name}: the order of the examples asked about matters"
    )


def _unseen_of(data: FitData, pool: np.ndarray, test: np.ndarray, pool_seen: int, test_seen: int) -> Unseen:
    """The question about these places, of which the first so many were fitted."""
    examples = [data.pool[i] for i in pool], [data.test[i] for i in test]
    return Unseen(
        tuple(examples[0]),
        tuple(examples[1]),
        np.where(pool < pool_seen, pool, -1),
        np.where(test < test_seen, test, -1),
        _features(data.features, pool, test, *examples),
        None if data.gradients is None else data.gradients.of_examples(pool, test),
    )


def _features(
    features: Features | None,
    pool: np.ndarray,
    test: np.ndarray,
    trained: Sequence[Example],
    queried: Sequence[Example],
) -> Features | None:
    if features is None:
        return None
    sets = {name: FeatureSet(one.train[pool], one.test[test], one.kind) for name, one in features.sets.items()}
    return Features(features.encoder, features.identity, examples_fingerprint(trained, queried), sets)


def _first_of(data: FitData, pool: int, test: int, cut: bool) -> FitData:
    """The data without all but the first examples; with ``cut``, each other run is a piece from its middle on."""

    def reduced(number: int, run: Run) -> Run:
        begin = len(run.steps) // 2 if cut and number % 2 else 0
        rows = np.arange(begin, len(run.steps))
        batches = np.where(run.curriculum.batches >= pool, -1, run.curriculum.batches)
        batches[: run.steps[begin]] = -1
        return replace(
            run,
            curriculum=Curriculum(batches, run.curriculum.learning_rates),
            steps=run.steps[rows],
            metrics={name: values[rows][:, :test] for name, values in run.metrics.items()},
            derivatives={key: changes_between(changes, rows)[:, :test] for key, changes in run.derivatives.items()},
        )

    gradients = data.gradients
    if gradients is not None:
        gradients = replace(
            gradients,
            raw=gradients.raw[:, :pool, :test],
            preconditioned=gradients.preconditioned[:, :pool, :test],
            self_raw=gradients.self_raw[:, :pool],
            self_preconditioned=gradients.self_preconditioned[:, :pool],
        )
    examples: dict[str, Any] = {"pool": data.pool[:pool], "test": data.test[:test]}
    return replace(
        data,
        **examples,
        fit_runs=tuple(reduced(number, run) for number, run in enumerate(data.fit_runs)),
        validation_runs=tuple(reduced(number, run) for number, run in enumerate(data.validation_runs)),
        features=_features(data.features, np.arange(pool), np.arange(test), *examples.values()),
        gradients=gradients,
    )
