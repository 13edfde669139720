"""Examples held out of a fit, by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from gptfl.core.runs import Dynamics

TRAIN, TEST, BOTH = "train", "test", "both"
SIDES: Mapping[str, tuple[str, ...]] = {TRAIN: (TRAIN,), TEST: (TEST,), BOTH: (TRAIN, TEST)}


@dataclass(frozen=True, slots=True)
class HeldOutExamples:
    """The examples that fitting doesn't see, as ascending places in the pool and among the test examples.

    ``share`` is the one asked for, None for the usual one of each side or what the recording itself reserves.
    """

    side: str
    share: float | None
    seed: int
    pool: tuple[int, ...]
    test: tuple[int, ...]

    @property
    def sides(self) -> tuple[str, ...]:
        """The sides on which examples are set aside."""
        return SIDES[self.side]

    def described(self, dynamics: Dynamics) -> str:
        """What is set aside, in words."""
        parts = (("training", self.pool, dynamics.pool), ("test", self.test, dynamics.test))
        counts = [f"{len(places)} of {len(examples)} {noun} examples" for noun, places, examples in parts if places]
        return " and ".join(counts)

    def to_json(self, dynamics: Dynamics) -> dict[str, Any]:
        """What a file keeps of it: the ids set aside, the share and the seed."""
        ids = {TRAIN: [dynamics.pool[i].id for i in self.pool], TEST: [dynamics.test[i].id for i in self.test]}
        return {"side": self.side, "share": self.share, "seed": self.seed, **ids}


def kept_places(count: int, held_out: Sequence[int]) -> Int[np.ndarray, " kept"]:
    """The places that aren't set aside."""
    return np.setdiff1d(np.arange(count), np.asarray(held_out, dtype=np.int64))
