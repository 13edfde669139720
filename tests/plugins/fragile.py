"""A part of any kind, of a plugin called acme, that does what a test tells it."""

from typing import Any

import numpy as np

from gptfl import testing
from gptfl.core import MetricInfo
from gptfl.plugins import EncoderTags, EstimatorTags
from gptfl.plugins.interfaces import Observation
from gptfl.plugins.parts import KINDS
from gptfl.plugins.registry import Registry, build

EXAMPLES = testing.make_examples(3)
SEEN = Observation(EXAMPLES, np.zeros(3), np.ones(3, dtype=np.int64))


class Fragile:
    """A part of any kind whose methods do what they are told."""

    name = "fragile"
    learning_rate = 0.1
    info = MetricInfo("fragile", higher_is_better=True)
    needs: frozenset[str] = frozenset()

    def __init__(self, answer: Any, kind: str) -> None:
        self.answer = answer
        self.tags = EncoderTags(per_example=True) if kind == "encoder" else EstimatorTags()

    def _do(self, *given: object, **named: object) -> Any:
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    load = encode = check = measure = settings = fit = predict = state = restore = identity = _do
    sizes = influence = self_influence = influence_of = influence_on_target = influence_of_groups = flops = (
        use_recording
    ) = encode_new = outlook_on_target = _do

    def execute(self, *given: object) -> Any:
        yield 1
        self._do()

    @property
    def notes_(self) -> Any:
        return self._do()


def registry(answer: Any) -> Registry:
    """What is installed, with a fragile part of each kind that answers this, or raises it."""
    found = build([])
    for kind in KINDS:
        found.claim("acme 1.0", kind, "fragile", lambda data=None, kind=kind: Fragile(answer, kind))
    return found
