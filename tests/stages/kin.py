"""Estimators for the rankings' tests: a linear one that takes other examples, and one that tells influence directly."""

import numpy as np

from gptfl.hookspecs import hookimpl
from gptfl.records import Prediction
from gptfl.simulator.exposures import exposures


class Kin:
    """Each test example moves by its exposure to what its vector resembles; exactly additive over the examples."""

    name = "kin"
    requires = frozenset({"features"})
    generalises = frozenset({"train", "test"})

    def settings(self):
        return {}

    def fit(self, data):
        vectors = data.features.sets["vectors"]
        self.train_, self.test_ = np.asarray(vectors.train, float), np.asarray(vectors.test, float)
        return self

    def predict(self, query):
        train, test = self.train_, self.test_
        if query.unseen is not None:
            vectors = query.unseen.features.sets["vectors"]
            train, test = np.asarray(vectors.train, float), np.asarray(vectors.test, float)
        seen = exposures(query.batches, query.learning_rates, query.steps, len(train))
        return Prediction(query.first[:, None, :] - 0.01 * seen @ train @ test.T)

    def state(self):
        return {"train": self.train_, "test": self.test_}

    def restore(self, state):
        self.train_, self.test_ = state["train"], state["test"]
        return self


class Teller(Kin):
    """The same, and it says its influences without being asked about curricula."""

    name = "teller"

    def influence(self):
        return self.train_ @ self.test_.T

    def self_influence(self):
        return (self.train_**2).sum(axis=1)


class Liar(Kin):
    name = "liar"

    def influence(self):
        return np.full((2, 2), np.nan)


class Witness(Kin):
    name = "witness"
    oracle = True


class Local(Kin):
    name = "local"
    generalises = frozenset()


@hookimpl
def gptfl_estimators():
    return {part.name: part for part in (Kin, Teller, Liar, Witness, Local)}
