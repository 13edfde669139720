"""Sums of runs that fits to the same pool share: those of a run that was asked about before aren't read again."""

from collections.abc import Callable, Sequence
from typing import Protocol, Self, TypeVar

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import fingerprint
from gptfl.estimators.exposure_gp.curricula import Curricula

KEPT_BYTES = 2**28
"""A memo keeps sums of so many bytes at most."""


class SumsOfRuns(Protocol):
    """Sums of each of some runs."""

    @property
    def nbytes(self) -> int:
        """How many bytes they take."""
        ...

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Those of some runs, and of others after them."""
        ...

    def of_runs(self, runs: Int[np.ndarray, " kept"]) -> Self:
        """Those of some runs."""
        ...


Sums = TypeVar("Sums", bound=SumsOfRuns)


def remembered(
    known: dict[str, Sums],
    runs: Curricula,
    steps: Int[np.ndarray, " recorded"],
    at: Float[np.ndarray, " step_and_end"] | None,
    read: Callable[[Curricula], Sums],
) -> Sums:
    """The sums of runs, of which those that aren't known yet are read.

    Args:
        known: sums of single runs by what they are of; what is read is put there as long as there is room.
        runs: whose sums.
        steps: recorded ones.
        at: which step of a reference run each step stands for (None: itself).
        read: reads those of some runs.
    """
    about = steps.astype(np.int64), at, None if runs.relative is None else fingerprint(runs.relative)
    each = zip(runs.batches.astype(np.int64), runs.weights, strict=True)
    keys = [fingerprint(batches, weights, *about) for batches, weights in each]
    missing = [place for place, key in enumerate(keys) if key not in known]
    if not missing:
        parts = [known[key] for key in keys]
        return parts[0].joined(parts)
    found = read(runs.of(np.array(missing)))
    new = {keys[place]: found.of_runs(np.array([row])) for row, place in enumerate(missing)}
    if sum(one.nbytes for one in (*known.values(), *new.values())) <= KEPT_BYTES:
        known.update(new)
    return found if len(missing) == len(keys) else found.joined([new.get(key) or known[key] for key in keys])
