"""An estimator whose form for others in an example's places answers in the wrong shape."""

import numpy as np

from gptfl.plugins.hooks import hookimpl
from tests.ranking_estimators import Kin


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
    return {"misfit": Misfit}
