"""What seeing a training example once more does, in closed form: no run is carried out."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gptfl.core.blocked_products import BlockedProducts
from gptfl.core.blocked_rows import row_blocks
from gptfl.estimators.exposure_gp.accumulation import Vectors
from gptfl.estimators.exposure_gp.curricula import RECENT
from gptfl.estimators.exposure_gp.model import ExposureModel
from gptfl.estimators.exposure_gp.target import TargetPosterior


@dataclass(frozen=True, slots=True)
class Presentations:
    """Each example seen once more in place of the average one, as the process sees it.

    ``cross`` are covariances with the runs fitted and ``distance`` its variances, both in units of the posterior's, of
    the examples' own effects first and, where there are vectors, of those that they tell together; ``expected`` is the
    prior mean on each target, in the metric's units. ``seen`` is how much of each example the runs have seen, as it counts in
    a batch, less the mean over runs; 0 for one that isn't in the pool. ``rate`` is how much seeing an example once counts.
    """

    cross: Float[np.ndarray, "source example run"]
    distance: Float[np.ndarray, "source example"]
    expected: Float[np.ndarray, "example target"]
    own: "OwnEffects"
    shared: tuple[tuple[float, Float[np.ndarray, "example d"]], ...]
    """What vectors tell: vectors whose products, times the number beside them, are covariances."""
    seen: Float[np.ndarray, "run example"]
    rate: float


@dataclass(frozen=True, slots=True)
class OwnEffects:
    """Covariances of own effects, less those of the average example, which has a share of every one fitted.

    An example counts by its ``sizes`` (1, or its tokens in units of the pool's mean), and so does the average one beside it.
    That of i and j is ``scale`` times ``squares`` where they are one, less ``sizes_i shares_j + sizes_j shares_i - mean_square
    sizes_i sizes_j`` over the ``pool``.
    """

    scale: float
    sizes: Float[np.ndarray, " example"]
    squares: Float[np.ndarray, " example"]
    shares: Float[np.ndarray, " example"]
    mean_square: float
    """Of the sizes of the pool fitted."""
    pool: int

    def of_sums(
        self,
        sizes: Float[np.ndarray, " sum"],
        squares: Float[np.ndarray, " sum"],
        shares: Float[np.ndarray, " sum"],
    ) -> Float[np.ndarray, " sum"]:
        """The variances of sums of examples, by the sums of their ``sizes``, ``squares`` and ``shares``."""
        return np.asarray(self.scale * (squares - (2.0 * sizes * shares - self.mean_square * sizes**2) / self.pool))


def presentations(
    model: ExposureModel,
    places: Int[np.ndarray, " example"],
    train: Mapping[str, Float[np.ndarray, "example d"]],
    weights: Float[np.ndarray, "target test"],
    tokens: Float[np.ndarray, " example"] | None = None,
) -> Presentations:
    """Covariances, variances and prior means of seeing examples once more, at the last recorded step: see ``influence``.

    Args:
        model: fitted.
        places: the examples' places in the pool fitted, -1 for one that is not in it; shape ``[example]``.
        train: their rows of each feature set fitted, by the set's name; empty where there are no features.
        weights: of the test examples in each sum, shape ``[target, test]``.
        tokens: how many each example is trained on, which counts for those not fitted; the pool's mean where it is NaN.
    """
    step, _ = model.solved[-1]
    every, fitted_here = model.recorded.curricula.relative, places >= 0
    relative = _relative(model, places, tokens)
    moved = _moved_by(model, train, relative, every is not None)
    rate = _rate(model)
    sources = 2 if moved.effects else 1
    cross, distance = np.zeros((sources, len(places), len(step.members))), np.zeros((sources, len(places)))
    ours = model.states.own_at_end(step.members, places[fitted_here])
    weight = model.hyper.weights[0] / step.units[0] * rate
    # The average example is a little of each: its share of every other's own effect.
    cross[0, fitted_here] = weight * (ours.columns * relative[fitted_here]).T
    cross[0] -= weight * relative[:, None] * ours.mean
    square = relative**2
    shares = np.where(fitted_here, square, 0.0)
    mean_square = 1.0 if every is None else float((every**2).mean())
    alone = OwnEffects(weight * rate, relative, square, shares, mean_square, model.pool)
    distance[0] += alone.of_sums(relative, square, shares)
    shared = []
    last = model.states.last()
    next(last)
    for source, (one, state) in enumerate(zip(moved.effects, last, strict=True), start=1):
        fitted = np.asarray(state)[step.members]
        weight = model.hyper.weights[source] / step.units[source] * rate
        cross[1] += weight * (one @ (fitted - fitted.mean(axis=0)).T)
        distance[1] += weight * rate * (one**2).sum(axis=1)
        shared.append((weight * rate, one))
    expected = rate * _expected(model, moved, places, train, weights, relative)
    seen = np.zeros((len(step.members), len(places)))
    seen[:, fitted_here] = ours.columns
    return Presentations(cross, distance, expected, alone, tuple(shared), seen, rate)


def _relative(
    model: ExposureModel, places: Int[np.ndarray, " example"], tokens: Float[np.ndarray, " example"] | None
) -> Float[np.ndarray, " example"]:
    """How much each example counts in the loss of a batch, in units of the mean of the pool fitted."""
    recorded = model.recorded.curricula
    if recorded.relative is None:
        return np.ones(len(places))
    new = np.ones(len(places)) if tokens is None else np.where(np.isnan(tokens), 1.0, tokens / recorded.unit)
    return np.where(places >= 0, recorded.relative[np.maximum(places, 0)], new)


@dataclass(frozen=True, slots=True)
class _Moved:
    """How far a unit of exposure to each example moves a run, less as much exposure to the average of the pool fitted.

    An example that counts more in a batch, by its tokens, counts more of what the others would have had.

    ``effects`` is in each source of effects that vectors tell, ``middles`` by the middle point of some paths alone.
    """

    effects: list[Float[np.ndarray, "example d"]]
    middles: dict[int, Float[np.ndarray, "example d"]]


def _moved_by(
    model: ExposureModel,
    train: Mapping[str, Float[np.ndarray, "example d"]],
    relative: Float[np.ndarray, " example"],
    weighted: bool,
) -> _Moved:
    sources, means = model.sources, model.states.means
    vectors = sources.vectors(train, relative if weighted else None)
    effects = [_moved(model, one, mean, relative) for one, mean in zip(vectors, means, strict=True)]
    recent, middles = [], {}
    for number, (points, one, mean) in enumerate(zip(sources.paths, vectors, means, strict=True)):
        if points[-1][1] == sources.last:
            recent = [_moved(model, one, mean, relative, reach) for reach in RECENT]
        if len(points) > 1 and sources.is_point(points[-1][1]):
            middle = len(points) // 2
            middles[number] = one.rows[middle] - relative[:, None] * mean[middle]
    return _Moved(effects + recent, middles)


def _expected(
    model: ExposureModel,
    moved: _Moved,
    places: Int[np.ndarray, " example"],
    train: Mapping[str, Float[np.ndarray, "example d"]],
    weights: Float[np.ndarray, "target test"],
    relative: Float[np.ndarray, " example"],
) -> Float[np.ndarray, "example target"]:
    """What gradients expect of a unit of step size on each example, in sums of the test examples."""
    found = np.zeros((len(places), len(weights)))
    states, sources, scales = model.states, model.sources, iter(model.hyper.scales)
    if not model.prior:
        return found
    own, signed = np.where(places >= 0, places, model.pool), states.signed(model.hyper.factors)
    known = states.known_ways(own, train, sources.test_sides, None, None)
    for one, (_, mean) in zip(known, states.known_means, strict=True):
        found += next(scales) * _known(model, one, mean, relative, signed * weights)
    for number, points in enumerate(sources.paths):
        last = points[-1][1]
        if not sources.is_point(last):
            continue
        # Gradient times gradient: the test examples' are summed up first.
        gradients = (signed * weights) @ np.asarray(sources.sets[last].test, dtype=np.float64)
        found -= next(scales) * (moved.effects[number] @ gradients.T)
        if number in moved.middles:
            found -= next(scales) * (moved.middles[number] @ gradients.T)
    return found


def _known(
    model: ExposureModel,
    way: Vectors,
    average: Float[np.ndarray, "point test"],
    relative: Float[np.ndarray, " example"],
    weights: Float[np.ndarray, "target test"],
) -> Float[np.ndarray, "example target"]:
    """What known products expect of a unit of exposure; those in blocks are summed over test examples as they are read."""
    if not isinstance(way.rows, BlockedProducts):
        return np.asarray(_moved(model, way, average, relative) @ weights.T)
    passing = _passing(model, way, None)
    found = -relative[:, None] * ((passing @ average) @ weights.T)
    for share, rows in zip(passing, way.rows, strict=True):
        for start, block in row_blocks(rows) if share else ():
            found[start : start + len(block)] += share * (block @ weights.T)
    return np.asarray(found)


def influence(
    model: ExposureModel,
    places: Int[np.ndarray, " example"],
    train: Mapping[str, Float[np.ndarray, "example d"]],
    weights: Float[np.ndarray, "target test"],
    tokens: Float[np.ndarray, " example"] | None = None,
) -> tuple[Float[np.ndarray, "example target"], Float[np.ndarray, "example target"]]:
    """What seeing an example once more, in place of the average one, does to weighted sums of the metric; with its
    deviation.

    It is that at the last recorded step, at the mean step size, in a batch of the usual size, at no step in particular. Where
    examples count by their tokens, one of many takes as much more from the others' share of the batch.

    Args:
        model: fitted.
        places: the examples' places among those fitted (-1: none).
        train: their vectors, by the set's name.
        weights: of the test examples in each sum.
        tokens: how many each example is trained on (see ``presentations``).

    Returns mean and standard deviation, in the metric's units.
    """
    presented = presentations(model, places, train, weights, tokens)
    _, posterior = model.solved[-1]
    outputs, own = _outputs(model, weights)
    cross = presented.cross.sum(axis=0)
    mean = posterior.mean(cross, outputs) + presented.expected
    spread = posterior.spread(cross, presented.distance.sum(axis=0), outputs, own)
    return mean, model.interval_scale * np.sqrt(spread)


def influence_on_target(
    model: ExposureModel,
    places: Int[np.ndarray, " example"],
    train: Mapping[str, Float[np.ndarray, "example d"]],
    weights: Float[np.ndarray, " test"],
    posterior: TargetPosterior,
    tokens: Float[np.ndarray, " example"] | None = None,
) -> tuple[Float[np.ndarray, " example"], Float[np.ndarray, " example"], Float[np.ndarray, " example"]]:
    """Mean, standard deviation, and that before any run, of ``influence`` on one weighted sum of the metric.

    Args:
        model: fitted.
        places: the examples' places in the pool fitted, -1 for one that is not in it; shape ``[example]``.
        train: their rows of each feature set fitted, by the set's name; empty where there are no features.
        weights: of the test examples in the sum, shape ``[test]``.
        posterior: what is known of that sum, by its own signal and noise.
        tokens: how many each example is trained on (see ``presentations``).

    All three have the shape ``[example]`` and the metric's units.
    """
    presented = presentations(model, places, train, weights[None], tokens)
    mean = posterior.mean(presented.cross) + presented.expected[:, 0]
    variance, before = posterior.variance(presented.cross, presented.distance), posterior.before(presented.distance)
    return mean, np.sqrt(variance), np.sqrt(before)


def _outputs(
    model: ExposureModel, weights: Float[np.ndarray, "target test"]
) -> tuple[Float[np.ndarray, "target column"], Float[np.ndarray, " target"]]:
    """The targets' covariances with the fitted outputs along their eigenvectors, and their own variances."""
    step, posterior = model.solved[-1]
    turned = (weights * step.size / model.slopes[-1]) @ posterior.columns.vectors
    outputs = turned * posterior.columns.signal
    return outputs, (turned * outputs).sum(axis=1)


def first_order(
    model: ExposureModel,
    train: Mapping[str, Float[np.ndarray, "example d"]],
    parts: Mapping[str, Float[np.ndarray, "part d"]],
    test: int,
) -> Float[np.ndarray, "example part"]:
    """The first-order influence on parts of a fitted test example, given the parts' gradients; as ``influence``, without
    deviation.

    The parts answer to it as the whole example does.

    Args:
        model: fitted to gradients.
        train: the vectors of the pool fitted, by the set's name.
        parts: the gradients of the parts, such as tokens, by the set's name.
        test: place of the test example.
    """
    count = len(next(iter(parts.values())))
    factors, seen = np.full(count, model.hyper.factors[test]), np.full(count, -1)
    examples = model.states.examples_of(np.arange(model.pool), train, parts, factors, seen)
    every = model.recorded.curricula.relative
    relative = np.ones(model.pool) if every is None else every
    found = np.zeros((model.pool, count))
    for scale, one in zip(model.hyper.scales, examples.expected, strict=True):
        found += scale * _rate(model) * _moved(model, one, one.rows.mean(axis=1), relative)
    return found


def _moved(
    model: ExposureModel,
    theirs: Vectors,
    average: Float[np.ndarray, "point d"],
    relative: Float[np.ndarray, " example"],
    reach: float | None = None,
) -> Float[np.ndarray, "example d"]:
    """How far a unit of exposure to each of their examples moves a run, less as much to the average of the pool fitted."""
    passing = _passing(model, theirs, reach)
    points, examples, width = theirs.rows.shape
    moved = (passing.astype(theirs.rows.dtype) @ theirs.rows.reshape(points, examples * width)).reshape(examples, width)
    return np.asarray(moved - relative[:, None] * (passing @ average))


def _rate(model: ExposureModel) -> float:
    """How much seeing an example once counts in the runs fitted, on average."""
    curricula = model.recorded.curricula
    taken = (curricula.batches >= 0).any(axis=2)
    return float(curricula.left_at(int(model.recorded.steps[-1]))[taken].mean())


def _passing(model: ExposureModel, vectors: Vectors, reach: float | None) -> Float[np.ndarray, " point"]:
    """How much each point of a path counts over a whole run, where step sizes are those of the runs fitted."""
    curricula = model.recorded.curricula
    rates = curricula.learning_rates.mean(axis=0)
    if curricula.fading is not None:
        # What comes early is half gone at the end, and counts for less of what a usual presentation does.
        lasting = curricula.lasting.weights.mean(axis=0)
        rates = (
            rates * curricula.left_at(int(model.recorded.steps[-1])).mean(axis=0) / np.where(lasting > 0, lasting, 1.0)
        )
    left = np.arange(len(rates) - 1, -1, -1)
    kept = np.ones(len(rates)) if reach is None else np.exp(-left / reach)
    found = np.zeros(len(vectors.points))
    for step, rate in enumerate(rates):
        for point, weight in vectors.weights(step):
            found[point] += kept[step] * rate * weight
    return np.asarray(found / max(float(rates.sum()), 1e-300))
