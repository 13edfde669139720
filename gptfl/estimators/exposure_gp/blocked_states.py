"""Where runs have come to in what their examples do, where the pool's vectors or known products aren't all in memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gptfl.estimators.exposure_gp.accumulation import Vectors, accumulated_counts
from gptfl.estimators.exposure_gp.between_steps import Between
from gptfl.estimators.exposure_gp.gradient_prior import LONE, PriorProducts, lone_pair
from gptfl.estimators.exposure_gp.inputs import Sources
from gptfl.estimators.exposure_gp.known_sums import KnownChanges, KnownSums
from gptfl.estimators.exposure_gp.own_products import Cells, OwnProducts
from gptfl.estimators.exposure_gp.pool_states import OwnAtEnd, PoolStates, Train
from gptfl.estimators.exposure_gp.process import Curricula, States
from gptfl.estimators.exposure_gp.read_once import ReadOnce
from gptfl.estimators.exposure_gp.repeats import Effect
from gptfl.estimators.exposure_gp.requests import RecordedRuns, RequestedRuns
from gptfl.estimators.exposure_gp.run_sums import RunSums

SAMPLED = 2048
"""So many vectors, evenly over the pool, stand for all but the longest ones."""


class BlockedStates(PoolStates):
    """The same as ``PoolStates`` by the runs' sums of vectors and the products of their exposures."""

    def __init__(
        self,
        recorded: RecordedRuns,
        sources: Sources,
        products: PriorProducts | None,
        factors: Float[np.ndarray, " test"],
        *,
        prior: bool,
        higher: bool,
        read: ReadOnce,
    ) -> None:
        """``read`` is what was read of the vectors for these runs."""
        super().__init__(recorded, sources, products, factors, prior=prior, higher=higher)
        self.read = read

    def with_factors(self, factors: Float[np.ndarray, " test"]) -> "BlockedStates":
        """The same where test examples answer by other factors."""
        found = BlockedStates(
            self.recorded,
            self.sources,
            self.products,
            factors,
            prior=self.prior,
            higher=self.higher,
            read=self.read,
        )
        # What doesn't hang on them is kept.
        if "cells" in self.__dict__:
            found.__dict__["cells"] = self.__dict__["cells"]
        return found

    @property
    def effects(self) -> int:
        """How many sources of effects there are beside the examples' own."""
        return len(self.read.sums.shared)

    @property
    def ways(self) -> int:
        """In how many ways first-order changes are told."""
        return (len(self.known_means) + self.sources.ways) if self.prior else 0

    @property
    def means(self) -> tuple[Float[np.ndarray, "point d"], ...]:
        """The mean vector of the pool fitted at each point of each path."""
        return self.read.means.paths

    @cached_property
    def known_means(self) -> tuple[tuple[Vectors, Float[np.ndarray, "point test"]], ...]:
        """First-order changes by known products, each with its mean over the pool fitted."""
        if self._known is None or self.products is None:
            return ()
        return tuple(zip(self.products.ways(), self._known.means, strict=True))

    @property
    def _known(self) -> KnownChanges | None:
        return self.read.known if self.prior else None

    @cached_property
    def cells(self) -> Cells:
        """What the runs fitted have seen."""
        return Cells.of(self.recorded.curricula, self.recorded.steps)

    @cached_property
    def _at_end(self) -> Any:
        return self.cells.until(len(self.recorded.steps) - 1, self.pool).tocsc()

    def lone_pair(self, scales: Float[np.ndarray, " way"]) -> tuple[int, int, float] | None:
        """The pair of examples of which first order says more than of all others together.

        It is looked for among the longest gradients; the others are judged by some of them.
        """
        known, own = len(self.known_means), list(scales)
        found = lone_pair([way for way, _ in self.known_means], np.array(own[:known]))
        left = own[known:]
        for points in self.sources.paths:
            if found is not None or not self.sources.is_point(points[-1][1]):
                continue
            test = np.asarray(self.sources.sets[points[-1][1]].test, np.float32).T
            ways = [points, (points[len(points) // 2],)][: 1 + (len(points) > 1)]
            for way, scale in zip(ways, left, strict=False):
                for _, name in way if scale > 0.0 and found is None else ():
                    found = self._lone_pair_in(name, test)
            left = left[len(ways) :]
        return found

    def _lone_pair_in(self, name: str, test: Float[np.ndarray, "d test"]) -> tuple[int, int, float] | None:
        rows = self.sources.sets[name].train
        longest = self.read.means.longest.get(name, np.zeros(0, np.int64))
        others = np.setdiff1d(np.unique(np.linspace(0, len(rows) - 1, SAMPLED).astype(int)), longest)
        first = np.abs(np.asarray(rows[longest], np.float32) @ test).astype(np.float64)
        some = np.abs(np.asarray(rows[others], np.float32) @ test).astype(np.float64)
        times = (len(rows) - len(longest)) / max(len(others), 1)
        total = float((first**2).sum() + times * (some**2).sum())
        if not first.size or float(first.max()) ** 2 <= LONE * total:
            return None
        train, where = np.unravel_index(int(first.argmax()), first.shape)
        return (
            int(longest[train]),
            int(where),
            float(first.max()) / max(float(np.median(some if some.size else first)), 1e-300),
        )

    def fitted(self, steps: Int[np.ndarray, " recorded"]) -> Iterator[States]:
        """The runs fitted at some of the recorded steps."""
        rows = np.searchsorted(self.recorded.steps, steps)
        every = np.arange(len(self.recorded.values))
        known = None if self._known is None else self._known.sums.of_runs(every, rows)
        sums, own = self.read.sums.of_runs(every, rows), iter([self.read.own[row] for row in rows])
        return self._states(own, sums, len(steps), self.sources.test_sides, self.factors, known)

    def last(self) -> Iterator[Effect]:
        """Where the fitted runs have come to at the last recorded step, in each source of effects but their own."""
        yield self.read.own[-1]
        for one in self.read.sums.shared:
            yield one[-1]

    def last_exposures(self) -> Effect:
        """What the fitted runs have seen of each example up to the last recorded step, whether its effects fade or not."""
        cells = Cells.of(self.recorded.curricula.lasting, self.recorded.steps[-1:])
        return next(cells.products(cells))

    def own_at_end(self, members: Int[np.ndarray, " run"], places: Int[np.ndarray, " example"]) -> OwnAtEnd:
        """Exposures of some runs to examples at these places of the pool, at the last recorded step."""
        own = self._at_end[:, places].toarray()[members]
        relative = self.recorded.curricula.relative
        totals = np.asarray(self._at_end @ (np.ones(self.pool) if relative is None else relative)).reshape(-1)[members]
        return OwnAtEnd(own - own.mean(axis=0), (totals - totals.mean()) / self.pool)

    def beside(
        self,
        runs: Curricula,
        steps: Int[np.ndarray, " recorded"],
        requested: RequestedRuns,
        own: Int[np.ndarray, " example"],
        train: Train | None,
        between: Between | None,
    ) -> tuple[Iterator[States], Iterator[States]]:
        """Requested runs and the runs fitted at recorded steps: see ``PoolStates.beside``.

        Args:
            runs: the requested ones.
            steps: the first recorded ones.
            requested: the test examples.
            own: place of each example that the batches name among those fitted, a number beyond for each other one.
            train: their vectors by feature set, in memory or not (None: those fitted).
            between: steps that take the place of the recorded ones, None where they are those.
        """
        at_steps, at = (steps, None) if between is None else (between.steps, between.at)
        sums = RunSums.of(runs, at_steps, self.sources, train, at)
        if between is None:
            own_theirs: Iterator[Effect] = Cells.of(runs, steps, own=own).products(self.cells)
            own_ours: Iterator[Effect] = iter(self.read.own[: len(steps)])
        else:
            own_theirs, own_ours = self._exposures(runs, at_steps, own, steps)
        given, ours = requested.products or (None, None)
        test = self.sources.test_sides if requested.gradients is None else requested.gradients
        seen, factors = None if requested.gradients is None else requested.seen, self.factors_for(requested)
        known = self._changes(runs, at_steps, self.known_products(own, train, test, seen, given), at)
        theirs = self._states(own_theirs, sums, len(at_steps), test, factors, known)
        if requested.gradients is None:
            return theirs, self._states(own_ours, self.read.sums, len(steps), None, factors, None)
        of_fitted = self.known_products(np.arange(self.pool), None, test, seen, ours)
        known = self._changes(self.recorded.curricula, steps, of_fitted, None)
        return theirs, self._states(own_ours, self.read.sums, len(steps), test, factors, known)

    def came_to(
        self, out: Int[np.ndarray, " left"], kept: Int[np.ndarray, " kept"], rows: Int[np.ndarray, " row"]
    ) -> "CameTo":
        """Where some of the runs fitted have come to at some recorded steps, beside those that are kept."""
        products = tuple(self.read.own[row].of(out, kept) for row in rows)
        known = None if self._known is None else self._known.sums.of_runs(out, rows)
        return CameTo(products, self.read.sums.of_runs(out, rows), known)

    def left_out(self, came: "CameTo") -> Iterator[States]:
        """Runs that were left out of these, from where they have come to."""
        return self._states(iter(came.own), came.sums, len(came.own), self.sources.test_sides, self.factors, came.known)

    def _states(
        self,
        own: Iterator[Effect],
        sums: RunSums,
        count: int,
        test: Any,
        factors: Float[np.ndarray, " test"],
        known: KnownSums | None,
    ) -> Iterator[States]:
        """States at each of so many steps; nothing is expected where no test vectors are given.

        Args:
            own: effects of the examples' own at each step.
            sums: of vectors.
            count: how many steps.
            test: vectors of the test examples by feature set.
            factors: by how much each test example answers to what is expected.
            known: sums of known products, None where there are none.
        """
        signed = self.signed(factors)
        if test is not None:
            # Once for all steps: a step's products take no longer than to make these of half-precision numbers.
            test = {name: np.asarray(one, np.float32) for name, one in test.items()}
        for row in range(count):
            effects = [next(own), *(one[row] for one in sums.shared)]
            expected: list[Float[np.ndarray, "run test"]] = []
            if test is not None and self.prior:
                first = [] if known is None else known.at(row)
                expected = [one * signed for one in (*first, *sums.expected(row, self.sources, test))]
            yield effects, expected

    def _changes(
        self,
        runs: Curricula,
        steps: Int[np.ndarray, " recorded"],
        products: PriorProducts | None,
        at: Float[np.ndarray, " step_and_end"] | None,
    ) -> KnownSums | None:
        """What is expected by known products at each step."""
        if products is None or not products.kinds:
            return None
        return KnownSums.of(runs, steps, products.ways(), at, products.sums)

    def _exposures(
        self,
        runs: Curricula,
        at_steps: Int[np.ndarray, " asked"],
        own: Int[np.ndarray, " example"],
        steps: Int[np.ndarray, " recorded"],
    ) -> tuple[Iterator[Effect], Iterator[Effect]]:
        """Exposures of requested runs and of those fitted, to the examples that any of them has seen."""
        fitted = self.recorded.curricula
        asked = np.where(runs.batches >= 0, own[runs.batches], -1)
        columns = np.unique(np.concatenate([fitted.batches.reshape(-1), asked.reshape(-1)]))
        columns = columns[columns >= 0]

        def of(one: Curricula, batches: Int[np.ndarray, "run step batch"], at: Any) -> Iterator[np.ndarray]:
            weights = np.ones(len(columns))
            if one.relative is not None:
                weights[np.searchsorted(columns, batches[batches >= 0])] = one.relative[one.batches[batches >= 0]]
            numbered = np.where(batches >= 0, np.searchsorted(columns, batches), -1)
            sums = accumulated_counts(numbered, one.weights, at, len(columns))
            return (each * weights * kept[:, None] for each, kept in zip(sums, one.kept(at), strict=True))

        return of(runs, asked, at_steps), of(fitted, fitted.batches, steps)


@dataclass(frozen=True, slots=True)
class CameTo:
    """Where runs that were left out have come to at each step: products with those that were kept, and sums."""

    own: tuple[OwnProducts, ...]
    sums: RunSums
    known: KnownSums | None = None


def states_of(
    recorded: RecordedRuns,
    sources: Sources,
    products: PriorProducts | None,
    factors: Float[np.ndarray, " test"],
    *,
    prior: bool,
    higher: bool,
    read: ReadOnce | None,
) -> PoolStates:
    """The states of these runs, by the way that suits where the vectors are.

    Args:
        recorded: the runs.
        sources: vectors of their examples.
        products: gradient products beside those of the vectors.
        factors: by how much each test example answers to what is expected.
        prior: whether anything is expected.
        higher: whether more of the metric is better.
        read: what was read of vectors or products that aren't all in memory, None where nothing was yet.
    """
    if read is None and not (sources.in_blocks or (products is not None and products.in_blocks)):
        return PoolStates(recorded, sources, products, factors, prior=prior, higher=higher)
    read = ReadOnce.of(recorded, sources, products) if read is None else read
    return BlockedStates(recorded, sources, products, factors, prior=prior, higher=higher, read=read)
