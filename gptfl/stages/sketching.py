"""From gradient sketches, a recording's own or imported ones: features, and approximate gradient products."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from gptfl.builtin.encoders.gradients import Gradients, sets_of
from gptfl.records import Dynamics, Features, GradientProducts, SketchPoint, fingerprint

ENCODER = Gradients.name


def features_of(
    points: Sequence[SketchPoint], kept: Int[np.ndarray, " kept"], dynamics: Dynamics, source: str
) -> Features:
    """The sets of imported sketches as the features of a recording."""
    sets = sets_of(points, kept)
    vectors = [part for name in sorted(sets) for part in (sets[name].train, sets[name].test)]
    identity = {"source": source, "points": [point.step for point in points], "sketches": fingerprint(*vectors)}
    return Features(ENCODER, identity, dynamics.examples, sets)


def products_of(
    points: Sequence[SketchPoint], kept: Int[np.ndarray, " kept"], learning_rates: Float[np.ndarray, " step"]
) -> GradientProducts:
    """Inner products of the sketches, which estimate those of the gradients.

    The seed of the reference run is not known and told as 0.
    """
    raw = np.stack([point.train @ point.test[kept].T for point in points])
    divided, own_raw, own = np.full_like(raw, np.nan), [], np.full(raw.shape[:2], np.nan, dtype=raw.dtype)
    for row, point in enumerate(points):
        own_raw.append(np.einsum("pd,pd->p", point.train, point.train))
        if point.preconditioned is not None:
            divided[row] = point.preconditioned @ point.test[kept].T
            own[row] = np.einsum("pd,pd->p", point.preconditioned, point.train)
    steps = np.array([point.step for point in points], dtype=np.int64)
    return GradientProducts(0, steps, learning_rates, raw, divided, np.stack(own_raw), own)
