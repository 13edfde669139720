"""An estimator that says how sure it is, and goes on from what was observed: mean-run with the spread over runs."""

from statistics import NormalDist

import numpy as np

from gptfl.core import Prediction
from gptfl.plugins import EstimatorTags
from gptfl.plugins.hooks import hookimpl

LEVELS = (0.5, 0.9)


class Sure:
    """The average run; where a run was observed, moved by its last deviation from there."""

    name = "sure"
    tags = EstimatorTags(conditions=True)

    def __init__(self, novelty=0.25):
        self.novelty = novelty

    def settings(self):
        return {"novelty": self.novelty}

    def fit(self, data):
        values = np.stack([data.recorded(run) for run in data.fit_runs + data.validation_runs])
        self.steps = data.fit_runs[0].steps
        self.mean, self.spread = values.mean(axis=0), values.std(axis=0, ddof=1)
        return self

    def predict(self, query):
        rows = np.searchsorted(self.steps, query.steps)
        values = np.repeat(self.mean[rows][None], len(query.first), axis=0)
        if query.observed is not None:
            for run, test in np.ndindex(query.first.shape):
                known = np.flatnonzero(np.isfinite(query.observed[run, :, test]))
                if len(known):
                    last = known[-1]
                    values[run, last:, test] += query.observed[run, last, test] - values[run, last, test]
        values[:, 0] = query.first
        half = np.broadcast_to(self.spread[rows], values.shape).copy()
        half[:, 0] = 0
        quantiles = {level: NormalDist().inv_cdf((1 + level) / 2) for level in LEVELS}
        intervals = {level: (values - z * half, values + z * half) for level, z in quantiles.items()}
        return Prediction(values, intervals, np.full(len(values), self.novelty))

    def state(self):
        return {"steps": self.steps, "mean": self.mean, "spread": self.spread}

    def restore(self, state):
        self.steps, self.mean, self.spread = state["steps"], state["mean"], state["spread"]
        return self


class Unsure(Sure):
    """Gives no intervals."""

    name = "unsure"
    tags = EstimatorTags()

    def predict(self, query):
        return Prediction(super().predict(query).values)


@hookimpl
def gptfl_estimators():
    return {part.name: part for part in (Sure, Unsure)}
