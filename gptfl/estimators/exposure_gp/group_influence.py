"""What seeing every example of a group once more does: means add up, and spreads are of the sum and not sums of spreads."""

from collections.abc import Iterable, Mapping

import numpy as np
from jaxtyping import Float, Int

from gptfl.estimators.exposure_gp.influence import presentations
from gptfl.estimators.exposure_gp.model import ExposureModel
from gptfl.estimators.exposure_gp.target import TargetPosterior

Part = tuple[Int[np.ndarray, " example"], Mapping[str, Float[np.ndarray, "example d"]], Int[np.ndarray, " example"]]
"""Some examples: their places among those fitted, their vectors, and the number of each one's group (-1: none)."""


def influence_of_groups(
    model: ExposureModel,
    parts: Iterable[Part],
    count: int,
    weights: Float[np.ndarray, " test"],
    tokens: Float[np.ndarray, " example"] | None = None,
) -> tuple[Float[np.ndarray, " group"], Float[np.ndarray, " group"], Float[np.ndarray, " group"]]:
    """The mean effect of each group on a weighted sum of the test examples, its spread, and the spread before any run.

    Args:
        model: the runs fitted.
        parts: all examples, some at a time.
        count: how many groups there are.
        weights: of the test examples in the sum, shape ``[test]``.
        tokens: how many each example of all parts is trained on, in their order (see ``presentations``).

    All three have the shape ``[group]`` and the metric's units. Raises ``ValueError`` where there are no examples.
    """
    cross = expected = None
    sizes, squares, shares = np.zeros(count), np.zeros(count), np.zeros(count)
    shared: list[tuple[float, Float[np.ndarray, "group d"]]] = []
    own, begin = None, 0
    for places, train, groups in parts:
        some = None if tokens is None else tokens[begin : begin + len(places)]
        presented = presentations(model, places, train, weights[None], some)
        begin += len(places)
        member = (groups[None] == np.arange(count)[:, None]).astype(np.float64)
        if cross is None or expected is None:
            cross, expected = np.zeros((len(presented.cross), count, presented.cross.shape[2])), np.zeros(count)
            shared = [(one, np.zeros((count, rows.shape[1]))) for one, rows in presented.shared]
        cross += np.einsum("ge,ser->sgr", member, presented.cross)
        expected += member @ presented.expected[:, 0]
        sizes += member @ presented.own.sizes
        squares += member @ presented.own.squares
        shares += member @ presented.own.shares
        own = presented.own
        for (_, total), (_, rows) in zip(shared, presented.shared, strict=True):
            total += member @ rows
    if cross is None or expected is None or own is None:
        raise ValueError("there are no examples")
    prior = np.zeros((len(cross), count))
    prior[0] = own.of_sums(sizes, squares, shares)
    for one, total in shared:
        prior[1] += one * (total**2).sum(axis=1)
    posterior = TargetPosterior.of(model, weights)
    variance, before = posterior.variance(cross, prior), posterior.before(prior)
    return posterior.mean(cross) + expected, np.sqrt(variance), np.sqrt(np.maximum(before, 0.0))
