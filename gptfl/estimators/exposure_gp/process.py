"""A Gaussian process over how far a run departs from the average one, driven by what it has seen.

The deviation of run k at recorded step t on test example j, on an even scale (``links``), is

    z_k(t, j) - mean_t,j  =  prior_k(t, j) + signal + noise

``prior`` is a non-negative combination of given first-order expectations (gradient products), ``signal`` a Gaussian
process that is linear in the run's step-size-weighted exposures through covariances between training examples, and
shared between test examples as far as they are alike. Everything that runs have in common is in the mean. Where runs
repeat others, a part of the noise is shared by runs of nearly the same exposures: what is linear in nothing, yet no
chance (a lack of fit).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from gptfl.estimators.exposure_gp.accumulation import accumulated, accumulated_counts
from gptfl.estimators.exposure_gp.curricula import RECENT as RECENT
from gptfl.estimators.exposure_gp.curricula import Curricula as Curricula
from gptfl.estimators.exposure_gp.curricula import Examples as Examples
from gptfl.estimators.exposure_gp.deviation_sizes import size_power, sizes_of
from gptfl.estimators.exposure_gp.own_products import OwnProducts
from gptfl.estimators.exposure_gp.repeats import Effect, first_of, near_runs, squares_of
from gptfl.estimators.exposure_gp.similarity import SimilarityKernel

States = tuple[list[Effect], list[Float[np.ndarray, "run test"]]]
"""Where runs have come to: in each source of effects, and as expected in each way."""
STEPS = 8
"""Hyperparameters are chosen on this many steps, spread over the run: neighbours tell the same."""


def states(
    runs: Curricula,
    steps: Int[np.ndarray, " recorded"],
    examples: Examples,
    own: int,
    at: Float[np.ndarray, " step_and_end"] | None = None,
) -> Iterator[States]:
    """Where every run has come to at each recorded step: in its examples' effects, and as expected.

    Args:
        runs: batches and step sizes.
        steps: recorded steps, ascending.
        examples: their effects and expectations.
        own: how many examples have an effect of their own.
        at: which recorded step each of theirs stands for (None: itself).
    """
    renumbered = np.where(runs.batches >= 0, examples.own[runs.batches], -1)
    weights = runs.weights
    sources = [_counted(accumulated_counts(renumbered, weights, steps, own), examples, own)]
    sources += [accumulated(runs.batches, weights, steps, *effect, at) for effect in examples.effects]
    expected = [accumulated(runs.batches, weights, steps, vectors, None, at) for vectors in examples.expected]
    for kept in runs.kept(steps)[:, :, None]:
        effects: list[Effect] = [next(source) for source in sources]
        changes = [next(source) for source in expected]
        # What stays is passed on as it is: the same arrays each time, and no copy of them.
        yield (
            (effects, changes)
            if runs.fading is None
            else ([one * kept for one in effects], [one * kept for one in changes])
        )


def _counted(
    exposures: Iterator[Float[np.ndarray, "run own"]], examples: Examples, own: int
) -> Iterator[Float[np.ndarray, "run own"]]:
    """Exposures of examples that count by themselves, as they count in the loss of a batch."""
    if examples.relative is None:
        return exposures
    factors = np.ones(own)
    factors[examples.own] = examples.relative
    return (one * factors for one in exposures)


@dataclass
class Step:
    """One recorded step of the runs fitted: deviations and expectations in units of ``size`` [test].

    ``members`` are the runs that were recorded there; ``common`` is what was expected of them on average, in the
    metric's units.
    ``reference`` is the size of a deviation for a test example of relative size 1 and a scale of slope 1.
    ``known`` says which deviations there are, None where all; those that aren't are 0. ``near`` is how much of the noise
    that runs of the same exposures share any two runs do, and ``groups`` which of them repeat one another, None where none does.
    """

    covariances: Float[np.ndarray, "source run run"]
    units: Float[np.ndarray, " source"]
    deviations: Float[np.ndarray, "run test"]
    expected: Float[np.ndarray, "expected run test"]
    size: Float[np.ndarray, " test"]
    reference: float
    members: Int[np.ndarray, " run"]
    common: Float[np.ndarray, "expected test"]
    known: Bool[np.ndarray, "run test"] | None = None
    near: Float[np.ndarray, "run run"] | None = None
    groups: Int[np.ndarray, " run"] | None = None

    def noise(self, lack: float) -> Float[np.ndarray, "run run"] | None:
        """The correlation of the runs' noise, of which so much is shared; None where it is the identity."""
        return None if self.near is None else (1.0 - lack) * np.eye(len(self.near)) + lack * self.near

    def condensed(self) -> "Step":
        """Without what is only needed to learn from it."""
        none = np.zeros((0, 0, 0))
        return replace(self, covariances=none, deviations=np.zeros((0, 0)), expected=none)

    def of_runs(self, rows: Int[np.ndarray, " kept"]) -> "Step":
        """The same step of some of its runs; sizes and units stay."""
        known = None if self.known is None or self.known[rows].all() else self.known[rows]
        return replace(
            self,
            covariances=self.covariances[:, rows][:, :, rows],
            deviations=self.deviations[rows],
            expected=self.expected[:, rows],
            members=self.members[rows],
            known=known,
            near=None if self.near is None else self.near[np.ix_(rows, rows)],
            groups=None if self.groups is None else self.groups[rows],
        )


