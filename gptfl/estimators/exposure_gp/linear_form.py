"""A fitted Gaussian process as small arrays: what it predicts for any subset of its pool, in the mean over all orders.

In that mean each example of a subset is seen equally at each step, so that a run's state is the mean of what it would be
if it had seen one of them alone. All that is predicted follows from these means: expectations are linear in them, and
variances quadratic. Both are kept in fewer numbers than there are examples, where so many tell as much.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gptfl.core import Query
from gptfl.core.linear_form import FormBreadth, FormIntervals, FormRecipe, FormTargets, FormVariance, LinearForm
from gptfl.errors import DataError
from gptfl.estimators.exposure_gp.breadth import ROUNDING, SHARE
from gptfl.estimators.exposure_gp.intervals import LEVELS, SURE, recorded_extremes
from gptfl.estimators.exposure_gp.model import ExposureModel
from gptfl.estimators.exposure_gp.process import Curricula, Step, states
from gptfl.estimators.exposure_gp.spread import means

CLOSE, CLOSE_ROWS = 2e-4, 2e-5
"""By these shares of their sizes over the pool what an example does to predictions may be rounded, and how far it lies along
what runs differ in: of the square of that, most is taken off again."""
CLOSE_SQUARES = 1e-4
"""By this share the squared distance of a subset from the average run may be rounded."""
MOST = 4000
"""Products of every pair of examples at every step are held at once, for pools of at most so many."""
PROBES = 32
"""So many random vectors a step find the directions in which examples' states differ."""
TRIED = 24
"""So many random subsets say whether it is."""


def linear_form(
    model: ExposureModel,
    reach: Float[np.ndarray, " level"],
    query: Query,
    begins_apart: bool,
    targets: Float[np.ndarray, "target test"] | None = None,
) -> LinearForm:
    """The arrays for the recipe of a query about every order.

    Args:
        model: what was fitted.
        reach: how many standard deviations intervals of each of ``LEVELS`` reach to each side.
        query: about every order by the recipe; its subset plays no part.
        begins_apart: whether recorded runs differ at their first step already.
        targets: weighted means of test examples whose changes are to be told together; None for none.

    Raises ``DataError`` where predictions are
    not of this form.
    """
    _check(model, query, begins_apart)
    steps, rates = model.recorded.steps, query.learning_rates[0]
    relative = model.recorded.curricula.relative
    weights = np.ones(model.pool) if relative is None else relative
    parts = list(_parts(model, rates, weights))
    tests = model.even.shape[2]
    close = [np.repeat([CLOSE, CLOSE_ROWS], [tests, part.rows.shape[1]]) for part in parts]
    factors, fitted = _factors([np.concatenate([part.effects, part.rows], axis=1) for part in parts], close)
    slope = np.stack([one[:, :tests].T for one in fitted])
    squares = _Squares.of([part.products for part in parts], np.stack([part.own for part in parts], axis=1), weights)
    posteriors = [posterior for _, posterior in model.solved]
    widest = max(part.rows.shape[1] for part in parts)
    known = np.stack([np.pad(part.known, ((0, widest - len(part.known)), (0, 0))) for part in parts])
    rows = np.stack([np.pad(one[:, tests:].T, ((0, widest - one.shape[1] + tests), (0, 0))) for one in fitted])
    recorded = means(model.recorded.values)
    base = model.centre + np.stack([posterior.shift * step.size for step, posterior in model.solved])
    breadth = model.recipe.breadth
    assert len(posteriors) == len(steps)
    course = np.column_stack([model.centre, recorded.mean(axis=1)])
    late = np.abs(course - course[:1]) * model.recipe.lately[:, None]
    has_width = (model.knows_width or not model.floor) and not model.binary
    extremes = recorded_extremes(model.recorded.values, np.arange(tests), None)
    return LinearForm(
        link=model.link,
        recipe=FormRecipe(rates, query.drawn.shape[2], steps),
        first=query.first[0],
        average=recorded,
        weights=weights,
        factors=factors,
        base=base,
        slope=slope,
        variance=FormVariance(
            factors=squares.factors,
            squares=squares.own,
            quadratic=squares.quadratic,
            rows=rows,
            known=known,
            spread=np.stack([part.spread for part in parts]),
            noise=np.stack([part.noise for part in parts]),
        ),
        breadth=FormBreadth(breadth.least, breadth.most, SHARE, ROUNDING, late),
        intervals=FormIntervals(
            model.interval_scale,
            dict(zip(LEVELS, reach.tolist(), strict=True)) if has_width else {},
            SURE,
            np.stack(extremes),
        ),
        trials=len(model.even) if model.binary else 0,
        targets=None if targets is None else _targets(model, targets, known.shape[1]),
    )


