"""What estimators say of their own cost, against operations counted in a plain loop."""

import numpy as np

from gptfl.core import FitData, Query
from gptfl.estimators import average
from gptfl.estimators.baselines import MeanRun, Persistence
from gptfl.estimators.class_share import ClassShare
from tests.synthetic import synthetic


def test_operations_grow_with_what_is_asked():
    dynamics, _ = synthetic(12)
    data = FitData(dynamics.pool, dynamics.test, dynamics.metrics["loss"], dynamics.runs[:8])
    run = dynamics.runs[9]

    def query(copies):
        batches, rates = run.curriculum.batches, run.curriculum.learning_rates
        first = np.repeat(run.metrics["loss"][:1].astype(float), copies, axis=0)
        return Query(np.repeat(batches[None], copies, 0), np.repeat(rates[None], copies, 0), run.steps, first)

    recorded, tests = run.metrics["loss"].shape
    classes = len({example.label for example in dynamics.pool})
    assert Persistence().fit(data).flops(query(3)) == 0
    # The average run is looked up once, however many curricula are asked about.
    assert (
        MeanRun().fit(data).flops(query(1))
        == MeanRun().fit(data).flops(query(3))
        == average.FLOPS * (recorded - 1) * tests
    )
    fitted = ClassShare(strength=1.0).fit(data)
    counted = 0
    for _ in range(recorded):
        for _ in range(tests):
            counted += 2 * classes
    more = fitted.flops(query(2)) - fitted.flops(query(1))
    assert more == counted + 2 * run.curriculum.batches.size
