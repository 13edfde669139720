"""An encoder that can be stopped while it works, for tests of what is left of it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from gptfl.core import Example, FeatureSet
from gptfl.plugins import EncoderTags


class Slow:
    """Three numbers an example; notes what it is asked for, and calls ``stop`` then."""

    name = "slow"
    tags = EncoderTags(per_example=True)
    asked: ClassVar[list[tuple[list[str], list[str]]]] = []
    stop: ClassVar[Callable[[], None]]

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = float(scale)
        self.progress: Any = None

    def identity(self) -> Mapping[str, Any]:
        return {"scale": self.scale}

    def encode(self, pool: Sequence[Example], test: Sequence[Example]) -> Mapping[str, FeatureSet]:
        Slow.asked.append(([e.id for e in pool], [e.id for e in test]))
        type(self).stop()
        for done in range(len(pool) + len(test) + 1):
            self.progress("featurize", done, len(pool) + len(test))
        return {"text": FeatureSet(*(self.scale * self.vectors(side) for side in (pool, test)))}

    @staticmethod
    def vectors(examples: Sequence[Example]) -> np.ndarray:
        """What it makes of examples."""
        rows = [(len(e.prompt), sum(e.text.encode()), len(e.target)) for e in examples]
        return np.array(rows, dtype=np.float32).reshape(-1, 3)
