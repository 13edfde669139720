"""The vectors that gptfluence works on: which set of the features, and how they are standardised."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gptfl.core import Features, FeatureSet
from gptfl.core.blocked_rows import BlockedRows
from gptfl.core.texts import natural
from gptfl.errors import DataError


def chosen_set(features: Features | None, name: str | None, pool: int, test: int) -> FeatureSet:
    """The named feature set, or the only one.

    Args:
        features: of the examples, None where there are none.
        name: of the set, None where there is only one.
        pool: how many training examples its rows must be.
        test: how many test examples its rows must be.

    Raises ``DataError`` where the set isn't evident or doesn't fit.
    """
    if features is None:
        raise DataError("gptfluence needs the examples' vectors", "run `gptfl featurize` first")
    sets = features.sets
    if name is None and len(sets) != 1:
        raise DataError(
            f"the features of {features.encoder!r} hold {len(sets)} sets: {', '.join(sorted(sets, key=natural))}",
            "choose one with gptfluence's setting feature_set, or embed the texts (gptfl featurize --encoder minilm)",
        )
    name = next(iter(sets)) if name is None else name
    if name not in sets:
        raise DataError(f"the features hold no set {name!r}", f"known: {', '.join(sorted(sets, key=natural))}")
    found = sets[name]
    if (len(found.train), len(found.test)) != (pool, test):
        raise DataError(
            f"feature set {name!r} has vectors for {len(found.train)} pool and {len(found.test)} test examples, "
            f"the recording has {pool} and {test}",
            "featurize this recording",
        )
    # Of vectors that aren't in memory, those that are read are looked at.
    if not ((isinstance(found.train, BlockedRows) or np.isfinite(found.train).all()) and np.isfinite(found.test).all()):
        raise DataError(f"feature set {name!r} holds numbers that aren't finite", "featurize again")
    return found


@dataclass(frozen=True, slots=True)
class Standard:
    """A pool's mean vector, and its root mean square around it: one shift, one number, no whitening."""

    mean: Float[np.ndarray, " d"]
    scale: float

    @classmethod
    def of_pool(cls, vectors: Float[np.ndarray, "pool d"]) -> Self:
        """The standard that a pool sets."""
        if isinstance(vectors, BlockedRows):
            return cls(*_moments(vectors))
        vectors = np.asarray(vectors, dtype=np.float64)
        mean = vectors.mean(axis=0)
        return cls(mean, float(np.sqrt(np.mean(np.square(vectors - mean)))) or 1.0)

    def __call__(self, vectors: Float[np.ndarray, "example d"]) -> Float[Tensor, "example d"]:
        """Vectors less the mean, over the scale."""
        shifted = np.asarray(vectors, dtype=np.float64) - self.mean
        return torch.from_numpy((shifted / self.scale).astype(np.float32))

    def beside(
        self,
        fitted: Float[Tensor, "fitted d"],
        vectors: Float[np.ndarray, "asked d"],
        seen: Int[np.ndarray, " asked"],
    ) -> Float[Tensor, "asked d"]:
        """The vectors fitted for the examples that were, at their places; the others' standardised alike.

        Raises ``DataError`` for vectors of another length, or places that weren't fitted.
        """
        check_beside(fitted.shape, vectors.shape[1], seen)
        result = self(vectors)
        result[torch.from_numpy(seen >= 0)] = fitted[torch.from_numpy(seen[seen >= 0])]
        return result


def check_beside(fitted: Sequence[int], width: int, seen: Int[np.ndarray, " asked"]) -> None:
    """Refuse vectors that can't stand beside those fitted.

    Args:
        fitted: how many those are, and how long.
        width: how long the others are.
        seen: the places fitted of the examples asked about, -1 for others.

    Raises ``DataError`` for another length, or places that weren't fitted.
    """
    if width != fitted[1]:
        raise DataError(
            f"unseen examples have vectors of {width} numbers, those fitted of {fitted[1]}",
            "take the encoder that the simulator was fitted with",
        )
    if int(seen.max(initial=-1)) >= fitted[0]:
        raise DataError(
            f"asked for example {int(seen.max())} of {fitted[0]} that were fitted", "ask for examples of the fit"
        )


def standards(vectors: FeatureSet) -> tuple[Standard, Standard]:
    """The standard of the pool's vectors and that of the test examples' vectors.

    It is the pool's for both, but gradients have one each: what the optimiser divided is hundreds of times larger than
    the test side's, which it leaves alone.
    """
    pool = Standard.of_pool(vectors.train)
    return pool, Standard.of_pool(vectors.test) if vectors.kind == "gradient" else pool


def _moments(rows: BlockedRows) -> tuple[Float[np.ndarray, " d"], float]:
    """The mean of rows and their root mean square around it, by one reading. Raises ``DataError`` for what isn't finite."""
    near, total, squares = np.zeros(rows.shape[1]), np.zeros(rows.shape[1]), 0.0
    for start, block in rows.blocks():
        vectors = block.astype(np.float64)
        if start == 0:
            # Around a point near the mean, a sum of squares doesn't lose its digits.
            near = vectors.mean(axis=0)
        vectors -= near
        total += vectors.sum(axis=0)
        squares += float(np.einsum("nd,nd->", vectors, vectors))
    if not (np.isfinite(total).all() and np.isfinite(squares)):
        raise DataError("the vectors of the pool hold numbers that aren't finite", "featurize again")
    shift = total / len(rows)
    around = squares / rows.size - float(np.square(shift).mean())
    return near + shift, float(np.sqrt(max(around, 0.0))) or 1.0
