"""The average run and a Gaussian process around it (``deviations``), fitted to recordings and asked."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from gptfl.simulator.clock import Clock, Span
from gptfl.simulator.conditioning import TRUST, right_width
from gptfl.simulator.departure import BatchSizes
from gptfl.simulator.deviations import (
    STEPS,
    Curricula,
    Examples,
    Hyper,
    Likeness,
    Step,
    choose,
    solve,
    states,
    steps_of,
)
from gptfl.simulator.factors import factors_of
from gptfl.simulator.foretold import Products
from gptfl.simulator.kriging import Posterior
from gptfl.simulator.links import Link
from gptfl.simulator.sources import Sources
from gptfl.simulator.travel import Vectors
from gptfl.simulator.visits import Between, at_rows

ROUNDING, MOVED = 1e-4, 0.1
"""Runs differ at a step by more than rounding if by so much of what they do where they differ most; a part of them is
enough to judge others by if it differs by so much of what all do."""
JUDGED = 64
"""Errors are judged on this many steps, spread over the run: neighbours tell the same."""
REFITS, REFIT_RUNS, REFIT_STEPS = 6, (8, 48), 12
"""From so many to so many runs, the errors judged are those of models fitted without a sixth of the runs, on this many
steps. With fewer runs such a model is too much worse; with more, it hardly matters that hyperparameters have seen a run."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The runs fitted, on common recorded steps; NaN for all test examples where a run has ended.

    ``pool`` is how many training examples there are, seen or not.
    """

    curricula: Curricula
    steps: Int[np.ndarray, " recorded"]
    values: Float[np.ndarray, "run recorded test"]
    pool: int


@dataclass(frozen=True, slots=True)
class Asked:
    """The test examples asked about: their place among those fitted (-1: none), and what else is known of them.

    ``centre`` are their mean trajectories on the even scale, ``doubt`` the variance of those that had to be carried
    over (None: of none); ``vectors`` tell how alike they are, ``gradients`` are those of each feature set, to multiply
    training gradients with, ``products`` those that are known of the asked and of the fitted training examples with
    them (None: no more than when it was fitted). None where they are just those fitted.
    """

    seen: Int[np.ndarray, " asked"]
    centre: Float[np.ndarray, "run recorded asked"]
    doubt: Float[np.ndarray, "run recorded asked"] | None = None
    vectors: Float[np.ndarray, "asked d"] | None = None
    gradients: Mapping[str, Float[np.ndarray, "asked d"]] | None = None
    products: tuple[Products, Products] | None = None


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is expected of asked runs on the even scale.

    ``signal`` is the variance of what their examples do, ``noise`` that of all else and of the average run;
    ``prior`` is what the variance of the signal was before anything was recorded.
    """

    mean: Float[np.ndarray, "run recorded test"]
    signal: Float[np.ndarray, "run recorded test"]
    noise: Float[np.ndarray, "run recorded test"]
    prior: Float[np.ndarray, "run recorded test"]


