"""Which examples a question is about, and which of them an estimator was fitted to."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

from gptfl.interfaces import Estimator, is_blind, takes
from gptfl.records import Dynamics, Example, Features, GradientProducts, Query, Unseen
from gptfl.stages.unseen import TEST, TRAIN, SetAside, kept
from gptfl.stages.withholding import features_of


@dataclass(frozen=True, slots=True)
class Scope:
    """The examples that questions are about, and the place of each among those that an estimator was fitted to.

    ``pool_seen`` and ``test_seen`` are -1 where it was fitted without one.
    """

    pool: tuple[Example, ...]
    test: tuple[Example, ...]
    pool_seen: Int[np.ndarray, " pool"]
    test_seen: Int[np.ndarray, " test"]
    features: Features | None = None
    gradients: GradientProducts | None = None

    @property
    def sides(self) -> tuple[str, ...]:
        """On which sides there are unseen examples."""
        return tuple(side for side, seen in ((TRAIN, self.pool_seen), (TEST, self.test_seen)) if (seen < 0).any())

    def about(self, query: Query) -> Query:
        """The query as the estimator is to get it; the same where it was fitted to all the examples."""
        if not self.sides:
            return query
        given = (self.pool, self.test, self.pool_seen, self.test_seen, self.features, self.gradients)
        return replace(query, unseen=Unseen(*given))


def scope_of(
    dynamics: Dynamics,
    aside: SetAside | None,
    estimator: Estimator,
    features: Features | None,
    tests: Int[np.ndarray, " chosen"] | None = None,
) -> Scope:
    """Questions about a recording's whole pool and its test examples, or those at ``tests``.

    ``features`` are of the whole recording.
    """
    pool, test = len(dynamics.pool), len(dynamics.test)
    products = dynamics.known_products if aside is not None and "gradients" in takes(estimator) else None
    hidden = () if aside is None or is_blind(estimator) else aside.pool
    chosen = np.arange(test) if tests is None else tests
    asked = tuple(dynamics.test[i] for i in chosen)
    return Scope(
        dynamics.pool,
        asked,
        _seen(pool, hidden),
        _seen(test, () if aside is None else aside.test)[chosen],
        None if features is None else features_of(features, dynamics.pool, asked, np.arange(pool), chosen),
        None if products is None else products.of_examples(np.arange(pool), chosen),
    )


def _seen(count: int, aside: Sequence[int]) -> Int[np.ndarray, " example"]:
    places = np.full(count, -1, dtype=np.int64)
    there = kept(count, aside)
    places[there] = np.arange(len(there))
    return places
