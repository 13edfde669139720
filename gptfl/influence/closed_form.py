"""Influence as an estimator tells it in closed form: in the metric's units, with its spread, some examples at a time."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import Features, Progress
from gptfl.core.examples import weights_of
from gptfl.errors import DataError, PluginError
from gptfl.features.lookup import open_fitted_features
from gptfl.features.vectors import VectorsInMemory, VectorSource, blocks
from gptfl.influence.targets import LEVEL
from gptfl.plugins.optional import HasTargetInfluence, TellsInfluence
from gptfl.simulation.simulator import FittedSimulator

WIDTH = NormalDist().inv_cdf((1 + LEVEL) / 2)
"""Half the interval of an influence, in standard deviations."""


@contextlib.contextmanager
def vectors_of(source: FittedSimulator, features: str | Path | Features | None) -> Iterator[VectorSource]:
    """The vectors that a simulator was fitted on, from the file of them, unless they are given.

    Raises ``DataError`` where the file isn't to be found.
    """
    if source.found.features is None or isinstance(features, Features):
        yield VectorsInMemory(features if isinstance(features, Features) else None)
        return
    blind = source.named.estimator.tags.blind
    with open_fitted_features(source.recording, source.found, blind, features) as reader:
        yield reader


def target_weights(source: FittedSimulator, tests: Int[np.ndarray, " chosen"]) -> Float[np.ndarray, "1 test"]:
    """The mean of some test examples, as weights over those that the simulator was fitted to.

    Raises ``DataError`` where it was not fitted to one of them.
    """
    places = source.scope.test_seen[tests]
    if (places < 0).any():
        strange = source.scope.test[int(tests[int(np.argmax(places < 0))])].id
        raise DataError(
            f"{source.path} was fitted without test example {strange!r}, and tells no influence on it in closed form",
            "use --how replace, or --on test examples that it was fitted to",
        )
    weights = np.zeros((1, int((source.scope.test_seen >= 0).sum())))
    weights[0, places] = 1 / len(places)
    return weights


def new_tokens(source: FittedSimulator) -> Float[np.ndarray, " pool"] | None:
    """How many tokens the examples of a simulator's scope are trained on that it wasn't fitted to; NaN for others.

    None where all are fitted, all count alike in the loss of a batch, or the estimator doesn't take them.
    """
    new = np.flatnonzero(source.scope.pool_seen < 0)
    if not (len(new) and source.named.estimator.tags.counts_tokens):
        return None
    if weights_of(source.recording.dynamics.pool) is None:
        return None
    tokens = np.full(len(source.scope.pool), np.nan)
    for place in new.tolist():
        weight = source.scope.pool[place].weight
        tokens[place] = np.nan if weight is None else weight
    return tokens


def by_keyword(tokens: Float[np.ndarray, " pool"] | None, start: int = 0, stop: int | None = None) -> dict[str, Any]:
    """Those of some examples by keyword, for estimators that take them (``new_tokens``)."""
    return {} if tokens is None else {"tokens": tokens[start:stop]}


def closed_form(
    source: FittedSimulator,
    tests: Int[np.ndarray, " chosen"],
    features: str | Path | Features | None,
    progress: Progress,
) -> tuple[Float[np.ndarray, " pool"], Float[np.ndarray, " pool"]]:
    """The influence of every pool example on the mean of some test examples, and its standard deviation.

    The vectors are read in parts; never are all of them in memory.

    Args:
        source: the simulator, of an estimator that has influence in closed form.
        tests: places of the test examples.
        features: the vectors, or their file; None for those in the workspace.
        progress: called after each part.

    Raises ``DataError`` where the vectors aren't to be found or the simulator knows nothing of a test example, and
    ``PluginError`` where the answer is ill-shaped.
    """
    estimator, part = source.named.estimator, source.named.part
    if not isinstance(estimator, TellsInfluence):
        raise TypeError(f"{part.name} tells no influence in closed form")
    weights, tokens = target_weights(source, tests), new_tokens(source)
    pool = len(source.scope.pool)
    mean, spread = np.empty(pool), np.empty(pool)
    with vectors_of(source, features) as vectors:
        for start, stop in blocks(vectors, pool):
            places = source.scope.pool_seen[start:stop]
            answer = estimator.influence_of(
                places, vectors.rows(start, stop), weights, **by_keyword(tokens, start, stop)
            )
            one = checked_influence(answer, (stop - start, 1), part.who)
            mean[start:stop], spread[start:stop] = (found[:, 0] for found in one)
            progress("rank", stop, pool, f"{part.name}, --how closed-form")
    return mean, spread


def on_target(
    source: FittedSimulator,
    tests: Int[np.ndarray, " chosen"],
    features: str | Path | Features | None,
    progress: Progress,
) -> tuple[Float[np.ndarray, " pool"], Float[np.ndarray, " pool"], Float[np.ndarray, " pool"]]:
    """Influence on the mean of some test examples, its standard deviation, and that before any run.

    An estimator that can judges how sure it is by that mean alone. The standard deviation before any run is infinite
    where the estimator doesn't tell it.

    Args:
        source: the simulator, of an estimator that has influence in closed form.
        tests: places of the test examples.
        features: the vectors, or their file; None for those in the workspace.
        progress: called after each part.

    All three have the shape ``[pool]`` and the metric's units. Raises ``DataError`` where the vectors aren't to be found
    or the simulator knows nothing of a test example, and ``PluginError`` where the answer is ill-shaped, not finite, or
    has a deviation below 0.
    """
    estimator, part = source.named.estimator, source.named.part
    weights, tokens = target_weights(source, tests)[0], new_tokens(source)
    pool = len(source.scope.pool)
    found = np.full((3, pool), np.inf)
    if isinstance(estimator, HasTargetInfluence):
        with vectors_of(source, features) as vectors:
            for start, stop in blocks(vectors, pool):
                places = source.scope.pool_seen[start:stop]
                answer = estimator.influence_on_target(
                    places, vectors.rows(start, stop), weights, **by_keyword(tokens, start, stop)
                )
                if answer is None:
                    break
                found[:, start:stop] = _checked_on_target(answer, stop - start, part.who)
                progress("rank", stop, pool, f"{part.name}, --how remove")
            else:
                return found[0], found[1], found[2]
    mean, spread = closed_form(source, tests, features, progress)
    return mean, spread, np.full(pool, np.inf)


def _checked_on_target(answer: object, count: int, who: str) -> Float[np.ndarray, "3 example"]:
    parts = [np.asarray(one, dtype=np.float64) for one in answer] if isinstance(answer, tuple) else []
    if len(parts) != 3 or any(one.shape != (count,) for one in parts):
        shapes = ", ".join(str(one.shape) for one in parts)
        raise PluginError(f"{who} told influences of shapes {shapes}, not three of {(count,)}", "mend it")
    found = np.stack(parts)
    if not np.isfinite(found).all() or (found[1:] < 0).any():
        raise PluginError(f"{who} told influences or spreads that are not finite or below 0", "mend it")
    return found


def checked_influence(
    answer: object, shape: tuple[int, int], who: str
) -> tuple[Float[np.ndarray, "example target"], Float[np.ndarray, "example target"]]:
    """Influences and their standard deviations, as the estimator ``who`` gave them, each of this shape.

    Raises ``PluginError`` where they are no pair, or have another shape, or are not finite, or a deviation is below 0.
    """
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise PluginError(f"{who} told influences as {type(answer).__name__}, not as a pair of arrays", "mend it")
    mean, spread = (np.asarray(one, dtype=np.float64) for one in answer)
    if mean.shape != shape or spread.shape != shape:
        wrong = mean.shape if mean.shape != shape else spread.shape
        raise PluginError(f"{who} told influences of shape {wrong}, not {shape}", "mend it")
    if not (np.isfinite(mean).all() and np.isfinite(spread).all() and (spread >= 0).all()):
        raise PluginError(f"{who} told influences or spreads that are not finite or below 0", "mend it")
    return mean, spread
