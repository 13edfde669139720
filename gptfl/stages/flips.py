"""The flipped labels of a recording that was made with ``gptfl collect --flip-labels``."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool

from gptfl.errors import DataError
from gptfl.records import Example
from gptfl.stages.corrupting import CLEAN, FLIPPED


def flipped_of(pool: Sequence[Example]) -> Bool[np.ndarray, " pool"]:
    """Which examples of a pool carry another label than their own."""
    return np.array([example.fields.get(FLIPPED) is True for example in pool], dtype=bool)


def corrected(example: Example) -> Example:
    """A flipped example with its own label and target. Raises ``DataError`` where it doesn't say which."""
    label = example.fields.get(CLEAN)
    if type(label) is not int or not 0 <= label < len(example.choices):
        raise DataError(
            f"pool example {example.id!r} is flipped, and its clean_label {label!r} is none of its "
            f"{len(example.choices)} choices",
            "record again with gptfl collect --flip-labels",
        )
    kept = {name: value for name, value in example.fields.items() if name not in (FLIPPED, CLEAN)}
    return replace(example, target=example.choices[label], label=label, fields=kept, digest="")
