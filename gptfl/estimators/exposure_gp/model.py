"""The average run and a Gaussian process around it (``process``), fitted to recordings and asked."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import MetricInfo, groups_of_batches
from gptfl.core.blocked_rows import BlockedRows
from gptfl.core.links import Link
from gptfl.estimators.exposure_gp.asked_outputs import AskedOutputs
from gptfl.estimators.exposure_gp.between_steps import Between, at_rows
from gptfl.estimators.exposure_gp.block_basis import Basis
from gptfl.estimators.exposure_gp.blocked_states import BlockedStates, CameTo, states_of
from gptfl.estimators.exposure_gp.gradient_prior import PriorProducts
from gptfl.estimators.exposure_gp.hyperparameters import Hyper, choose
from gptfl.estimators.exposure_gp.inference import Posterior, Shared
from gptfl.estimators.exposure_gp.inputs import Sources
from gptfl.estimators.exposure_gp.process import Curricula, Step, likeliest_size_power, steps_of
from gptfl.estimators.exposure_gp.read_once import ReadOnce
from gptfl.estimators.exposure_gp.recipe_departure import RecordedRecipe
from gptfl.estimators.exposure_gp.repeats import Effect, first_of, near_runs, repeats_of, saw_the_same
from gptfl.estimators.exposure_gp.requests import PosteriorPrediction, RecordedRuns, RequestedRuns
from gptfl.estimators.exposure_gp.scale_factors import factors_of
from gptfl.estimators.exposure_gp.similarity import SimilarityKernel
from gptfl.estimators.exposure_gp.spread import means, rows_that_move
from gptfl.estimators.exposure_gp.step_posterior import covariances, floored, shared_noise, solve, whole
from gptfl.estimators.threads import one_blas_thread

FEWEST = 3
"""So many runs that don't repeat one another tell hyperparameters without the repeats."""


