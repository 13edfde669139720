"""Training examples to read first, and why each is suspected."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import norm, rankdata

MOST = 40
"""So many are listed."""


@dataclass(frozen=True, slots=True)
class Sign:
    """One sign of harm or of a wrong target: higher is more suspect. ``words`` says what the number is."""

    words: str
    values: Float[np.ndarray, " pool"]


@dataclass(frozen=True, slots=True)
class Suspect:
    """An example by its place in the pool, how suspect it is, and its place by each sign, from 1 for the most suspect."""

    row: int
    score: float
    ranks: Mapping[str, int]


def suspects_by(signs: Mapping[str, Sign]) -> list[Suspect]:
    """The most suspect examples first: by the mean of the signs' normal scores, ties in the pool's order.

    A normal score is the quantile of the normal distribution at an example's rank by a sign, so that signs of any unit
    count alike. Nothing where there is no sign.
    """
    if not signs:
        return []
    ranks = {name: rankdata(one.values) for name, one in signs.items()}
    count = len(next(iter(ranks.values())))
    score = np.mean([norm.ppf((one - 0.5) / count) for one in ranks.values()], axis=0)
    order = np.argsort(-score, kind="stable")[:MOST]
    places = {name: rankdata(-one.values, method="min").astype(int) for name, one in signs.items()}
    return [
        Suspect(int(row), float(score[row]), {name: int(one[row]) for name, one in places.items()}) for row in order
    ]
