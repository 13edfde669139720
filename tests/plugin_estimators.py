"""A third party's estimators, one good and the others each broken in its own way."""

import numpy as np

from gptfl.core import Prediction
from gptfl.errors import DataError
from gptfl.plugins import EstimatorTags
from gptfl.plugins.hooks import hookimpl


class Recall:
    """Repeats the average final value of the runs to fit."""

    name = "recall"
    tags = EstimatorTags()
    fits = 0

    def __init__(self, scale=1.0):
        self.scale = scale

    def settings(self):
        return {"scale": self.scale}

    def fit(self, data):
        type(self).fits += 1
        self.level = self.scale * np.mean([data.recorded(run)[-1] for run in data.fit_runs], axis=0)
        return self

    def predict(self, query):
        values = np.broadcast_to(self.level, (len(query.first), len(query.steps), len(self.level))).copy()
        values[:, 0] = query.first
        return Prediction(values)

    def state(self):
        return {"level": self.level}

    def restore(self, state):
        self.level = state["level"]
        return self


class Crooked(Recall):
    name = "crooked"

    def predict(self, query):
        return Prediction(super().predict(query).values[:, :-1])


class Endless(Recall):
    name = "endless"

    def predict(self, query):
        return Prediction(super().predict(query).values * np.nan)


class Raising(Recall):
    name = "raising"

    def fit(self, data):
        raise ValueError("no idea")


class Refusing(Recall):
    name = "refusing"

    def fit(self, data):
        raise DataError("there is too little to learn from", "record more")


class Forgetful(Recall):
    name = "forgetful"

    def fit(self, data):
        super().fit(data)


class Greedy(Recall):
    name = "greedy"
    tags = EstimatorTags(requires={"checkpoints"})


class Featured(Recall):
    name = "featured"
    tags = EstimatorTags(requires={"features"})


class Unmakeable(Recall):
    name = "unmakeable"

    def __init__(self):
        raise RuntimeError("no licence")


@hookimpl
def gptfl_estimators():
    parts = (Recall, Crooked, Endless, Raising, Refusing, Forgetful, Greedy, Featured, Unmakeable)
    return {part.name: part for part in parts}
