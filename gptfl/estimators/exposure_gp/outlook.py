"""What further runs would tell of influence on a target: it rests on what they see, and not on what they will record.

The posterior of a Gaussian process has covariances that don't depend on the values observed but by hyperparameters, which
are taken to stay as they are. Of the grid of ``target`` the most probable point is taken. The order of a run's batches is
left out: each member counts as often as any, at the mean step size.
"""

from collections.abc import Iterable, Mapping

import numpy as np
from jaxtyping import Float, Int

from gptfl.core.outlook import RunOutlook
from gptfl.estimators.exposure_gp.influence import OwnEffects, presentations
from gptfl.estimators.exposure_gp.model import ExposureModel
from gptfl.estimators.exposure_gp.target import Candidate, TargetPosterior

Part = tuple[Int[np.ndarray, " example"], Mapping[str, Float[np.ndarray, "example d"]]]
"""Some examples: their places among those fitted, and their vectors."""


def outlook_on_target(
    model: ExposureModel, parts: Iterable[Part], weights: Float[np.ndarray, " test"], posterior: TargetPosterior
) -> RunOutlook:
    """What is known of the influence of some rows of the pool on a weighted sum of the test examples, and of runs of them.

    Args:
        model: fitted.
        parts: the rows, some at a time.
        weights: of the test examples in the sum, shape ``[test]``.
        posterior: what is known of that sum.

    Raises ``ValueError`` where there are no rows.
    """
    likeliest = max(posterior.candidates, key=lambda one: one.share)
    every = [(places, presentations(model, places, train, weights[None])) for places, train in parts]
    if not every:
        raise ValueError("there are no examples")
    places = np.concatenate([one for one, _ in every])
    told = [one for _, one in every]
    own = OwnEffects(
        told[0].own.scale,
        np.concatenate([one.own.sizes for one in told]),
        np.concatenate([one.own.squares for one in told]),
        np.concatenate([one.own.shares for one in told]),
        told[0].own.mean_square,
        model.pool,
    )
    prior = [own_covariances(own)]
    if len(told[0].cross) > 1:
        shared = np.zeros_like(prior[0])
        for source, (scale, _) in enumerate(told[0].shared):
            rows = np.concatenate([one.shared[source][1] for one in told])
            shared += scale * (rows @ rows.T)
        prior.append(shared)
    before = combined(likeliest, np.stack(prior))
    cross = combined(likeliest, np.concatenate([one.cross for one in told], axis=1))
    scaled = cross @ likeliest.rows.vectors * np.sqrt(likeliest.precision)
    after = before - scaled @ scaled.T
    # A run is told by how it departs from the average one, which has seen these examples about as often.
    seen = exposures_of(model)[places]
    total = float(seen.sum())
    share = seen / total if total > 0.0 else np.full(len(seen), 1.0 / len(seen))
    targets = after - (after @ share)[:, None]
    members = targets - (share @ targets)[None]
    apart = before - (before @ share)[:, None]
    step, _ = model.at_end()
    weighed = model.hyper.weights[:, None] * step.covariances.diagonal(axis1=1, axis2=2)
    runs = combined(likeliest, np.stack([weighed[0], weighed[1:].sum(axis=0)]) if len(weighed) > 1 else weighed)
    return RunOutlook(
        targets,
        members,
        np.maximum(after.diagonal(), 0.0),
        1.0 / len(step.members),
        apart - (share @ apart)[None],
        float(runs.max()),
    )


def combined(one: Candidate, parts: Float[np.ndarray, "source ..."]) -> Float[np.ndarray, "..."]:
    """Prior covariances of own effects and of shared ones (``parts``) together, in units of the noise's variance."""
    total = one.own * parts[0] if len(parts) == 1 else one.own * parts[0] + parts[1]
    return np.asarray(one.factor * total)


def exposures_of(model: ExposureModel) -> Float[np.ndarray, " pool"]:
    """How much the runs fitted have seen of each example of the pool, on average, as it counts in a batch."""
    step, _ = model.solved[-1]
    runs = model.recorded.curricula.of(step.members)
    last = int(model.recorded.steps[-1])
    run, at, column = np.nonzero(runs.batches[:, :last] >= 0)
    found = np.bincount(runs.batches[run, at, column], runs.left_at(last)[run, at], model.pool) / len(step.members)
    return np.asarray(found if runs.relative is None else found * runs.relative[: model.pool])


def own_covariances(own: OwnEffects) -> Float[np.ndarray, "example example"]:
    """The prior covariances of own effects, each less that of the average example."""
    crossed = np.outer(own.sizes, own.shares)
    found = np.diag(own.squares) - (crossed + crossed.T - own.mean_square * np.outer(own.sizes, own.sizes)) / own.pool
    return np.asarray(own.scale * found)
