"""Estimators for the rankings' tests: a linear one that takes other examples, and those that tell influence."""

from dataclasses import replace

import numpy as np

from gptfl.core import Prediction
from gptfl.core.curriculum import presentation_weights
from gptfl.estimators.exposures import exposures
from gptfl.plugins import EstimatorTags
from gptfl.plugins.hooks import hookimpl


class Kin:
    """Each test example moves by its exposure to what its vector resembles; exactly additive over the examples."""

    name = "kin"
    tags = EstimatorTags(requires={"features"}, unseen={"train", "test"})

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
    tags = replace(Kin.tags, oracle=True)


class Local(Kin):
    name = "local"
    tags = replace(Kin.tags, unseen=set())


NOISE, PRIOR = 0.02, 1.0


class Bayes:
    """Bayesian linear regression of the final deviation from the average run on exposures to the features."""

    name = "bayes"
    tags = EstimatorTags(requires={"features"})

    def settings(self):
        return {}

    def fit(self, data):
        vectors = np.asarray(data.features.sets["vectors"].train, float)
        runs, values = data.fit_runs, np.stack([data.recorded(run) for run in data.fit_runs])
        self.steps_, self.mean_ = runs[0].steps, values.mean(axis=0)
        rates = np.stack([run.curriculum.learning_rates for run in runs])
        batches = np.stack([run.curriculum.batches for run in runs])
        seen = exposures(batches, rates, self.steps_, len(vectors))[:, -1]
        self.average_, self.centre_, self.step_ = (
            seen.mean(axis=0),
            vectors.mean(axis=0),
            presentation_weights(batches, rates).mean(),
        )
        inputs = (seen - self.average_) @ vectors
        self.covariance_ = np.linalg.inv(inputs.T @ inputs / NOISE**2 + np.eye(vectors.shape[1]) / PRIOR**2)
        self.slopes_ = self.covariance_ @ inputs.T @ (values - self.mean_)[:, -1] / NOISE**2
        self.vectors_ = vectors
        return self

    def predict(self, query):
        seen = exposures(query.batches, query.learning_rates, query.steps, len(self.vectors_))[:, -1]
        inputs = (seen - self.average_) @ self.vectors_
        values = np.repeat(self.mean_[np.searchsorted(self.steps_, query.steps)][None], len(seen), axis=0)
        values[:, -1] += inputs @ self.slopes_
        values[:, 0] = query.first
        half = np.zeros_like(values)
        half[:, -1] = 1.6449 * np.sqrt(np.einsum("ri,ij,rj->r", inputs, self.covariance_, inputs) + NOISE**2)[:, None]
        return Prediction(values, {0.9: (values - half, values + half)})

    def influence_of(self, places, vectors, weights):
        moved = self.step_ * (np.asarray(vectors["vectors"], float) - self.centre_)
        spread = np.sqrt(np.einsum("ei,ij,ej->e", moved, self.covariance_, moved))
        return -moved @ self.slopes_ @ weights.T, spread[:, None] * np.linalg.norm(weights, axis=1)

    def state(self):
        return {name: getattr(self, name) for name in STATE}

    def restore(self, state):
        for name in STATE:
            setattr(self, name, state[name])
        return self


STATE = ("steps_", "mean_", "average_", "centre_", "step_", "covariance_", "slopes_", "vectors_")


class Sly(Bayes):
    """The same, which claims to answer about other test examples; it is only asked about those that it knows."""

    name = "sly"
    tags = replace(Bayes.tags, unseen={"test"})

    def predict(self, query):
        if query.unseen is None:
            return super().predict(query)
        known = query.unseen.test_seen
        values = super().predict(replace(query, first=query.first[:, np.argsort(known)[-(known >= 0).sum() :]])).values
        return Prediction(np.where(known >= 0, values[:, :, known], query.first[:, None, :]))


class Crooked(Bayes):
    name = "crooked"

    def influence_of(self, places, vectors, weights):
        return np.zeros((len(places), 1)), -np.ones((len(places), 1))


class Muddled(Bayes):
    name = "muddled"

    def influence_of(self, places, vectors, weights):
        return np.zeros(len(places)), np.zeros(len(places))


@hookimpl
def gptfl_estimators():
    return {part.name: part for part in (Kin, Teller, Liar, Witness, Local, Bayes, Sly, Crooked, Muddled)}