def _targets(model: ExposureModel, weights: Float[np.ndarray, "target test"], rows: int) -> FormTargets:
    """What is known of weighted means of test examples at the last step, for each two of them."""
    step, posterior = model.solved[-1]
    turned = (weights * step.size / model.slopes[-1]) @ posterior.columns.vectors
    of_target = turned * posterior.columns.signal
    known = posterior.variance * np.einsum("rc,ac,bc->rab", posterior.precision, of_target, of_target)
    recorded = means(model.recorded.values)
    return FormTargets(
        weights=weights,
        spread=posterior.variance * posterior.strength * (turned @ of_target.T),
        known=np.pad(known, ((0, rows - len(known)), (0, 0), (0, 0))),
        lately=weights @ (recorded[-1] - recorded[0]) * model.recipe.lately[-1],
    )


def _check(model: ExposureModel, query: Query, begins_apart: bool) -> None:
    """Raise ``DataError`` where predictions for the recipe of a query aren't linear in the members of a subset."""
    problem = None
    if query.typical is None or query.unseen is not None:
        problem = "it is asked about examples that it wasn't fitted to"
    elif model.pool > MOST:
        problem = f"its pool of {model.pool} is larger than {MOST}"
    elif model.lack:
        problem = "recorded runs repeat one another, and what repeats share is not linear in what a run sees"
    elif begins_apart:
        problem = "recorded runs differ at their first step already, and predictions go on from there"
    elif any(posterior.gaps is not None for _, posterior in model.solved):
        problem = "some recorded runs lack scores of some test examples"
    elif not model.recipe.clock.place(query, model.recorded.steps).plain.all():
        problem = "the recipe's step sizes add up to others than recorded runs'"
    elif model.recipe.sizes.other(query.drawn).any():
        problem = "the recipe's batches are of another size than recorded runs'"
    if problem is not None:
        raise DataError(f"exposure-gp has no linear form: {problem}", "ask it by gptfl simulate")


@dataclass(frozen=True, slots=True)
class _Part:
    """What each example alone would do at one recorded step, less its share of the average run's state.

    ``effects`` are on predictions, ``rows`` along what recorded runs differ in, ``products`` of two examples' states without
    ``own``, the squares of what is each example's own. The others are as in ``FormVariance``.
    """

    effects: Float[np.ndarray, "pool test"]
    rows: Float[np.ndarray, "pool row"]
    products: Float[np.ndarray, "pool pool"]
    own: Float[np.ndarray, " pool"]
    known: Float[np.ndarray, "row column"]
    spread: Float[np.ndarray, " column"]
    noise: Float[np.ndarray, " column"]


def _parts(
    model: ExposureModel, rates: Float[np.ndarray, " step"], weights: Float[np.ndarray, " pool"]
) -> Iterator[_Part]:
    """The recorded steps, one after the other."""
    steps, pool = model.recorded.steps, np.arange(model.pool)
    alone = np.broadcast_to(pool[:, None, None], (model.pool, len(rates), 1))
    ones = Curricula(
        alone, np.broadcast_to(rates, (model.pool, len(rates))), per=1, fading=model.recorded.curricula.fading
    )
    theirs = states(ones, steps, model.states.examples, model.pool)
    ours = states(model.recorded.curricula, steps, model.states.examples, model.pool)
    outputs = np.asarray(model.kernel.vectors) * model.solved[0][1].columns.signal
    for row, ((each, expected), (fitted, base)) in enumerate(zip(theirs, ours, strict=True)):
        step, posterior = model.solved[row]
        cross, products = np.zeros((model.pool, len(step.members))), np.zeros((model.pool, model.pool))
        for weight, unit, one, everyone in zip(model.hyper.weights, step.units, each, fitted, strict=True):
            members = np.asarray(everyone)[step.members]
            centre = members.mean(axis=0)
            apart = np.asarray(one) - weights[:, None] * centre
            cross += weight / unit * (apart @ (members - centre).T)
            products += weight / unit * (apart @ apart.T)
        # An example alone is exposed to itself only: these products are a diagonal, which is no matter of few numbers.
        own = model.hyper.weights[0] / step.units[0] * np.asarray(each[0]).diagonal() ** 2
        products -= np.diag(own)
        effects = (posterior.strength * cross @ posterior.dual) @ outputs.T * step.size
        for scale, one, average in zip(model.hyper.scales, expected, base, strict=True):
            common = average[step.members].mean(axis=0)
            effects += scale * (one - weights[:, None] * common) * model.slopes[row]
        rows = posterior.strength * cross @ posterior.rows.vectors
        yield _Part(effects, rows, products, own, *_columns(model, step, row, outputs))


