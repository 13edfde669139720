"""Estimators with a form for others in an example's places: a plain one, and one that answers in the wrong shape."""

from dataclasses import replace

import numpy as np

from gptfl.plugins.hooks import hookimpl
from tests.ranking_estimators import Kin


class PlainForm:
    """What the form says, by predicting each curriculum."""

    def __init__(self, estimator, query, replaced):
        self.estimator, self.query, self.replaced = estimator, query, replaced

    def ends(self, candidates, rows):
        for run, chosen in enumerate(rows):
            one = replace(self.query, batches=self.query.batches[[run]], first=self.query.first[[run]])
            one = replace(one, learning_rates=self.query.learning_rates[[run]])
            taken = one.batches == self.replaced[run]
            asked = [replace(one, batches=np.where(taken, name, one.batches)) for name in candidates[chosen]]
            ends = [self.estimator.predict(each).values[0, -1] for each in asked]
            yield np.array(ends).reshape(len(chosen), -1)

    def on_target(self, candidates, rows, weights):
        return [ends @ weights for ends in self.ends(candidates, rows)]

    def on_own(self, candidates, rows, tests):
        found = zip(self.ends(candidates, rows), rows, strict=True)
        return [ends[np.arange(len(ends)), tests[chosen]] for ends, chosen in found]

    def totals(self, candidates, rows):
        return np.stack([ends.sum(axis=0) for ends in self.ends(candidates, rows)])


class Plain(Kin):
    name = "plain"

    def replacement_form(self, query, replaced):
        return PlainForm(self, query, replaced)


class WrongForm:
    """As many answers as runs, of one number each."""

    def __init__(self, runs):
        self.runs = runs

    def on_target(self, candidates, rows, weights):
        return np.zeros((self.runs, 1))

    def on_own(self, candidates, rows, tests):
        return np.zeros((self.runs, 1))

    def totals(self, candidates, rows):
        return np.zeros((1, 1))


class Misfit(Kin):
    name = "misfit"

    def replacement_form(self, query, replaced):
        return WrongForm(len(query.batches))


@hookimpl
def gptfl_estimators():
    return {"misfit": Misfit, "plain": Plain}