class ExposureModel:
    """Everything that is learned from runs, and the questions it answers; all arrays, no files."""

    def __init__(
        self,
        recorded: Recorded,
        sources: Sources,
        link: Link,
        hyper: Hyper | None = None,
        *,
        prior: bool = True,
        higher: bool = False,
        products: Products | None = None,
        widening: float = 1.0,
    ) -> None:
        """Learn from the runs recorded, unless ``hyper`` was learned before; ``higher`` values are better ones.

        ``widening`` is what predicted standard deviations are multiplied by (``judge`` finds it). ``products`` are gradient products of the examples fitted, more precise than those of their vectors, which must
        be able to stand in for them where others are asked about (``Sources.estimable``).
        """
        self.products = products
        self.recorded, self.sources, self.link, self.prior, self.higher = recorded, sources, link, prior, higher
        self.pool, self.widening = recorded.pool, widening
        fitted = sources.test_vectors(sources.test_sides)
        self.test_vectors = fitted
        self.likeness = Likeness.of(fitted, recorded.values.shape[2])
        self.even = link.to(recorded.values)
        self.centre = np.nanmean(self.even, axis=0)
        self.slopes = link.slope(np.nanmean(recorded.values, axis=0))
        factors = np.ones(recorded.values.shape[2]) if hyper is None else hyper.factors
        self.examples = self.examples_of(np.arange(self.pool), None, None, factors)
        self.evidence = float("nan")
        if hyper is None:
            rows = _spread(len(recorded.steps), recorded.values)
            steps = list(self._steps(rows))
            hyper, cost = choose(steps, self.likeness, fitted is not None)
            self.evidence = cost + self._units(rows, steps)
        self.hyper = hyper

    @cached_property
    def clock(self) -> Clock:
        """What the step sizes of the runs fitted add up to."""
        known = np.isfinite(self.recorded.values).all(axis=2)
        steps, curricula = self.recorded.steps, self.recorded.curricula
        return Clock.of(
            [
                Span(batches, rates, int(steps[0]), int(steps[rows].max(initial=steps[0])))
                for batches, rates, rows in zip(curricula.batches, curricula.learning_rates, known, strict=True)
            ]
        )

    @cached_property
    def sizes(self) -> BatchSizes:
        """How large the batches of the runs fitted are."""
        return BatchSizes.of(self.recorded.curricula.batches)

    def settle(self) -> None:
        """Find by how much more or less than others each test example answers to what is expected."""
        if not self.hyper.scales.any():
            return
        rows = _spread(len(self.recorded.steps), self.recorded.values)
        factors = factors_of(list(self._steps(rows)), self.hyper)
        self.examples = self.examples_of(np.arange(self.pool), None, None, factors)
        self.hyper = replace(self.hyper, factors=factors)

    def _units(self, rows: Sequence[int], steps: Sequence[Step]) -> float:
        """What minus the log-likelihood gains when it is told in the metric's units, so that scales compare."""
        slopes = np.nanmean(np.log(self.link.slope(self.recorded.values[:, rows])), axis=0)
        told = [
            (len(step.members) - 1) * (np.log(step.size) - slope).sum()
            for step, slope in zip(steps, slopes, strict=True)
        ]
        return float(np.mean(told))

    def examples_of(
        self,
        own: Int[np.ndarray, " example"],
        train: Mapping[str, Float[np.ndarray, "example d"]] | None,
        test: Mapping[str, Float[np.ndarray, "test d"]] | None,
        factors: Float[np.ndarray, " test"] | None = None,
        seen: Int[np.ndarray, " test"] | None = None,
        products: Products | None = None,
    ) -> Examples:
        """What is known of training examples (None: those fitted) with regard to test examples (None: those fitted).

        ``factors`` are those of the test examples (None: as fitted), ``seen`` their places among those fitted
        (-1: none), ``products`` what is known of these pairs' gradient products beside those fitted.
        """
        vectors = self.sources.of_fitted() if train is None else self.sources.vectors(train)
        recent = self.sources.recent(vectors)
        if not self.prior:
            return Examples(own, vectors, (), recent)
        ends = self.sources.test_sides if test is None else test
        if self.products is None:
            foretold = self.sources.expected(vectors, ends)
        else:
            fitted = np.arange(self.likeness.vectors.shape[0]) if seen is None else seen
            known = self.products.taken(np.where(own < self.pool, own, -1), fitted)
            known = known if products is None else known.filled(products)
            if not known.whole:
                train = {name: one.train for name, one in self.sources.sets.items()} if train is None else train
                known = known.filled(self.sources.estimated(train, ends, known))
            foretold = known.ways() + self.sources.expected(vectors, ends)
        # Gradients are of the loss: what lowers it raises a metric of which more is better.
        sign = -1.0 if self.higher else 1.0
        told = (sign * (self.hyper.factors if factors is None else factors)).astype(np.float32)
        expected = tuple(Vectors(one.points, one.rows * told) for one in foretold)
        return Examples(own, vectors, expected, recent)

    def _steps(self, rows: Sequence[int] | None = None) -> Iterator[Step]:
        """The recorded steps, or those of some rows, one after the other."""
        kept = np.arange(len(self.recorded.steps)) if rows is None else np.asarray(rows)
        return steps_of(
            self.even[:, kept],
            self.slopes[kept],
            self.recorded.curricula,
            self.recorded.steps[kept],
            self.examples,
            self.likeness,
            self.pool,
        )

    @cached_property
    def solved(self) -> list[tuple[Step, Posterior]]:
        """Each recorded step, condensed, and what is known there."""
        return [(step.condensed(), solve(step, self.hyper, self.likeness)) for step in self._steps()]

    @cached_property
    def left_out(self) -> Float[np.ndarray, "run recorded test"]:
        """Errors of predicting each fitted run from the others, in predicted standard deviations."""
        return self._left_out(np.arange(len(self.recorded.steps)))

    def _left_out(self, rows: Int[np.ndarray, " row"]) -> Float[np.ndarray, "run row test"]:
        shape = (len(self.even), len(rows), self.even.shape[2])
        found = np.full(shape, np.nan, dtype=np.float32)
        for place, (step, posterior) in enumerate(self.solved[row] for row in rows):
            error, variance = posterior.left_out()
            found[step.members, place] = error / np.sqrt(np.maximum(variance, 1e-300))
        return found

    @cached_property
    def left_out_width(self) -> float:
        """What predicted standard deviations would be multiplied by if judged by the runs left out."""
        moved = self._moved()
        return right_width(self._left_out(moved[_evenly(len(moved), JUDGED)]), len(self.even)) if len(moved) else 1.0

    def judge(self) -> None:
        """Find by how much intervals must be widened or narrowed, from the errors of predicting each run from others."""
        count, rows = len(self.even), self._moved()
        if REFIT_RUNS[0] <= count <= REFIT_RUNS[1]:
            # The runs that are left must differ, or any error is without bounds beside them.
            kept = (np.flatnonzero(_part(count) != part) for part in range(REFITS))
            for runs in kept:
                known = np.isfinite(self.even[np.ix_(runs, rows)][:, :, 0]).sum(axis=0) >= 2
                rows = rows[known]
                rows = rows[self._spread_of(runs, rows) > MOVED * self._spread_of(np.arange(count), rows)]
            if len(rows):
                self.widening = right_width(self._refitted(rows[_evenly(len(rows), REFIT_STEPS)]), count)
                return
        self.widening = self.left_out_width

    def _spread_of(self, runs: Int[np.ndarray, " kept"], rows: Int[np.ndarray, " row"]) -> Float[np.ndarray, " row"]:
        """How far these runs differ at these steps, the mean over test examples."""
        return np.asarray(np.nanstd(self.even[np.ix_(runs, rows)], axis=0).mean(axis=1))

    def _moved(self) -> Int[np.ndarray, " row"]:
        """The recorded steps at which runs differ by more than rounding."""
        spread = np.nanstd(self.even, axis=0).mean(axis=1)
        return np.flatnonzero(spread > ROUNDING * spread.max(initial=0.0))

    def _refitted(self, rows: Int[np.ndarray, " row"]) -> Float[np.ndarray, "run row test"]:
        """Errors at some steps of predicting runs by models that were fitted without them, in standard deviations."""
        runs, tests = self.recorded.curricula, self.even.shape[2]
        found = np.full((len(self.even), len(rows), tests), np.nan, dtype=np.float32)
        parts = _part(len(self.even))
        for part in range(REFITS):
            out, kept = np.flatnonzero(parts == part), np.flatnonzero(parts != part)
            recorded = Recorded(
                runs.of(kept),
                self.recorded.steps[rows],
                self.recorded.values[kept][:, rows],
                self.pool,
            )
            model = ExposureModel(
                recorded, self.sources, self.link, prior=self.prior, higher=self.higher, products=self.products
            )
            model.settle()
            centre = np.broadcast_to(model.centre, (len(out), *model.centre.shape))
            look = model.look(runs.of(out), len(rows), Asked(np.arange(tests), centre))
            variance = np.maximum(look.signal + look.noise, 1e-300)
            found[out] = (self.even[out][:, rows] - look.mean) / np.sqrt(variance)
        return found

    @cached_property
    def over_steps(self) -> Float[np.ndarray, "recorded recorded"]:
        """How alike a run's errors are at two recorded steps: a correlation matrix.

        That of the runs left out, drawn towards one that falls exponentially with the distance where runs are few.
        """
        errors = np.nan_to_num(np.moveaxis(self.left_out, 1, 0).reshape(len(self.recorded.steps), -1))
        length = np.sqrt((errors**2).mean(axis=1))
        errors = errors / np.where(length > 0, length, 1.0)[:, None]
        found = errors @ errors.T / errors.shape[1]
        np.fill_diagonal(found, 1.0)
        gaps = np.abs(self.recorded.steps[:, None] - self.recorded.steps[None])
        reaches = np.geomspace(1.0, 20.0 * max(float(gaps.max()), 1.0), 60)
        shapes = [np.exp(-gaps / reach) for reach in reaches]
        shape = min(shapes, key=lambda one: float(((one - found) ** 2).sum()))
        weight = TRUST / (TRUST + len(self.even))
        return np.asarray(weight * shape + (1.0 - weight) * found)

    def look(
        self,
        runs: Curricula,
        rows: int,
        asked: Asked,
        own: Int[np.ndarray, " example"] | None = None,
        train: Mapping[str, Float[np.ndarray, "example d"]] | None = None,
        between: Between | None = None,
    ) -> Outlook:
        """What these curricula would give at the first ``rows`` recorded steps.

        ``own`` and ``train`` are of the examples that the batches name (None: those fitted): their place among those
        fitted, a number beyond for each other one, and their vectors in each feature set. ``between`` says of asked
        steps, which take the place of the recorded ones then, where between these they are.
        """
        steps = self.recorded.steps[:rows]
        own = np.arange(self.pool) if own is None else own
        others, fitted = asked.gradients is not None, asked.seen >= 0
        factors = np.where(fitted, self.hyper.factors[asked.seen], 1.0) if others else self.hyper.factors
        seen = asked.seen if others else None
        given, ours_given = asked.products or (None, None)
        asked_examples = self.examples_of(own, train, asked.gradients, factors, seen, given)
        fitted_examples = self.examples_of(np.arange(self.pool), None, asked.gradients, factors, seen, ours_given)
        at_steps, at = (steps, None) if between is None else (between.steps, between.at)
        theirs = states(runs, at_steps, asked_examples, self._effects(own), at)
        if not others:
            fitted_examples = replace(fitted_examples, expected=())
        ours = states(self.recorded.curricula, steps, fitted_examples, self._effects(own))
        visited = self.solved[:rows]

        def common_of(row: int, told_us: list[Float[np.ndarray, "run test"]]) -> list[Float[np.ndarray, " test"]]:
            step = visited[row][0]
            return [ones[step.members].mean(axis=0) for ones in told_us] if others else [*step.common[:, asked.seen]]

        members = [step.members for step, _ in visited]
        visits = at_rows(theirs, ours) if between is None else between.visits(theirs, ours, members, common_of)
        shape = (len(runs.batches), rows if between is None else 2 * len(at_steps), len(asked.seen))
        mean, signal, prior, noise = (np.empty(shape) for _ in range(4))
        outputs, sizes = self._outputs(asked)
        for visit in visits:
            row, place, (their, told), (our, told_us) = visit.row, visit.place, visit.asked, visit.fitted
            step, posterior = visited[row]
            cross, distance = self._related(step, their, our)
            slopes = self.slopes[row][asked.seen]
            if not fitted.all():
                slopes = np.where(fitted, slopes, self.link.slope(self.link.back(asked.centre[:, row])))
            unit = np.where(fitted, step.size[asked.seen], step.reference * sizes * slopes)
            moved = posterior.mean(cross, outputs) * unit
            common = common_of(row, told_us)
            for scale, one, average in zip(self.hyper.scales, told, common, strict=True):
                moved += scale * (one - average) * slopes
            mean[:, place] = asked.centre[:, row] + moved
            signal[:, place] = posterior.spread(cross, distance, outputs, np.ones(len(sizes))) * unit**2
            prior[:, place] = posterior.variance * posterior.strength * distance[:, None] * unit**2
            noise[:, place] = posterior.variance * unit**2 * (1.0 + 1.0 / len(step.members))
            if asked.doubt is not None:
                noise[:, place] += asked.doubt[:, row]
        if between is not None:
            mean, signal, noise, prior = (between.blended(one) for one in (mean, signal, noise, prior))
        return Outlook(mean, signal, noise, prior)

    def _effects(self, own: Int[np.ndarray, " example"]) -> int:
        """How many examples with effects of their own there are in all."""
        return max(self.pool, int(own.max(initial=-1)) + 1)

    def _related(
        self, step: Step, asked: Sequence[Float[np.ndarray, "asked d"]], fitted: Sequence[Float[np.ndarray, "run d"]]
    ) -> tuple[Float[np.ndarray, "asked run"], Float[np.ndarray, " asked"]]:
        """Covariances of asked and fitted runs, and the variances of asked ones, from where they have come to."""
        cross, distance = np.zeros((len(asked[0]), len(step.members))), np.zeros(len(asked[0]))
        for weight, unit, one, all_ours in zip(self.hyper.weights, step.units, asked, fitted, strict=True):
            ours = all_ours[step.members]
            centre = ours.mean(axis=0)
            cross += weight / unit * ((one - centre) @ (ours - centre).T)
            distance += weight / unit * ((one - centre) ** 2).sum(axis=1)
        return cross, distance

    def _outputs(self, asked: Asked) -> tuple[Float[np.ndarray, "asked column"], Float[np.ndarray, " asked"]]:
        """Covariances of the asked test examples with the columns fitted, and relative sizes of deviations."""
        likeness, fitted = self.likeness, asked.seen >= 0
        signal = self.hyper.alike * np.maximum(likeness.values, 0.0) + (1.0 - self.hyper.alike)
        outputs, sizes = np.empty((len(asked.seen), len(signal))), np.ones(len(asked.seen))
        outputs[fitted] = likeness.vectors[asked.seen[fitted]] * signal
        sizes[fitted] = likeness.sizes[asked.seen[fitted]]
        if not fitted.all():
            cosines, sizes[~fitted] = self.beside(asked.vectors[~fitted])  # type: ignore[index]
            outputs[~fitted] = self.hyper.alike * cosines @ likeness.vectors
        return outputs, sizes

    def beside(
        self, vectors: Float[np.ndarray, "new d"]
    ) -> tuple[Float[np.ndarray, "new test"], Float[np.ndarray, " new"]]:
        """Cosines of other test examples' vectors with those fitted, and their relative lengths."""
        assert self.test_vectors is not None
        ours, theirs = np.linalg.norm(self.test_vectors, axis=1), np.linalg.norm(vectors, axis=1)
        products = vectors @ self.test_vectors.T
        cosines = products / np.maximum(theirs[:, None] * ours[None], 1e-300)
        return cosines, theirs / max(float(np.sqrt(np.mean(ours**2))), 1e-300)


def _evenly(count: int, most: int) -> Int[np.ndarray, " place"]:
    """So many of ``count`` places at most, spread evenly, the last among them."""
    return np.linspace(count - 1, 0, min(most, count)).round().astype(int)[::-1]


def _part(runs: int) -> Int[np.ndarray, " run"]:
    """Which refit each run is left out of."""
    return np.arange(runs) % REFITS


def _spread(steps: int, values: Float[np.ndarray, "run recorded test"]) -> list[int]:
    """Rows to choose hyperparameters on: those where runs differ, or as many of these as are enough."""
    moving = np.flatnonzero(np.nanstd(values, axis=0).mean(axis=1) > 0)
    if not len(moving):
        return [steps - 1]
    places = np.linspace(0, len(moving) - 1, min(STEPS, len(moving)) + 1).round().astype(int)[1:]
    return sorted({int(moving[place]) for place in places} | {int(moving[-1])})
