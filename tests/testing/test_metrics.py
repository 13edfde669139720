"""The checks pass a sound metric and name the promise that a broken one breaks."""

from collections.abc import Sequence

import numpy as np
import pytest

from gptfl import testing
from gptfl.core import Example, MetricInfo
from gptfl.errors import DataError
from gptfl.plugins.interfaces import Observation
from tests.testing.parts import changed


class Margin:
    """How much likelier the target is than the next choice, in nats."""

    info = MetricInfo("margin", higher_is_better=True)
    needs = frozenset({"choices"})

    def check(self, examples: Sequence[Example]) -> None:
        for example in examples:
            if len(example.choices) < 2:
                raise DataError(f"example {example.id} has no choices", "take another metric")

    def measure(self, observation: Observation) -> np.ndarray:
        assert observation.choice_log_probs is not None
        rest = [
            max(p for p, choice in zip(probs, example.choices, strict=True) if choice != example.target)
            for example, probs in zip(observation.examples, observation.choice_log_probs, strict=True)
        ]
        return observation.target_log_prob - np.array(rest)


METRICS = {
    "upside down": (changed(Margin, info=MetricInfo("margin", False)), "higher_is_better=False"),
    "range": (changed(Margin, info=MetricInfo("margin", True, 0, 1)), "outside its range 0 to 1"),
    "empty range": (changed(Margin, info=MetricInfo("margin", True, 1, 1)), "empty range"),
    "needs": (changed(Margin, needs=frozenset({"sleep"})), "needs frozenset"),
    "unchecked": (changed(Margin, check=lambda self, examples: None), "raises nothing, where DataError"),
    "mean": (changed(Margin, measure=lambda self, o: Margin.measure(self, o)[:1]), "not one value an example"),
}


def test_a_sound_metric_passes() -> None:
    testing.check_metric(Margin)


@pytest.mark.parametrize(("factory", "broken"), METRICS.values(), ids=METRICS)
def test_a_broken_metric_is_reported_what_it_breaks(factory: type, broken: str) -> None:
    with pytest.raises(AssertionError, match=broken):
        testing.check_metric(factory)
