"""A sound estimator, and how to break one part of a class."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from gptfl.core import FitData, Prediction, Query
from gptfl.errors import DataError
from gptfl.plugins import EstimatorTags


class Drift:
    """Every example pulls every test example by its class's mean change a visit: small but whole."""

    name = "drift"
    tags = EstimatorTags()

    def __init__(self, damping: float = 1.0) -> None:
        self.damping = damping

    def settings(self) -> Mapping[str, Any]:
        return {"damping": self.damping}

    def fit(self, data: FitData) -> Self:
        changes = [np.diff(data.recorded(run), axis=0).sum(axis=1) for run in data.fit_runs]
        counts = [(run.curriculum.batches >= 0).sum(axis=1) for run in data.fit_runs]
        total = np.nansum(np.concatenate(changes)) / len(data.test)
        self.pull_ = np.array([self.damping * total / np.concatenate(counts).sum()])
        return self

    def predict(self, query: Query) -> Prediction:
        seen = np.cumsum((query.batches >= 0).sum(axis=2), axis=1)
        seen = np.concatenate([np.zeros((len(seen), 1)), seen], axis=1)[:, query.steps]
        return Prediction(query.first[:, None] + self.pull_ * (seen - seen[:, :1])[:, :, None])

    def state(self) -> Mapping[str, np.ndarray]:
        return {"pull": self.pull_}

    def restore(self, state: Mapping[str, np.ndarray]) -> Self:
        if "pull" not in state:
            raise DataError("a drift simulator lacks its array 'pull'", "fit it again")
        self.pull_ = state["pull"]
        return self


def changed(base: type, **members: Any) -> type:
    """A subclass with one thing broken."""
    return type("Broken", (base,), members)
