"""gptfl's own estimators keep what they promise of unseen examples."""

import pytest

from gptfl import testing
from gptfl.estimators.baselines import MeanRun, Persistence
from gptfl.estimators.class_share import ClassShare
from gptfl.estimators.gptfluence.estimator import GPTfluence
from gptfl.plugins.interfaces import generalises, is_blind


@pytest.mark.parametrize(("factory", "blind"), [(Persistence, True), (MeanRun, True), (ClassShare, True)])
def test_the_naive_ones(factory, blind):
    assert generalises(factory()) == {"train", "test"}
    assert is_blind(factory()) is blind
    testing.check_estimator(factory)


@pytest.mark.parametrize("settings", [{}, {"order": 3, "projection": "linear"}, {"shared": True}])
def test_gptfluence(settings):
    assert generalises(GPTfluence()) == {"train", "test"}
    assert not is_blind(GPTfluence())
    testing.check_estimator(GPTfluence, epochs=10, **settings)
