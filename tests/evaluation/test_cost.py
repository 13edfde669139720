"""What a simulated trajectory costs."""

import numpy as np
import pytest

from gptfl.api.compare import compare
from gptfl.evaluation.cost import measure_cost
from gptfl.simulation.requirements import NamedEstimator
from tests.plugin_estimators import Recall
from tests.synthetic import synthetic


class Counted(Recall):
    """Says itself what a query costs."""

    name = "counted"

    def flops(self, query):
        return 7.0 * query.batches.shape[0] * query.first.shape[1]


def test_cost_is_seconds_and_operations_a_trajectory(space, registry, monkeypatch):
    assert all(row.cost is None for row in compare(workspace=space, estimators=["recall"], figure=False).rows)
    comparison = compare(workspace=space, estimators=["recall", "gptfluence:epochs=2,width=5"], cost=True, figure=False)
    found = {row.name: row.cost for row in comparison.rows}
    assert all(cost.seconds > 0 for cost in found.values())
    assert found["recall"].flops is None
    assert found["persistence"].flops == 0.0
    dynamics, features = synthetic(24)
    (vectors,) = features.sets.values()
    pool, tests, inputs = len(dynamics.pool), len(dynamics.test), vectors.train.shape[1]
    # Two layers on both sides for two factors, and the inner products of all pairs: twice the multiplications.
    layers = 2 * 2 * (pool + tests) * (inputs * 5 + 5 * 5)
    pairs = 2 * 2 * pool * tests * 5
    runs = comparison.runs
    assert found["gptfluence"].flops * runs * tests == pytest.approx(layers + pairs)
    counted, run = Counted(), dynamics.runs[3]
    counted.level = np.zeros(tests)
    named = NamedEstimator(registry.find("estimator", "recall"), counted)
    assert measure_cost(named, [run], dynamics.metrics["loss"]).flops == 7.0