def _columns(
    model: ExposureModel,
    step: Step,
    row: int,
    outputs: Float[np.ndarray, "test column"],
) -> tuple[Float[np.ndarray, "row column"], Float[np.ndarray, " column"], Float[np.ndarray, " column"]]:
    """What is known, the spread and the noise at a step: of each test example, and of their mean in the metric's units."""
    posterior = model.solved[row][1]
    turned = (step.size / (model.slopes[row] * len(step.size))) @ posterior.columns.vectors
    of_mean = turned * posterior.columns.signal
    squares = np.concatenate([outputs**2 * step.size[:, None] ** 2, of_mean[None] ** 2])
    known = posterior.variance * (posterior.precision @ squares.T)
    own, own_noise = posterior.columns.variances
    spread = posterior.variance * posterior.strength * np.append(own * step.size**2, turned @ of_mean)
    noise = np.append(own_noise * step.size**2, turned**2 @ posterior.columns.noise)
    return known, spread, posterior.variance * noise * (1.0 + 1.0 / len(step.members))


def _factors(
    parts: list[Float[np.ndarray, "pool column"]], close: list[Float[np.ndarray, " column"]]
) -> tuple[Float[np.ndarray, "pool k"], list[Float[np.ndarray, "k column"]]]:
    """Fewer numbers an example from which each part follows linearly, and how; each column as ``close`` to its size."""
    stacked = np.concatenate(parts, axis=1)
    sizes = np.sqrt((stacked**2).mean(axis=0))
    scaled = stacked / np.where(sizes > 0, sizes, 1.0)
    values, vectors = np.linalg.eigh(scaled @ scaled.T)
    vectors = vectors[:, ::-1][:, values[::-1] > 0]
    turned = vectors.T @ scaled
    # What the first k leave of each column's square, which is the pool's size where nothing is taken.
    left = np.maximum((scaled**2).sum(axis=0) - np.cumsum(turned**2, axis=0), 0.0)
    enough = np.flatnonzero((left <= np.concatenate(close) ** 2 * len(scaled)).all(axis=1))
    count = int(enough[0]) + 1 if len(enough) else vectors.shape[1]
    kept = turned[:count] * sizes
    ends = np.cumsum([part.shape[1] for part in parts])[:-1]
    return vectors[:, :count], np.split(kept, ends, axis=1)


def _range(
    products: list[Float[np.ndarray, "pool pool"]], random: np.random.Generator
) -> Float[np.ndarray, "pool pool"]:
    """Orthonormal directions, those first along which the products of any step reach farthest.

    From what the products make of random vectors (Halko, Martinsson and Tropp, 2011, SIAM Review 53, algorithm 4.1).
    """
    pool = len(products[0])
    sizes = [max(float(np.linalg.norm(one)), 1e-300) for one in products]
    reached = [
        one @ random.normal(size=(pool, min(PROBES, pool))) / size for one, size in zip(products, sizes, strict=True)
    ]
    stacked = np.concatenate(reached, axis=1)
    return np.asarray(np.linalg.eigh(stacked @ stacked.T)[1][:, ::-1])


@dataclass(frozen=True, slots=True)
class _Squares:
    """Products of examples' states in fewer numbers, and what these leave of each with itself."""

    factors: Float[np.ndarray, "pool l"]
    quadratic: Float[np.ndarray, "recorded l l"]
    own: Float[np.ndarray, "pool recorded"]

    @classmethod
    def of(
        cls,
        products: list[Float[np.ndarray, "pool pool"]],
        own: Float[np.ndarray, "pool recorded"],
        weights: Float[np.ndarray, " pool"],
    ) -> "_Squares":
        """The least numbers that tell the squared distances of random subsets closely enough.

        ``own`` are squares that ``products`` lack on their diagonals.
        """
        pool, count = len(weights), 16
        random = np.random.default_rng(0)
        vectors = _range(products, random)
        counts = np.unique(np.geomspace(1, pool, TRIED).round().astype(int))
        tried = np.zeros((len(counts), pool))
        for place, size in enumerate(counts):
            tried[place, random.permutation(pool)[:size]] = 1.0
        tried /= (tried @ weights)[:, None]
        truth = np.stack([((tried @ one) * tried).sum(axis=1) for one in products]) + (tried**2 @ own).T
        while True:
            found = cls._kept(products, own, vectors[:, : min(count, pool)])
            near = np.stack([found._distances(tried, row) for row in range(len(products))])
            if count >= pool or (np.abs(near - truth) <= CLOSE_SQUARES * np.abs(truth)).all():
                return found
            count *= 2

    @classmethod
    def _kept(
        cls,
        products: list[Float[np.ndarray, "pool pool"]],
        own: Float[np.ndarray, "pool recorded"],
        vectors: Float[np.ndarray, "pool l"],
    ) -> "_Squares":
        quadratic = np.stack([vectors.T @ one @ vectors for one in products])
        left = [
            one.diagonal() - ((vectors @ inner) * vectors).sum(axis=1)
            for one, inner in zip(products, quadratic, strict=True)
        ]
        return cls(vectors, quadratic, own + np.stack(left, axis=1))

    def _distances(self, shares: Float[np.ndarray, "subset pool"], row: int) -> Float[np.ndarray, " subset"]:
        place = shares @ self.factors
        return np.asarray(((place @ self.quadratic[row]) * place).sum(axis=1) + shares**2 @ self.own[:, row])
