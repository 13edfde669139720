"""The synthetic recording that the checks fit to."""

import numpy as np
import pytest

from gptfl import testing
from gptfl.core import FIT


def test_the_synthetic_recording_is_whole_and_seeded() -> None:
    one, other = (testing.make_dynamics(every=5, missing=0.2) for _ in range(2))
    assert one.fingerprint == other.fingerprint != testing.make_dynamics(seed=1).fingerprint
    run = one.with_role(FIT)[0]
    assert run.steps.tolist() == [0, 5, 10, 12]
    assert np.isfinite(run.metrics["loss"][0]).all()
    assert any(np.isnan(run.metrics["loss"]).any() for run in one.runs)
    assert testing.make_features(one).examples == one.examples


@pytest.mark.parametrize("every", [1, 5])
def test_the_gradients_of_a_synthetic_recording_tell_exactly_what_happens(every: int) -> None:
    dynamics = testing.make_dynamics(gradients=True, steps=14, every=every)
    products = dynamics.gradients
    assert products is not None
    for run in dynamics.runs:
        values = run.metrics["loss"]
        np.testing.assert_allclose(values[0] + np.cumsum(run.derivatives["gradient"], axis=0), values, atol=1e-12)
        predicted = values[0].copy()
        for step, (batch, rate) in enumerate(zip(run.curriculum.batches, run.curriculum.learning_rates, strict=True)):
            point = max(k for k, start in enumerate(products.steps) if start <= step)
            predicted -= rate * np.mean([products.raw[point, i] for i in batch], axis=0)
        np.testing.assert_allclose(values[-1], predicted, atol=1e-12)
    assert np.isnan(products.preconditioned[0]).all()
    assert np.isfinite(products.preconditioned[1:]).all()
