"""Where some runs end, as a function of the example that takes one member's places in each of them."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Float, Int


class ReplacementForm(Protocol):
    """The metric at the last step of some runs, in each of which one member's places are taken by candidates in turn.

    ``candidates`` are places in the pool asked about, ascending: some at a time, so that no pool has to be in memory.
    ``rows`` says for each run which of them to put there, by their places among ``candidates``, ascending. All answers are
    what ``predict`` gives for these curricula, to within rounding, and raise ``DataError`` where it does.
    """

    def on_target(
        self,
        candidates: Int[np.ndarray, " candidate"],
        rows: Sequence[Int[np.ndarray, " row"]],
        weights: Float[np.ndarray, " test"],
    ) -> Sequence[Float[np.ndarray, " row"]]:
        """For each run, a weighted sum of the test examples' values with each candidate."""
        ...

    def on_own(
        self,
        candidates: Int[np.ndarray, " candidate"],
        rows: Sequence[Int[np.ndarray, " row"]],
        tests: Int[np.ndarray, " candidate"],
    ) -> Sequence[Float[np.ndarray, " row"]]:
        """For each run, the value with each candidate of the one test example that ``tests`` names for it, by its place."""
        ...

    def totals(
        self, candidates: Int[np.ndarray, " candidate"], rows: Sequence[Int[np.ndarray, " row"]]
    ) -> Float[np.ndarray, "run test"]:
        """For each run, every test example's values with each candidate, added up."""
        ...
