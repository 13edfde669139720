"""Influence in closed form, against the dense process and simulated replacements."""

from dataclasses import replace

import numpy as np
import pytest

import gptfl
from gptfl.errors import DataError, PluginError
from gptfl.features import lookup
from gptfl.features import vectors as feature_vectors
from gptfl.influence.closed_form import checked_influence, closed_form, on_target, target_weights
from gptfl.simulation.simulator import open_fitted
from tests import ranking_estimators
from tests.ranked import (
    DYNAMICS,
    FEATURES,
    POOL,
    TESTS,
)


@pytest.mark.parametrize("chunk", [3, 4096])
def test_influence_in_closed_form_is_that_of_a_dense_loop(ranked_space, monkeypatch, chunk) -> None:
    fitted = gptfl.fit("bayes", workspace=ranked_space)
    monkeypatch.setattr(feature_vectors, "CHUNK", chunk)
    # The features are only ever read in rows.
    monkeypatch.setattr(lookup, "read_features", None)
    expected = []
    result = gptfl.rank(
        workspace=ranked_space, on=TESTS[1:4], how="closed-form", progress=lambda *given: expected.append(given)
    )
    ranking = result.rankings[0]
    assert (ranking.how, ranking.step) == ("closed-form", 8)
    assert [one[1:3] for one in expected] == [(min(stop, POOL), POOL) for stop in range(chunk, POOL + chunk, chunk)]
    # The same Gaussian process by its kernel, a curriculum at a time: the average run against one example more.
    runs = [run for run in DYNAMICS.runs if run.role == "fit"]
    vectors = np.asarray(FEATURES.sets["vectors"].train, float)
    seen = np.zeros((len(runs), POOL))
    for row, run in enumerate(runs):
        for batch, rate in zip(run.curriculum.batches, run.curriculum.learning_rates, strict=True):
            for place in batch:
                seen[row, place] += rate / len(batch)
    rate = np.mean([run.curriculum.learning_rates for run in runs]) / runs[0].curriculum.batches.shape[1]
    values = np.stack([run.metrics["loss"][-1] for run in runs])
    inputs = (seen - seen.mean(axis=0)) @ vectors
    gram = np.linalg.inv(
        inputs @ inputs.T * ranking_estimators.PRIOR**2 + ranking_estimators.NOISE**2 * np.eye(len(runs))
    )
    for place in range(POOL):
        moved = rate * (vectors[place] - vectors.mean(axis=0))
        cross = inputs @ moved * ranking_estimators.PRIOR**2
        mean = (cross @ gram @ (values - values.mean(axis=0)))[1:4].mean()
        spread = np.sqrt((moved @ moved * ranking_estimators.PRIOR**2 - cross @ gram @ cross) / 3)
        assert ranking.influence[place] == pytest.approx(-mean, rel=1e-6, abs=1e-9)
        assert ranking.high[place] - ranking.influence[place] == pytest.approx(1.6448536 * spread, rel=1e-4)
        assert ranking.influence[place] - ranking.low[place] == pytest.approx(1.6448536 * spread, rel=1e-4)
    assert any(note.startswith("trust in bayes: on the") for note in result.notes)
    assert open_fitted(fitted.path, None, ranked_space, None, None).scope.features is None


def test_influence_in_closed_form_agrees_with_simulated_replacements(ranked_space) -> None:
    gptfl.fit("bayes", workspace=ranked_space)
    closed, simulated = (
        gptfl.rank(workspace=ranked_space, how=how, orders=40).rankings[0] for how in ("closed-form", "replace")
    )
    assert simulated.low is None
    assert np.corrcoef(closed.influence, simulated.influence)[0, 1] > 0.95


def test_closed_form_knows_nothing_of_test_examples_set_aside(ranked_space) -> None:
    gptfl.fit("sly", workspace=ranked_space, unseen="test", settings={})
    source = open_fitted(None, None, ranked_space, None, None)
    seen = [one.id for one, place in zip(DYNAMICS.test, source.scope.test_seen, strict=True) if place >= 0]
    ranked = gptfl.rank(workspace=ranked_space, on=seen).rankings[0]
    assert ranked.how == "remove"
    with pytest.raises(DataError, match=r"was fitted without test example 'test-\d', and tells no influence on it"):
        gptfl.rank(workspace=ranked_space)


def test_a_mean_of_test_examples_is_weights_over_those_that_were_fitted(ranked_space) -> None:
    gptfl.fit("bayes", workspace=ranked_space)
    source = open_fitted(None, None, ranked_space, None, None)
    np.testing.assert_allclose(target_weights(source, np.array([3, 1])), [[0, 0.5, 0, 0.5, 0]])
    seen = np.array([1, -1, 0, 2, -1])
    partly = replace(source, scope=replace(source.scope, test_seen=seen))
    np.testing.assert_allclose(target_weights(partly, np.array([2, 0, 3])), np.full((1, 3), 1 / 3))
    with pytest.raises(DataError, match="was fitted without test example 'test-1', and tells no influence on it"):
        target_weights(partly, np.array([0, 1]))


ONES = np.ones((3, 2))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (ONES, "as ndarray, not as a pair of arrays"),
        ((ONES,), "as tuple, not as a pair"),
        ((ONES[:2], ONES), r"of shape \(2, 2\), not \(3, 2\)"),
        ((ONES, ONES[:, :1]), r"of shape \(3, 1\), not \(3, 2\)"),
        ((ONES * np.nan, ONES), "not finite or below 0"),
        ((ONES, ONES * np.inf), "not finite or below 0"),
        ((ONES, -ONES), "not finite or below 0"),
    ],
)
def test_an_ill_shaped_answer_is_the_estimators_fault(answer, message) -> None:
    with pytest.raises(PluginError, match=f"^estimator 'x' of acme told influences.*{message}"):
        checked_influence(answer, (3, 2), "estimator 'x' of acme")


def test_an_estimator_without_an_answer_of_its_own_is_judged_by_what_it_tells_of_all_tests(ranked_space) -> None:
    gptfl.fit("bayes", workspace=ranked_space)
    source = open_fitted(None, None, ranked_space, None, None)
    tests = np.array([0, 2])
    mean, spread, before = on_target(source, tests, None, lambda *_: None)
    for found, expected in zip((mean, spread), closed_form(source, tests, None, lambda *_: None), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert np.isinf(before).all()
