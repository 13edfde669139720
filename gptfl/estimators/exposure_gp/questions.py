"""The examples that a question is about, as a fitted Gaussian process takes them."""

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import Features, Query
from gptfl.errors import DataError
from gptfl.estimators.baselines import places_of
from gptfl.estimators.exposure_gp.inputs import beside, check_vectors
from gptfl.estimators.exposure_gp.model import ExposureModel
from gptfl.estimators.exposure_gp.recorded import products_of_requested
from gptfl.estimators.exposure_gp.requests import RequestedRuns
from gptfl.estimators.unseen_tests import extrapolated_by_kernel


def requested_of(model: ExposureModel, query: Query, rows: int) -> RequestedRuns:
    """The asked test examples: mean trajectories, and the vectors of those that weren't fitted."""
    seen = places_of(query, model.even.shape[2])
    shape, fitted = (len(query.batches), rows, len(seen)), seen >= 0
    if fitted.all() and query.unseen is None:
        return RequestedRuns(seen, np.broadcast_to(model.centre[:rows], shape))
    centre, doubt = np.empty(shape), np.zeros(shape)
    centre[:, :, fitted] = model.centre[None, :rows][:, :, seen[fitted]]
    assert query.unseen is not None
    given = _vectors(model, query.unseen.features, "test", seen)
    vectors = model.sources.test_vectors(given)
    if not fitted.all():
        first = model.link.to(query.first[:, ~fitted])
        if vectors is None:
            raise DataError(
                "exposure-gp was fitted without features, and asked about test examples that it hasn't seen",
                "fit it with features (--set features=true)",
            )
        cosines = beside(model.test_vectors, vectors[~fitted])[0]
        ours, theirs = (model.sources.levels(sets) for sets in (model.sources.test_sides, given))
        levels = None if ours is None or theirs is None else (ours, theirs[~fitted])
        extrapolated = extrapolated_by_kernel(model.centre[:rows], model.kernel.cosines, first, cosines, levels)
        centre[:, :, ~fitted], doubt[:, :, ~fitted] = extrapolated
    products = None if model.products is None else products_of_requested(model.products, query.unseen, model.pool)
    return RequestedRuns(seen, centre, doubt, vectors, given if model.sources.last is not None else None, products)


def train_of(model: ExposureModel, query: Query) -> tuple[Int[np.ndarray, " example"], dict[str, np.ndarray] | None]:
    """Places and vectors of the training examples asked about; None for those fitted."""
    pool = model.pool
    if query.unseen is None:
        if int(query.batches.max(initial=-1)) >= pool:
            raise DataError(
                f"exposure-gp: a batch names example {int(query.batches.max())}, fitted were {pool}",
                "use examples of the pool",
            )
        return np.arange(pool), None
    seen = query.unseen.pool_seen
    own = np.where(seen >= 0, seen, pool + np.cumsum(seen < 0) - 1)
    return own, _vectors(model, query.unseen.features, "train", seen)


def _vectors(
    model: ExposureModel, features: Features | None, side: str, seen: Int[np.ndarray, " example"]
) -> dict[str, Float[np.ndarray, "example d"]]:
    """The vectors of asked examples in the sets fitted, those fitted as they were."""
    sources = model.sources
    if features is None:
        raise DataError("exposure-gp: the question has no vectors", "featurize the examples asked about")
    in_blocks = side == "train" and sources.in_blocks
    given = {
        name: getattr(one, side) if in_blocks else np.asarray(getattr(one, side)) for name, one in features.sets.items()
    }
    wrong = check_vectors(sources, given, seen)
    if wrong is not None:
        raise DataError(f"exposure-gp: {wrong}", "take the encoder that the simulator was fitted with")
    # What lies in a file is the same for examples fitted, and there is too much of it to be looked at.
    for name, one in sources.sets.items() if not in_blocks else ():
        ours = getattr(one, side)
        given[name] = np.where((seen >= 0)[:, None], ours[np.maximum(seen, 0)], given[name])
    return {name: given[name] for name in sources.sets}
