"""Influence of the examples on themselves, and what they score before training."""

import json
from dataclasses import replace

import numpy as np
import pytest

import gptfl
from gptfl.core import Query
from gptfl.errors import DataError, UsageError
from gptfl.influence.self_influence import InitialMetrics, initial_metrics, measure_initial_metrics, pool_as_test
from gptfl.recording.recording import open_recording
from gptfl.simulation.schedule import recorded_schedule
from gptfl.simulation.simulator import open_fitted
from tests import ranking_estimators
from tests.ranked import (
    DYNAMICS,
    IDS,
    POOL,
)


def test_self_asks_about_the_pool_as_test_examples(ranked_space, monkeypatch) -> None:
    queries: list[Query] = []
    predict = ranking_estimators.Kin.predict
    monkeypatch.setattr(
        ranking_estimators.Kin, "predict", lambda self, query: queries.append(query) or predict(self, query)
    )
    gptfl.fit("kin", workspace=ranked_space)
    result = gptfl.rank(workspace=ranked_space, on="self", how="drop", orders=1)
    unseen = next(query.unseen for query in queries if query.unseen is not None)
    assert unseen.pool == unseen.test == DYNAMICS.pool
    assert unseen.pool_seen.tolist() == list(range(POOL))
    assert set(unseen.test_seen.tolist()) == {-1}
    one = unseen.features.sets["vectors"]
    assert np.array_equal(one.train, one.test)
    start = np.mean([run.metrics["loss"][0] for run in DYNAMICS.runs])
    assert any(f"the mean of the test examples, {start:.4g}" in note for note in result.notes)
    assert any("extrapolation" in note for note in result.notes)
    first = next(query.first for query in queries if query.unseen is not None)
    np.testing.assert_allclose(first, start)


def test_own_first_scores_that_were_measured_are_taken(ranked_space) -> None:
    gptfl.fit("kin", workspace=ranked_space)
    values = dict(zip(IDS, np.linspace(1, 2, POOL).tolist(), strict=True))
    content = {"recording": DYNAMICS.examples, "metric": "loss", "model": "m", "values": values}
    path = ranked_space / "syn.loss.first-scores.json"
    path.write_text(json.dumps(content))
    assert not any("taken to start" in note for note in gptfl.rank(workspace=ranked_space, on="self").notes)
    path.write_text(json.dumps({**content, "values": {}}))
    with pytest.raises(DataError, match=r"first-scores.json is damaged \(KeyError\): delete it"):
        gptfl.rank(workspace=ranked_space, on="self")
    path.write_text(json.dumps({**content, "recording": "another"}))
    assert any("taken to start" in note for note in gptfl.rank(workspace=ranked_space, on="self").notes)


def test_where_rows_start_is_what_was_measured_of_the_untrained_model_or_the_mean_of_the_tests(ranked_space) -> None:
    gptfl.fit("kin", workspace=ranked_space)
    source = open_fitted(None, None, ranked_space, None, None)
    recipe = recorded_schedule(DYNAMICS, source.metric)
    own, first = InitialMetrics("loss", np.arange(float(POOL))), np.array([1.0, 2.0, 6.0])
    assert initial_metrics(source, recipe, own, first) == (own.values, ())
    values, (note,) = initial_metrics(source, recipe, None, first)
    np.testing.assert_array_equal(values, np.full(POOL, 3.0))
    assert note.endswith("the mean of the test examples, 3: their own first loss isn't known; --model measures it")
    late = replace(recipe, grid=recipe.grid[1:])
    values, (note,) = initial_metrics(source, late, own, first)
    np.testing.assert_array_equal(values, np.full(POOL, 3.0))
    assert f"the recorded runs begin at step {late.grid[0]}, not at the untrained model" in note


def test_rows_stand_on_both_sides_where_the_estimator_takes_other_tests(ranked_space) -> None:
    for name in ("kin", "local"):
        gptfl.fit(name, workspace=ranked_space)
    scope = pool_as_test(open_fitted(None, None, ranked_space, "kin", None), None)
    assert scope.pool == scope.test == DYNAMICS.pool
    assert set(scope.test_seen.tolist()) == {-1}
    with pytest.raises(DataError, match="local can't tell influence on self: it predicts only the test examples"):
        pool_as_test(open_fitted(None, None, ranked_space, "local", None), None)


def test_texts_without_a_model_measure_nothing(ranked_space) -> None:
    recording = open_recording(ranked_space / "syn.dynamics.h5", None)
    metric = DYNAMICS.metrics["loss"]
    assert measure_initial_metrics(recording, metric, None, None, lambda *_: None) is None
    with pytest.raises(UsageError, match=r"--data d gives the texts to measure, but no model does"):
        measure_initial_metrics(recording, metric, None, "d", lambda *_: None)
    with pytest.raises(DataError, match="doesn't say which weights it was made with: leave out --model"):
        measure_initial_metrics(recording, metric, "tiny", None, lambda *_: None)