class ExposureModel:
    """Everything that is learned from runs, and the questions it answers; all arrays, no files."""

    def __init__(
        self,
        recorded: RecordedRuns,
        sources: Sources,
        link: Link,
        hyper: Hyper | None = None,
        *,
        prior: bool = True,
        higher: bool = False,
        products: PriorProducts | None = None,
        interval_scale: float = 1.0,
        floor: bool = True,
        strengths: Float[np.ndarray, " recorded"] | None = None,
        read: ReadOnce | None = None,
    ) -> None:
        """Learn from the runs recorded, unless ``hyper`` was learned before; ``higher`` values are better ones.

        ``interval_scale`` is what predicted standard deviations are multiplied by (``calibration`` finds it). ``products`` are
        gradient products of the examples fitted, more precise than those of their vectors, which must be able to stand
        in for them where others are asked about (``Sources.estimable``). ``floor`` says whether steps at which runs
        happen not to differ get a spread from the others (``step_posterior.floored``). ``strengths`` are those of each
        step's signal, where they are known (``step_posterior.solve``).
        """
        self.products = products
        self.recorded, self.sources, self.link, self.prior, self.higher = recorded, sources, link, prior, higher
        self.pool, self.interval_scale, self.floor, self._strengths = recorded.pool, interval_scale, floor, strengths
        fitted = sources.test_vectors(sources.test_sides)
        self.test_vectors = fitted
        self.kernel = SimilarityKernel.of(fitted, recorded.values.shape[2])
        self.even = link.to(recorded.values)
        self.centre = means(self.even)
        self.slopes = link.slope(means(recorded.values))
        factors = np.ones(recorded.values.shape[2]) if hyper is None else hyper.factors
        self.states = states_of(recorded, sources, products, factors, prior=prior, higher=higher, read=read)
        self.groups = groups_of_batches(list(recorded.curricula.batches))
        repeated = len(np.unique(self.groups)) < len(self.groups)
        self.lack = repeated if hyper is None else hyper.lack > 0.0
        self.evidence = float("nan")
        self.size_power = 1.0 if hyper is None else hyper.size_power
        if hyper is None:
            rows = rows_that_move(len(recorded.steps), recorded.values)
            self.size_power = likeliest_size_power(self.even[:, rows], self.slopes[rows], self.kernel)
            steps = list(self._complete(rows))
            distinct = [self._once(step) for step in steps]
            hyper, cost = choose(distinct, self.kernel, fitted is not None)
            hyper = replace(hyper, size_power=self.size_power)
            self.evidence = cost + self._units(rows, distinct)
            self.kernel = self.kernel.raised(hyper.power)
            if self.lack:
                alone = [solve(step, hyper, self.kernel).strength for step in distinct]
                hyper = replace(hyper, lack=shared_noise(steps, alone, hyper, self.kernel))
        else:
            self.kernel = self.kernel.raised(hyper.power)
        self.hyper = hyper

    def use_vectors(self, train: Mapping[str, BlockedRows | Float[np.ndarray, "example d"]]) -> None:
        """Take the vectors of the pool fitted, where they were not kept with it; by the set's name."""
        sets = {name: replace(one, train=train[name]) for name, one in self.sources.sets.items()}
        self.sources = self.states.sources = replace(self.sources, sets=sets)

    def use_products(self, products: PriorProducts) -> None:
        """Take the gradient products of the pool fitted, where they were not kept with it."""
        self.products = self.states.products = products
        self.states.__dict__.pop("known_means", None)

    @cached_property
    def recipe(self) -> RecordedRecipe:
        """How the runs fitted were trained."""
        return RecordedRecipe(self.recorded, self.even)

    def fit_factors(self) -> None:
        """Find by how much more or less than others each test example answers to what is expected."""
        if not self.hyper.scales.any():
            return
        rows = rows_that_move(len(self.recorded.steps), self.recorded.values)
        factors = factors_of([self._once(step) for step in self._complete(rows)], self.hyper)
        self.states = self.states.with_factors(factors)
        self.hyper = replace(self.hyper, factors=factors)

    def _units(self, rows: Sequence[int], steps: Sequence[Step]) -> float:
        """What minus the log-likelihood gains when it is told in the metric's units, so that scales compare."""
        slopes = means(np.log(self.link.slope(self.recorded.values[:, rows])))
        gains = [
            (len(step.members) - 1) * (np.log(step.size) - slope).sum()
            for step, slope in zip(steps, slopes, strict=True)
        ]
        return float(np.mean(gains))

    def _steps(self, rows: Sequence[int] | None = None) -> Iterator[Step]:
        """The recorded steps, or those of some rows, one after the other."""
        kept = np.arange(len(self.recorded.steps)) if rows is None else np.asarray(rows)
        return steps_of(
            self.even[:, kept],
            self.slopes[kept],
            self.states.fitted(self.recorded.steps[kept]),
            self.kernel,
            groups=self.repeats if self.lack else None,
            power=self.size_power,
        )

    @cached_property
    def binary(self) -> bool:
        """Whether everything recorded is 0 or 1, the bounds of the metric."""
        metric = MetricInfo("", self.higher, self.link.low, self.link.high)
        return self.floor and metric.is_binary([self.recorded.values])

    def _complete(self, rows: Sequence[int]) -> Iterator[Step]:
        """The steps to learn hyperparameters by: no value is missing there."""
        for step in self._steps(rows):
            yield whole(step, self.kernel, self.test_vectors is not None)

    @cached_property
    def repeats(self) -> Int[np.ndarray, " run"]:
        """The first run that each run repeats, or itself.

        Each its own, where these would be too few to tell anything.
        """
        found = repeats_of(self.recorded.curricula.batches, self.states.last_exposures())
        return found if len(first_of(found)) >= FEWEST else np.arange(len(found))

    def _once(self, step: Step) -> Step:
        """The step of runs that don't repeat one another: how repeats differ says little of what examples do.

        All runs, where these would be too few to tell anything.
        """
        if not self.lack:
            return step
        kept = np.flatnonzero(np.isin(step.members, self.repeats))
        if len(kept) == len(step.members) or len(kept) < FEWEST:
            return step
        return replace(step.of_runs(kept), near=None, groups=None)

    @cached_property
    @one_blas_thread()
    def solved(self) -> list[tuple[Step, Posterior]]:
        """Each recorded step, condensed, and what is known there."""
        found = []
        for row, step in enumerate(self._steps()):
            once = self._once(step) if self._strengths is None else step
            strength = None if once is step else solve(once, self.hyper, self.kernel).strength
            given = strength if self._strengths is None else float(self._strengths[row])
            found.append((step.condensed(), solve(step, self.hyper, self.kernel, given)))
        return floored(found, self.recorded.steps) if self.floor else found

    def at_end(self) -> tuple[Step, Posterior]:
        """The last recorded step with all that is learned from it, and what is known there."""
        return next(self._steps([len(self.recorded.steps) - 1])), self.solved[-1][1]

    @cached_property
    def knows_width(self) -> bool:
        """Whether the runs fitted say how far runs differ: they do somewhere, and not all saw the same."""
        same = saw_the_same(next(iter(self.states.last())), self.solved[-1][0].members)
        return not same and any(step.reference > 0.0 for step, _ in self.solved)

    def look(
        self,
        runs: Curricula,
        rows: int,
        requested: RequestedRuns,
        own: Int[np.ndarray, " example"] | None = None,
        train: Mapping[str, Float[np.ndarray, "example d"]] | None = None,
        between: Between | None = None,
        came: CameTo | None = None,
    ) -> PosteriorPrediction:
        """What these curricula would give at the first recorded steps.

        Args:
            runs: the curricula.
            rows: how many recorded steps.
            requested: the test examples, and their mean run.
            own: place of each example that the batches name among those fitted, a number beyond for each other one
                (None: they
                are those fitted).
            train: their vectors by feature set (None: those fitted).
            between: steps that take the place of the recorded ones, and where between these they are.
            came: where these runs have come to, if that is known.
        """
        steps = self.recorded.steps[:rows]
        own = np.arange(self.pool) if own is None else own
        others, seen = requested.gradients is not None, requested.seen
        fitted = seen >= 0
        if came is not None and isinstance(self.states, BlockedStates):
            theirs, ours = self.states.left_out(came), self.states.fitted(steps)
        else:
            theirs, ours = self.states.beside(runs, steps, requested, own, train, between)
        visited = self.solved[:rows]

        def common_of(row: int, base: list[Float[np.ndarray, "run test"]]) -> list[Float[np.ndarray, " test"]]:
            step = visited[row][0]
            return [ones[step.members].mean(axis=0) for ones in base] if others else [*step.common[:, seen]]

        members = [step.members for step, _ in visited]
        visits = at_rows(theirs, ours) if between is None else between.visits(theirs, ours, members, common_of)
        shape = (len(runs.batches), rows if between is None else 2 * len(between.steps), len(seen))
        mean, signal, prior, noise, left = (np.empty(shape) for _ in range(5))
        outputs = AskedOutputs.of(self.kernel, self.hyper, requested, self.test_vectors)
        along, own = outputs.along, outputs.signal
        for visit in visits:
            row, place, (their, expected), (our, base) = visit.row, visit.place, visit.requested, visit.fitted
            step, posterior = visited[row]
            cross, distance = covariances(step, self.hyper.weights, their, our)
            shared = self._shared(step, their[0], our[0], requested, outputs)
            slopes = self.slopes[row][seen]
            if not fitted.all():
                slopes = np.where(fitted, slopes, self.link.slope(self.link.back(requested.centre[:, row])))
            unit = np.where(fitted, step.size[seen], step.reference * (outputs.sizes * slopes) ** self.size_power)
            moved = (posterior.mean(cross, along, shared) + np.where(fitted, posterior.shift[seen], 0.0)) * unit
            for scale, one, average in zip(self.hyper.scales, expected, common_of(row, base), strict=True):
                moved += scale * (one - average) * slopes
            mean[:, place] = requested.centre[:, row] + moved
            signal[:, place] = posterior.spread(cross, distance, along, own, seen, shared) * unit**2
            left[:, place] = posterior.spread(cross, distance, along, own) * unit**2 if self.lack else signal[:, place]
            prior[:, place] = posterior.variance * posterior.strength * distance[:, None] * own * unit**2
            alone = 1.0 - self.hyper.lack if self.lack else 1.0
            noise[:, place] = posterior.variance * outputs.noise * unit**2 * alone * (1.0 + 1.0 / len(step.members))
            if requested.doubt is not None:
                noise[:, place] += requested.doubt[:, row]
        found = (mean, signal, noise, prior, left)
        return PosteriorPrediction(*(found if between is None else map(between.blended, found)))

    def _shared(
        self,
        step: Step,
        theirs: Effect,
        fitted: Effect,
        requested: RequestedRuns,
        outputs: AskedOutputs,
    ) -> Shared | None:
        """The noise that asked runs of these exposures share with fitted ones, less the mean of these; None of none."""
        if not self.lack:
            return None
        weight, shared_noise = self.hyper.lack, self.hyper.shared
        between, within = (near_runs(one, fitted, step.members, step.units[0]) for one in (theirs, fitted))
        apart = 1.0 - 2.0 * between.mean(axis=1) + within.mean()
        known = requested.seen >= 0
        if known.all():
            columns: Basis = shared_noise * outputs.along + (1.0 - shared_noise) * self.kernel.vectors[requested.seen]
        else:
            columns = shared_noise * np.asarray(outputs.along)
            columns[known] += (1.0 - shared_noise) * np.asarray(self.kernel.vectors[requested.seen[known]])
        return Shared(weight * (between - within.mean(axis=0)), weight * apart, columns, outputs.noise)
