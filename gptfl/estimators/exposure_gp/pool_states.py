"""Where runs have come to in what their examples do: from the vectors of the pool fitted, all of them in memory."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from gptfl.estimators.exposure_gp.accumulation import Vectors
from gptfl.estimators.exposure_gp.between_steps import Between
from gptfl.estimators.exposure_gp.gradient_prior import PriorProducts, lone_pair
from gptfl.estimators.exposure_gp.inputs import Sources
from gptfl.estimators.exposure_gp.process import Curricula, Examples, States, states
from gptfl.estimators.exposure_gp.repeats import Effect
from gptfl.estimators.exposure_gp.requests import RecordedRuns, RequestedRuns

Train = Mapping[str, Float[np.ndarray, "example d"]]
"""Vectors of training examples by the name of their set."""


@dataclass(frozen=True, slots=True)
class OwnAtEnd:
    """Exposures of the runs fitted at the last recorded step, less their mean over runs.

    ``columns`` are those to some examples, ``mean`` is over the whole pool, in which each counts as it does in a batch.
    """

    columns: Float[np.ndarray, "run example"]
    mean: Float[np.ndarray, " run"]


class PoolStates:
    """States of the runs fitted, and of others, in each source of effects and as expected.

    ``prior`` says whether anything is expected, ``higher`` whether more of the metric is better, ``factors`` by how much
    each test example answers to it.
    """

    def __init__(
        self,
        recorded: RecordedRuns,
        sources: Sources,
        products: PriorProducts | None,
        factors: Float[np.ndarray, " test"],
        *,
        prior: bool,
        higher: bool,
    ) -> None:
        """Of these runs and vectors; ``products`` are gradient products beside those of the vectors."""
        self.recorded, self.sources, self.products = recorded, sources, products
        self.factors, self.prior, self.higher, self.pool = factors, prior, higher, recorded.pool

    def with_factors(self, factors: Float[np.ndarray, " test"]) -> "PoolStates":
        """The same where test examples answer by other factors."""
        return type(self)(self.recorded, self.sources, self.products, factors, prior=self.prior, higher=self.higher)

    @cached_property
    def examples(self) -> Examples:
        """What is known of the pool fitted."""
        return self.examples_of(np.arange(self.pool), None, None, self.factors)

    @property
    def effects(self) -> int:
        """How many sources of effects there are beside the examples' own."""
        return len(self.examples.effects)

    @property
    def ways(self) -> int:
        """In how many ways first-order changes are told."""
        return len(self.examples.expected)

    def examples_of(
        self,
        own: Int[np.ndarray, " example"],
        train: Train | None,
        test: Mapping[str, Float[np.ndarray, "test d"]] | None,
        factors: Float[np.ndarray, " test"] | None = None,
        seen: Int[np.ndarray, " test"] | None = None,
        products: PriorProducts | None = None,
        relative: Float[np.ndarray, " example"] | None = None,
    ) -> Examples:
        """What is known of training examples with regard to test examples.

        Args:
            own: places of the training examples among those fitted, numbers beyond for others.
            train: their vectors by feature set (None: those fitted).
            test: vectors of the test examples by feature set (None: those fitted).
            factors: sizes of the test examples' effects (None: as fitted).
            seen: places of the test examples among those fitted (-1: none; None: they are those).
            products: what is known of these pairs' gradient products beside those fitted.
            relative: how much each of other training examples counts in a batch.
        """
        relative = self.recorded.curricula.relative if train is None else relative
        vectors = self.sources.of_fitted(relative) if train is None else self.sources.vectors(train, relative)
        recent = self.sources.recent(vectors)
        if not self.prior:
            return Examples(own, vectors, (), recent, relative)
        ends = self.sources.test_sides if test is None else test
        known = self.known_ways(own, train, ends, seen, products)
        # Gradients are of the loss: what lowers it raises a metric of which more is better.
        signed = self.signed(self.factors if factors is None else factors).astype(np.float32)
        first_order = known + self.sources.expected(vectors, ends)
        # All of them are products of every pair already, but for those that are read some rows at a time.
        expected = tuple(Vectors(one.points, np.asarray(one.rows) * signed) for one in first_order)
        return Examples(own, vectors, expected, recent, relative)

    def signed(self, factors: Float[np.ndarray, " test"]) -> Float[np.ndarray, " test"]:
        """By what a lower loss is multiplied to be the metric's change."""
        return np.asarray((-1.0 if self.higher else 1.0) * factors)

    def known_products(
        self,
        own: Int[np.ndarray, " example"],
        train: Train | None,
        ends: Mapping[str, Float[np.ndarray, "test d"]],
        seen: Int[np.ndarray, " test"] | None,
        products: PriorProducts | None,
    ) -> PriorProducts | None:
        """First-order changes by the gradient products that are known beside those of the vectors; None without any.

        Args:
            own: places of the training examples among those fitted, numbers beyond for others.
            train: their vectors by feature set (None: those fitted).
            ends: vectors of the test examples by feature set.
            seen: places of the test examples among those fitted (-1: none; None: they are those).
            products: what is known of these pairs beside those fitted.
        """
        if self.products is None or not self.prior:
            return None
        fitted = np.arange(self.recorded.values.shape[2]) if seen is None else seen
        known = self.products.taken(np.where(own < self.pool, own, -1), fitted)
        known = known if products is None else known.filled(products)
        if not known.whole:
            vectors = {name: one.train for name, one in self.sources.sets.items()} if train is None else train
            known = self.sources.estimated(vectors, ends, known)
        return known

    def known_ways(
        self,
        own: Int[np.ndarray, " example"],
        train: Train | None,
        ends: Mapping[str, Float[np.ndarray, "test d"]],
        seen: Int[np.ndarray, " test"] | None,
        products: PriorProducts | None,
    ) -> tuple[Vectors, ...]:
        """The ways in which ``known_products`` are told, none without any.

        Args:
            own: as there, and so are all others.
            train: vectors of the training examples.
            ends: vectors of the test examples.
            seen: places of the test examples.
            products: what is known beside those fitted.
        """
        known = self.known_products(own, train, ends, seen, products)
        return () if known is None else known.ways()

    def fitted(self, steps: Int[np.ndarray, " recorded"]) -> Iterator[States]:
        """The runs fitted at some of the recorded steps."""
        return states(self.recorded.curricula, steps, self.examples, self.pool)

    def last(self) -> Iterator[Effect]:
        """Where the fitted runs have come to at the last recorded step, in each source of effects."""
        runs, nothing = self.recorded.curricula, replace(self.examples, expected=())
        for effects, _ in states(runs, self.recorded.steps[-1:], nothing, self.pool):
            yield from effects

    def last_exposures(self) -> Effect:
        """What the fitted runs have seen of each example up to the last recorded step, whether its effects fade or not."""
        runs, nothing = self.recorded.curricula.lasting, replace(self.examples, expected=(), shared=(), recent=None)
        for effects, _ in states(runs, self.recorded.steps[-1:], nothing, self.pool):
            return effects[0]
        raise ValueError("no step was recorded")

    def own_at_end(self, members: Int[np.ndarray, " run"], places: Int[np.ndarray, " example"]) -> OwnAtEnd:
        """Exposures of some runs to examples at these places of the pool, at the last recorded step."""
        own = np.asarray(next(iter(self.last())))[members]
        apart = own - own.mean(axis=0)
        relative = self.recorded.curricula.relative
        return OwnAtEnd(apart[:, places], (apart if relative is None else apart * relative).mean(axis=1))

    def beside(
        self,
        runs: Curricula,
        steps: Int[np.ndarray, " recorded"],
        requested: RequestedRuns,
        own: Int[np.ndarray, " example"],
        train: Train | None,
        between: Between | None,
    ) -> tuple[Iterator[States], Iterator[States]]:
        """Requested runs and the runs fitted at recorded steps, both with regard to the test examples asked about.

        Args:
            runs: the requested ones.
            steps: the first recorded ones.
            requested: the test examples.
            own: place of each example that the batches name among those fitted, a number beyond for each other one.
            train: their vectors by feature set (None: those fitted).
            between: steps that take the place of the recorded ones, None where they are those.
        """
        theirs, ours = self._examples_for(requested, own, train, runs.relative)
        count = max(self.pool, int(own.max(initial=-1)) + 1)
        at_steps, at = (steps, None) if between is None else (between.steps, between.at)
        return states(runs, at_steps, theirs, count, at), states(self.recorded.curricula, steps, ours, count)

    def _examples_for(
        self,
        requested: RequestedRuns,
        own: Int[np.ndarray, " example"],
        train: Train | None,
        relative: Float[np.ndarray, " example"] | None,
    ) -> tuple[Examples, Examples]:
        """The training examples of asked runs, and those fitted, both with regard to the test examples asked about."""
        test, (given, ours) = requested.gradients, requested.products or (None, None)
        factors = self.factors_for(requested)
        if test is None:
            theirs = self.examples_of(own, train, None, factors, None, given, relative)
            return theirs, replace(self.examples, expected=())
        theirs = self.examples_of(own, train, test, factors, requested.seen, given, relative)
        return theirs, self.examples_of(np.arange(self.pool), None, test, factors, requested.seen, ours)

    def factors_for(self, requested: RequestedRuns) -> Float[np.ndarray, " asked"]:
        """By how much the test examples asked about answer to what is expected: 1 for those that weren't fitted."""
        if requested.gradients is None:
            return self.factors
        return np.where(requested.seen >= 0, self.factors[requested.seen], 1.0)

    def lone_pair(self, scales: Float[np.ndarray, " way"]) -> tuple[int, int, float] | None:
        """The pair of examples of which first order says more than of all others together (``gradient_prior.lone_pair``)."""
        return lone_pair(self.examples.expected, scales)

    @cached_property
    def means(self) -> tuple[Float[np.ndarray, "point d"], ...]:
        """The mean vector of the pool fitted at each point of each path."""
        return tuple(one.rows.mean(axis=1) for one in self.examples.shared)

    @cached_property
    def known_means(self) -> tuple[tuple[Vectors, Float[np.ndarray, "point test"]], ...]:
        """First-order changes by known products, each with its mean over the pool fitted."""
        known = self.known_ways(np.arange(self.pool), None, self.sources.test_sides, None, None)
        return tuple((one, one.rows.mean(axis=1)) for one in known)
