"""Influence of the examples on themselves, and what they score before training."""

import json

import numpy as np
import pytest

import gptfl
from gptfl.core import Query
from gptfl.errors import DataError
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
