"""gptfl's own estimators keep what they promise of unseen examples."""

import pytest

from gptfl import testing
from gptfl.estimators.baselines import MeanRun, Persistence
from gptfl.estimators.class_share import ClassShare
from gptfl.estimators.gptfluence.estimator import GPTfluence


@pytest.mark.parametrize(("factory", "blind"), [(Persistence, True), (MeanRun, True), (ClassShare, True)])
def test_the_naive_ones(factory, blind):
    assert factory().tags.unseen == {"train", "test"}
    assert factory().tags.blind is blind
    testing.check_estimator(factory)


@pytest.mark.parametrize("settings", [{}, {"order": 3, "projection": "linear"}, {"shared": True}])
def test_gptfluence(settings):
    assert GPTfluence().tags.unseen == {"train", "test"}
    assert not GPTfluence().tags.blind
    testing.check_estimator(GPTfluence, epochs=10, **settings)
