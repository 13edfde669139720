"""How held-out runs are drawn, and the intervals of scores that come of it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gptfl.scores import bootstrap


@dataclass(frozen=True, slots=True)
class Sampling:
    """``units`` numbers the groups of runs that are drawn as one, ``peers`` those that LDS compares within.

    ``tests`` is how many test examples LDS is the mean over.
    """

    units: Int[np.ndarray, " run"]
    peers: Int[np.ndarray, " run"]
    tests: int

    def weights(self, seed: int, draws: int = bootstrap.DRAWS) -> Float[np.ndarray, "draw run"]:
        """How often each run is in each bootstrap sample."""
        return bootstrap.draw_weights(len(self.units), seed, draws, self.units)

    def freedom(self, score: str) -> int:
        """The degrees of freedom of a score: LDS takes values less their mean over the peers."""
        if score != "lds":
            return bootstrap.freedom_of(self.units)
        own = np.bincount(self.peers)[self.peers] > 1
        return bootstrap.freedom_of(self.units[own], self.peers[own])

    def interval(self, score: str, value: float, draws: Float[np.ndarray, " draw"]) -> tuple[float, float]:
        """The interval of a score from its draws."""
        return bootstrap.interval(value, draws, self.freedom(score), self._scale(score))

    def differs(
        self,
        score: str,
        first: tuple[float, Float[np.ndarray, " draw"]],
        second: tuple[float, Float[np.ndarray, " draw"]],
    ) -> bool:
        """Whether two values of a score, each with its draws, are clearly not the same."""
        return bootstrap.is_clear(bootstrap.difference(first, second, self.freedom(score), self._scale(score)))

    def moved(self, score: str, value: float, draws: Float[np.ndarray, " draw"]) -> Float[np.ndarray, " draw"]:
        """Draws of what the true value may be, of which the interval has the quantiles; NaN where one isn't defined."""
        return bootstrap.true_draws(value, draws, self.freedom(score), self._scale(score))

    def _scale(self, score: str) -> bootstrap.Scale:
        return bootstrap.scale_of(score, len(self.units), self.tests)
