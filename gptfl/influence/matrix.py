"""The effect of each training example on each test example, with its spread, in an order in which like stands by like."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import Progress, silent
from gptfl.errors import DataError
from gptfl.features.vectors import blocks
from gptfl.influence.closed_form import by_keyword, checked_influence, new_tokens, vectors_of
from gptfl.options.common import File
from gptfl.plugins.optional import InfluencesTests, TellsInfluence
from gptfl.simulation.forms import SummedForm
from gptfl.simulation.simulator import FittedSimulator

MOST_CELLS = 400_000
"""A matrix has at most so many cells: of larger pools, the rows of the greatest effects."""


@dataclass(frozen=True, slots=True)
class InfluenceMatrix:
    """Influences, positive where the training example makes the test example's metric better.

    ``what`` says of what they are. ``spread`` are standard deviations, None where the estimator tells none. ``rows`` and
    ``columns`` are places in the pool and among the test examples, like beside like; of a large pool, ``rows`` are those of
    the greatest effects.
    """

    what: str
    mean: Float[np.ndarray, "pool test"]
    spread: Float[np.ndarray, "pool test"] | None
    rows: Int[np.ndarray, " row"]
    columns: Int[np.ndarray, " test"]


def influence_matrix(
    source: FittedSimulator, features: File, summed: SummedForm | None = None, progress: Progress = silent
) -> InfluenceMatrix:
    """The influence of each pool example on each test example, as the estimator tells it.

    Args:
        source: the fitted simulator.
        features: those that it was fitted on, by default looked for in the workspace.
        summed: what leaving each example out changes, taken where the estimator tells no influence directly.
        progress: called along the way.

    Raises ``DataError`` where there is neither, or the vectors aren't to be found.
    """
    estimator, name = source.named.estimator, source.found.estimator
    sign = 1.0 if source.metric.higher_is_better else -1.0
    spread = None
    if isinstance(estimator, TellsInfluence) and not source.scope.sides:
        what = "seeing an example once more in place of the average one, at the last recorded step"
        mean, spread = _closed_form(source, estimator, features, progress)
    elif isinstance(estimator, InfluencesTests) and not source.scope.sides:
        what, mean = "an example, to first order and in the estimator's own unit", np.asarray(estimator.influence())
    elif summed is not None:
        what, mean = (
            "training on an example beside all others, at the last recorded step",
            -sign * summed.effects[:, -1],
        )
    else:
        raise DataError(f"{name} tells no influence on single test examples", "fit exposure-gp")
    return InfluenceMatrix(what, mean, spread, *ordered_by_likeness(mean))


def _closed_form(
    source: FittedSimulator, estimator: TellsInfluence, features: File, progress: Progress
) -> tuple[Float[np.ndarray, "pool test"], Float[np.ndarray, "pool test"]]:
    pool, tests = len(source.scope.pool), len(source.scope.test)
    mean, spread, tokens = np.empty((pool, tests)), np.empty((pool, tests)), new_tokens(source)
    with vectors_of(source, features) as vectors:
        for start, stop in blocks(vectors, pool):
            places = source.scope.pool_seen[start:stop]
            more = by_keyword(tokens, start, stop)
            answer = estimator.influence_of(places, vectors.rows(start, stop), np.eye(tests), **more)
            mean[start:stop], spread[start:stop] = checked_influence(
                answer, (stop - start, tests), source.named.part.who
            )
            progress("influence", stop, pool, f"on {tests} test examples")
    return mean, spread


def ordered_by_likeness(
    mean: Float[np.ndarray, "pool test"],
) -> tuple[Int[np.ndarray, " row"], Int[np.ndarray, " test"]]:
    """Places in an order in which those with like effects come together: the leaves of average linkage by cosine."""
    most = max(2, MOST_CELLS // max(mean.shape[1], 1))
    rows = np.argsort(-np.linalg.norm(mean, axis=1), kind="stable")[:most]
    rows = np.sort(rows)
    return rows[_leaves(mean[rows])], _leaves(mean[rows].T)


def _leaves(vectors: Float[np.ndarray, "one d"]) -> Int[np.ndarray, " one"]:
    if len(vectors) < 3:
        return np.arange(len(vectors))
    from scipy.cluster.hierarchy import leaves_list, linkage

    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1), 1e-300)[:, None]
    return np.asarray(leaves_list(linkage(unit, "average")), dtype=np.int64)
