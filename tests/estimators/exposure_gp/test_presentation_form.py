"""The sum over presentations predicts, of any curricula by the recipe, what the estimator predicts at their end."""

from dataclasses import replace

import numpy as np
import pytest

from gptfl.core import Query
from gptfl.core.curriculum import fill_batches, run_seed
from gptfl.errors import DataError
from gptfl.estimators.exposure_gp import presentation_form
from gptfl.estimators.exposure_gp.estimator import ExposureGp
from tests.estimators.exposure_gp.singles import query_of
from tests.estimators.exposure_gp.test_binary import zeros_and_ones
from tests.estimators.exposure_gp.test_blocked_states import WORLDS, repeated, weighted
from tests.estimators.exposure_gp.worlds import (
    BATCH,
    POOL,
    RECORDED,
    STEPS,
    TEST,
    about,
    at,
    begun,
    in_blocks,
    world,
)

EVERY = np.arange(TEST)


def asked(members, data, orders=2, seed=0, size=BATCH):
    """Some orders of a subset by the recorded recipe."""
    batches = np.stack([fill_batches(np.asarray(members), size, STEPS, run_seed(seed, one)) for one in range(orders)])
    run, name = data.fit_runs[0], data.metric.name
    rates = np.broadcast_to(run.curriculum.learning_rates, (orders, STEPS)).copy()
    return Query(batches, rates, run.steps, np.broadcast_to(run.metrics[name][0], (orders, TEST)).copy())


def check(estimator, data, tests=EVERY):
    random = np.random.default_rng(4)
    made = estimator.presentation_form(asked([1, 5, 6, 9], data), np.arange(POOL)[::-1], tests)
    np.testing.assert_array_equal(made.examples, np.arange(POOL))
    for size in (1, 3, 8, POOL):
        members = random.permutation(POOL)[:size]
        query = asked(members, data, seed=size)
        found = made.values(made.ends(made.counts(query.batches, members), members))
        truth = estimator.predict(query).values[:, -1, tests]
        assert np.abs(found - truth).max() < 1e-5 * np.abs(truth).max()
    return made


@pytest.mark.parametrize("kind", ["gradients", "texts", "gaps", "products"])
@pytest.mark.parametrize("blocks", [False, True])
def test_it_predicts_what_the_estimator_predicts(kind, blocks) -> None:
    data = WORLDS[kind](world(runs=9)[0])
    data = replace(data, features=in_blocks(data.features)) if blocks else data
    made = check(ExposureGp(link="log").fit(data), data)
    assert made.direct.shape[1] > 0 or kind == "texts"


@pytest.mark.parametrize("settings", [{"link": "identity"}, {"link": "odds"}, {"prior": False}, {"features": False}])
def test_on_every_scale_and_with_less_to_go_by(settings) -> None:
    data = WORLDS["gradients"](world(runs=9)[0])
    made = check(ExposureGp(**settings).fit(data), data, tests=np.array([6, 2]))
    assert made.columns.shape[1] == 2


def test_probabilities_of_zeros_and_ones_are_sums_within_their_bounds() -> None:
    data = zeros_and_ones()[0]
    assert check(ExposureGp().fit(data), data).trials == len(data.fit_runs)


def test_what_is_seen_after_the_last_recorded_step_does_nothing() -> None:
    data = world(runs=9)[0]
    data = replace(data, fit_runs=tuple(at(run, np.arange(len(RECORDED) - 1)) for run in data.fit_runs))
    made = check(ExposureGp(link="log").fit(data), data)
    last = int(RECORDED[-2])
    assert (made.channels[last:] == 0).all()
    assert (made.channels[:last] > 0).any(axis=1).all()


def test_of_too_many_examples_the_first_are_taken(monkeypatch) -> None:
    data = world(runs=9)[0]
    estimator = ExposureGp(link="log").fit(data)
    query, order = asked([2, 20, 7], data), np.array([20, 7, 2, 11, 3, 15])
    whole = estimator.presentation_form(query, order, np.arange(TEST))
    each = (whole.rows.nbytes + whole.direct.nbytes) // len(order)
    monkeypatch.setattr(presentation_form, "MOST_BYTES", 4 * each)
    some = estimator.presentation_form(query, order, np.arange(TEST))
    np.testing.assert_array_equal(some.examples, [2, 7, 11, 20])
    np.testing.assert_allclose(some.base, whole.base)
    monkeypatch.setattr(presentation_form, "MOST_BYTES", 2 * each)
    with pytest.raises(DataError, match="effects of 6 examples on 8 test examples take more than"):
        estimator.presentation_form(query, order, np.arange(TEST))


def refused(data, query, match) -> None:
    estimator = ExposureGp(link="log").fit(data)
    with pytest.raises(DataError, match=match):
        estimator.presentation_form(query, np.arange(POOL), np.arange(TEST))


def test_it_is_refused_where_predictions_are_no_such_sum() -> None:
    data = world(runs=9)[0]
    query = asked([1, 5, 6], data)
    refused(repeated(data), query, "recorded runs repeat one another")
    refused(weighted(data), query, "hangs on what else is in its batch")
    refused(data, about(query, data), "wasn't fitted to")
    refused(data, replace(query, typical=query.batches), "every order")
    refused(data, replace(query, learning_rates=2 * query.learning_rates), "step sizes add up to others")
    refused(data, replace(query, steps=query.steps[:-1]), "ends elsewhere")
    later = replace(data, fit_runs=tuple(begun(run, 1) for run in data.fit_runs))
    refused(later, asked([1, 5, 6], later), "known of a run")


def test_it_is_refused_after_a_fit_to_one_run(exact_run, fitted_to_one) -> None:
    (run,) = exact_run[0].fit_runs
    with pytest.raises(DataError, match="fitted to one run"):
        fitted_to_one.presentation_form(query_of(run, run.curriculum.batches[None]), np.arange(2), np.arange(2))
