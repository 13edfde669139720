"""Checks that the estimators share."""

from collections.abc import Mapping

import numpy as np

from gptfl.plugins import DataError, Query
from gptfl_tracin.points import Points
from gptfl_tracin.products import largest_share

FEWEST = 20
"""Of fewer products than this, one may well outweigh the others."""


def check_loss(name: str, metric: str) -> None:
    """Raise ``DataError`` for any metric but the loss: gradients are the loss's."""
    if metric != "loss":
        raise DataError(f"{name} predicts loss only, not {metric}", "use another estimator")


def check_tests(name: str, query: Query, tests: int) -> None:
    """Raise ``DataError`` where other test examples are asked about than there are."""
    if query.first.shape[1] != tests:
        raise DataError(
            f"{name} knows {tests} test examples, asked about {query.first.shape[1]}",
            "ask about the test examples of the recording",
        )


def scale_of(name: str, state: Mapping[str, np.ndarray]) -> float:
    """The fitted scale in a state. Raises ``DataError`` where it is missing or no number."""
    if "scale" not in state or np.ndim(state["scale"]) != 0 or not np.isfinite(state["scale"]):
        raise DataError(f"{name}: its array 'scale' is missing or no number", "fit it again (gptfl fit)")
    return float(state["scale"])


def dominance_notes(name: str, points: Points) -> tuple[str, ...]:
    """A note of the steps at which one product's square is more than the sum of all others' squares.

    √v is near 0 for weights that have hardly moved, such as the embeddings of words seen once, and what is divided
    by it can dwarf all else.
    """
    found = []
    for products, itself in zip(points.products, points.itself, strict=True):
        shares = [largest_share(one) for one in (products, itself[:, None]) if one.size >= FEWEST]
        found.append(any(share > 1 / 2 for share in shares))
    steps = [int(step) for step in points.steps[found]]
    if not steps:
        return ()
    return (
        f"{name}: at step {', '.join(map(str, steps))} of the reference run one preconditioned product outweighs all "
        "others together, as happens where weights have hardly moved: compare with the raw ones",
    )
