"""An encoder that needs no model: hashed pairs of letters."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gptfl.plugins import EncoderTags, Example, FeatureSet, UsageError, hookimpl


class LetterPairs:
    """How often each pair of letters occurs in prompt and target, hashed into ``width`` columns."""

    name = "letter-pairs"
    tags = EncoderTags(per_example=True)

    def __init__(self, width: int = 32) -> None:
        if width < 1:
            raise UsageError(f"letter-pairs has width {width}", "give a positive one")
        self.width = width

    def identity(self) -> Mapping[str, Any]:
        return {"width": self.width, "version": 1}

    def encode(self, pool: Sequence[Example], test: Sequence[Example]) -> Mapping[str, FeatureSet]:
        return {"pairs": FeatureSet(self._rows(pool), self._rows(test))}

    def _rows(self, examples: Sequence[Example]) -> np.ndarray:
        rows = np.zeros((len(examples), self.width), dtype=np.float32)
        for row, example in zip(rows, examples, strict=True):
            for pair in zip(example.text, example.text[1:], strict=False):
                row[zlib.crc32("".join(pair).encode()) % self.width] += 1
            row /= max(1.0, float(np.linalg.norm(row)))
        return rows


@hookimpl
def gptfl_encoders() -> Mapping[str, type[LetterPairs]]:
    return {"letter-pairs": LetterPairs}