def steps_of(
    values: Float[np.ndarray, "run recorded test"],
    slopes: Float[np.ndarray, "recorded test"],
    fitted: Iterable[States],
    kernel: SimilarityKernel,
    *,
    groups: Int[np.ndarray, " run"] | None = None,
    power: float = 1.0,
) -> Iterator[Step]:
    """The steps of the runs fitted, one after the other; runs that are all NaN at a step aren't in it.

    Args:
        values: on the even scale (NaN: unknown).
        slopes: of the even scale at the mean.
        fitted: where the runs have come to at each of these steps.
        kernel: the similarity of test examples, and their relative sizes.
        groups: which runs repeat one another; where it is given, runs of nearly the same exposures share noise.
        power: of the sizes that are expected of deviations (``deviation_sizes.size_power``).
    """
    for row, (effects, expected) in enumerate(fitted):
        members = np.flatnonzero(np.isfinite(values[:, row]).any(axis=1))
        repeats = None if groups is None else groups[members]
        # Repeats change no unit of covariances: what they add is measured in those of the others.
        once = slice(None) if repeats is None else first_of(repeats)
        found, units = [], []
        for effect in effects:
            covariance = _products(effect, members)
            of_units = covariance if repeats is None else _products(effect, members[once])
            # Of runs that have all come to the same place, the way there is the unit.
            unit = float(np.trace(of_units)) / max(len(of_units) - 1, 1)
            unit = unit or float(squares_of(effect)[members].mean()) or 1.0
            found.append(covariance / unit)
            units.append(unit)
        deviations, known = _deviations(values[members, row])
        # All runs tell sizes: those that end as repeats have often seen something else at first, and the others the same.
        size, reference = sizes_of(deviations, known, (kernel.sizes * slopes[row]) ** power)
        prior, common = np.zeros((len(expected), *deviations.shape)), np.zeros((len(expected), len(size)))
        for number, one in enumerate(expected):
            common[number] = one[members].mean(axis=0)
            prior[number] = _differences(one[members]) * (slopes[row] / size)
        shared = None if repeats is None else near_runs(effects[0], effects[0], members, units[0])
        covariances, scaled = np.stack(found), deviations / size
        yield Step(
            covariances,
            np.array(units),
            deviations=scaled,
            expected=prior,
            size=size,
            reference=reference,
            members=members,
            common=common,
            known=known,
            near=shared,
            groups=repeats,
        )


def likeliest_size_power(
    values: Float[np.ndarray, "run recorded test"], slopes: Float[np.ndarray, "recorded test"], kernel: SimilarityKernel
) -> float:
    """How far gradient lengths and the slope of the even scale tell how far test examples deviate (``size_power``).

    Args:
        values: of the runs fitted, on the even scale (NaN: unknown), at the steps to tell it by.
        slopes: of the even scale at the mean.
        kernel: has the relative lengths.
    """
    rows = range(values.shape[1])
    members = [np.isfinite(values[:, row]).any(axis=1) for row in rows]
    return size_power(
        [_deviations(values[members[row], row]) for row in rows], [kernel.sizes * slopes[row] for row in rows]
    )


def _deviations(
    values: Float[np.ndarray, "run test"],
) -> tuple[Float[np.ndarray, "run test"], Bool[np.ndarray, "run test"] | None]:
    """Values less their mean over runs, 0 where there is none; and which there are, None where all."""
    known = np.isfinite(values)
    level = np.where(known, values, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    apart = np.where(known, values - level, 0.0)
    # The mean of equal numbers is not always that number.
    if np.abs(apart).max(initial=0.0) <= 1e-12 * np.abs(values[known]).max(initial=0.0):
        apart = np.zeros_like(apart)
    return apart, None if known.all() else known


def _products(effect: Effect, members: Int[np.ndarray, " kept"]) -> Float[np.ndarray, "run run"]:
    """The products of some runs' states less their mean with one another."""
    if isinstance(effect, OwnProducts):
        return effect.of(members, members).centred()
    centred = _differences(effect[members])
    return np.asarray(centred @ centred.T)


def _differences(states: Float[np.ndarray, "run d"]) -> Float[np.ndarray, "run d"]:
    """States less their mean; nothing where they differ by no more than the precision of their vectors."""
    centred = states - states.mean(axis=0)
    rounded = np.abs(centred).max(initial=0.0) <= 1e-6 * np.abs(states).max(initial=0.0)
    return np.zeros_like(centred) if rounded else centred
