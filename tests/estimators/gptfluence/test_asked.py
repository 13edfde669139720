"""What a question comes to."""

from dataclasses import replace

import numpy as np

from gptfl.core import Query
from gptfl.estimators.gptfluence.asked import AskedRuns, asked_of
from gptfl.estimators.gptfluence.estimator import GPTfluence
from tests.estimators.gptfluence.test_estimator import fit_data, held_out, recording


def about(fitted: GPTfluence, query: Query) -> AskedRuns:
    return asked_of(query, fitted.sides_, fitted.parameters_, fitted.law_, fitted.scale_, fitted.course_, fitted.clock_)


def test_runs_stay_where_no_step_size_is_taken() -> None:
    runs, features = recording(runs=8)
    query = held_out(runs)[0]
    still = replace(query, learning_rates=np.zeros_like(query.learning_rates))
    around = GPTfluence(epochs=3, around="mean-run").fit(fit_data(runs, features))
    assert not about(around, query).stays
    assert about(around, still).stays
    np.testing.assert_array_equal(about(around, still).values()[:, -1], query.first)
    plain = about(GPTfluence(epochs=3).fit(fit_data(runs, features)), still)
    assert not plain.stays
    assert np.abs(plain.values()[:, -1] - query.first).max() > 0.01


def test_a_course_sets_the_grid_and_pushes() -> None:
    runs, features = recording(runs=8, every=2)
    query = held_out(runs)[0]
    early = replace(query, steps=query.steps[:4])
    plain, around = (
        about(GPTfluence(epochs=1, around=setting).fit(fit_data(runs, features)), early)
        for setting in ("nothing", "mean-run")
    )
    assert (plain.push, plain.clock) == (None, None)
    np.testing.assert_array_equal(plain.grid, early.steps)
    assert around.push is not None
    np.testing.assert_array_equal(around.grid, query.steps)
