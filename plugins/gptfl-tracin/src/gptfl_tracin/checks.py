"""Checks that the estimators share."""

from collections.abc import Mapping

import numpy as np

from gptfl.errors import DataError
from gptfl.records import Query


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
