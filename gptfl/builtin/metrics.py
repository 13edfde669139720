"""The metrics gptfl brings: loss and accuracy."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from gptfl.errors import DataError
from gptfl.interfaces import Observation
from gptfl.records import Example, MetricInfo


class Loss:
    """Mean negative log-probability of the target's tokens, in nats."""

    info = MetricInfo("loss", higher_is_better=False, low=0.0)
    needs: frozenset[str] = frozenset()

    def check(self, examples: Sequence[Example]) -> None:
        """Every example has a target, so every example has a loss."""

    def measure(self, observation: Observation) -> Float[np.ndarray, " test"]:
        """Loss of each test example."""
        return np.asarray(-observation.target_log_prob / observation.target_tokens)


class Accuracy:
    """1 where the target is the likeliest of the task's choices by summed log-probability, else 0."""

    info = MetricInfo("accuracy", higher_is_better=True, low=0.0, high=1.0)
    needs: frozenset[str] = frozenset({"choices"})

    def check(self, examples: Sequence[Example]) -> None:
        """Raise ``DataError`` where an example has no choices, or its target is none of them."""
        for example in examples:
            if len(example.choices) < 2 or example.label is None:
                raise DataError(
                    f"--metric accuracy: test example {example.id!r} has no choices to tell apart",
                    "use a task with choices, or --metric loss",
                )

    def measure(self, observation: Observation) -> Float[np.ndarray, " test"]:
        """Whether each test example's own choice is the likeliest."""
        assert observation.choice_log_probs is not None
        pairs = zip(observation.examples, observation.choice_log_probs, strict=True)
        return np.array([float(np.argmax(scores) == example.label) for example, scores in pairs])
