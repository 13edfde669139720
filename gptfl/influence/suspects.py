"""Training examples to read first, and by which signs each is suspected."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gptfl.influence.cleaning import suspicion_of

MOST = 40
"""So many are listed."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """An example by its place in the pool, how suspect it is, and its rank by each sign, from 1 for the most suspect."""

    row: int
    score: float
    ranks: Mapping[str, int]


def suspects_by(signs: Mapping[str, Float[np.ndarray, " pool"]]) -> list[Suspect]:
    """The ``MOST`` suspect examples, by all signs together (``suspicion_of``), ties in the pool's order.

    Of each sign, more is more suspect. Nothing where there is no sign.
    """
    if not signs:
        return []
    score = suspicion_of(list(signs.values()))
    ranks = {name: 1 + (values[None] > values[:, None]).sum(axis=1) for name, values in signs.items()}
    order = np.argsort(-np.round(score, 9), kind="stable")[:MOST]
    return [Suspect(int(row), float(score[row]), {name: int(one[row]) for name, one in ranks.items()}) for row in order]
