"""What others do in the places of an example, of all together, against a prediction of each."""

from dataclasses import replace

import numpy as np
import pytest

from gptfl.core import Features, FeatureSet, Query, Unseen
from gptfl.errors import DataError
from gptfl.estimators.gptfluence import replacements
from gptfl.estimators.gptfluence.estimator import GPTfluence
from tests.estimators.exposure_gp.worlds import in_blocks
from tests.estimators.gptfluence.test_estimator import BATCH, POOL, STEPS, TEST, fit_data, held_out, recording

MEMBERS = np.arange(12)
"""The examples of the runs asked about, of which the last one's places are taken."""
REPLACED = np.array([11, 11, 11])
CANDIDATES = np.arange(11, POOL)


def curricula() -> np.ndarray:
    """Runs that hold the last member once, several times, twice in a batch, and not at all; some batches are short."""
    batches = np.random.default_rng(3).integers(0, 11, size=(4, STEPS, BATCH))
    batches[0, 7, 1] = 11
    batches[1, [2, 3, 9, 15], [0, 1, 2, 3]] = 11
    batches[2, 5, :2] = batches[2, 0, 0] = 11
    batches[:, [4, 7], 3] = -1
    batches[1, 6] = -1
    return batches


def asked(every: int, rates: np.ndarray | float = 1.0, runs: int = 3) -> Query:
    first = np.random.default_rng(4).uniform(1, 3, size=(runs, TEST))
    return Query(curricula()[:runs], np.ones((runs, STEPS)) * rates, np.arange(0, STEPS + 1, every), first)


def each_predicted(estimator: GPTfluence, query: Query, candidates: np.ndarray = CANDIDATES) -> np.ndarray:
    """The last values by predicting each curriculum: run, candidate, test example."""
    ends = []
    for name in candidates:
        batches = np.where(query.batches == 11, name, query.batches)
        ends.append(estimator.predict(replace(query, batches=batches)).values[:, -1])
    return np.stack(ends, axis=1)


def check(estimator: GPTfluence, query: Query) -> None:
    """All three answers are sums of predictions."""
    expected, runs = each_predicted(estimator, query), len(query.batches)
    form = estimator.replacement_form(query, np.full(runs, 11))
    assert form is not None
    rows = [np.arange(len(CANDIDATES)), np.array([1, 4, 6]), np.array([0, 8]), np.array([2, 3])][:runs]
    weights = np.array([0.5, 0.0, -0.25, 0.0, 1.0, 0.0])[: expected.shape[2]]
    tests = np.arange(len(CANDIDATES)) % expected.shape[2]
    totals = form.totals(CANDIDATES, rows)
    for run, (target, own) in enumerate(
        zip(form.on_target(CANDIDATES, rows, weights), form.on_own(CANDIDATES, rows, tests), strict=True)
    ):
        ends = expected[run, rows[run]]
        # A roll-out is in single precision, and some of random parameters go far.
        close = {"rtol": 2e-5, "atol": 2e-6 * np.abs(ends).max()}
        np.testing.assert_allclose(target, ends @ weights, **close)
        np.testing.assert_allclose(own, ends[np.arange(len(ends)), tests[rows[run]]], **close)
        np.testing.assert_allclose(totals[run], ends.sum(axis=0), **close)
    # The places matter, or the rest would say nothing.
    assert np.ptp(expected[:3], axis=1).max() > 1e-3


@pytest.mark.parametrize("pairs", [replacements.NUMBERS, 10])
@pytest.mark.parametrize(
    ("settings", "every"),
    [
        ({}, 1),
        ({"projection": "linear"}, 1),
        ({}, 4),
        ({"order": 2}, 1),
        ({"order": 3, "projection": "linear"}, 2),
        ({"anchored": True}, 2),
        ({"step_size": True}, 2),
        ({"step_size": True, "order": 2, "anchored": True}, 1),
        ({"around": "mean-run"}, 2),
        ({"around": "mean-run", "anchored": True, "step_size": True}, 1),
    ],
)
def test_answers_are_those_of_predicting_each(monkeypatch, settings: dict, every: int, pairs: int) -> None:
    monkeypatch.setattr(replacements, "NUMBERS", pairs)
    runs, features = recording(runs=8, every=every)
    estimator = GPTfluence(epochs=5, start="random", **settings).fit(fit_data(runs, features))
    query = asked(every)
    check(estimator, query)
    check(estimator, asked(every, runs=4))  # the last run doesn't hold the example
    if settings.get("step_size") and "around" not in settings:
        check(estimator, asked(every, np.linspace(1.5, 0.1, STEPS)))
    if "around" in settings:
        check(estimator, asked(every, np.linspace(0.9, 0.3, STEPS)))  # of another pace than recorded


@pytest.mark.parametrize("settings", [{}, {"order": 2, "step_size": True}])
def test_examples_that_count_differently_dilute_their_batches(settings: dict) -> None:
    runs, features = recording(runs=8, every=2)
    data = fit_data(runs, features)
    weights = np.random.default_rng(5).uniform(1, 9, size=POOL)
    pool = tuple(replace(one, weight=float(w)) for one, w in zip(data.pool, weights, strict=True))
    estimator = GPTfluence(epochs=5, start="random", **settings).fit(replace(data, pool=pool))
    assert estimator.law_.relative is not None
    check(estimator, asked(2, np.linspace(1.0, 0.2, STEPS), runs=4))


@pytest.mark.parametrize("projection", ["mlp", "linear"])
def test_a_pool_in_blocks_and_examples_that_were_not_fitted(projection: str) -> None:
    runs, features = recording(runs=8)
    data = fit_data(runs, features)
    estimator = GPTfluence(epochs=5, projection=projection, start="random").fit(
        replace(data, features=in_blocks(features))
    )
    check(estimator, asked(1))
    vectors = features.sets["vectors"].train
    theirs = Features("made", {}, "", {"vectors": FeatureSet(vectors[::-1].copy(), vectors[:TEST])})
    unseen = Unseen(data.pool, data.pool[:TEST], np.full(POOL, -1), np.full(TEST, -1), theirs)
    check(estimator, replace(asked(1), unseen=unseen))
    check(estimator, replace(asked(1), unseen=replace(unseen, features=in_blocks(theirs))))


def test_what_leaves_the_range_of_numbers_is_refused() -> None:
    runs, features = recording(runs=8)
    estimator = GPTfluence(epochs=0, start="random").fit(fit_data(runs, features))
    estimator.parameters_["train.out.weight"] *= 1e12
    query = asked(1)
    form = estimator.replacement_form(query, REPLACED)
    assert form is not None
    rows = [np.arange(len(CANDIDATES))] * 3
    with pytest.raises(DataError, match="leaves the range of numbers by step 16: it is too unlike"):
        form.on_target(CANDIDATES, rows, np.ones(TEST))
    with pytest.raises(DataError, match="leaves the range of numbers"):
        form.totals(CANDIDATES, rows)


def test_a_run_that_takes_no_step_has_no_form() -> None:
    runs, features = recording(runs=8)
    estimator = GPTfluence(epochs=2, around="mean-run").fit(fit_data(runs, features))
    assert estimator.replacement_form(asked(1, 0.0), REPLACED) is None
    with pytest.raises(DataError, match="isn't fitted"):
        GPTfluence().replacement_form(held_out(runs)[0], REPLACED)
