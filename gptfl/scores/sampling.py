"""How held-out runs are drawn, and the intervals of scores that come of it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gptfl.scores import bootstrap


@dataclass(frozen=True, slots=True)
class RunDraws:
    """Bootstrap samples of runs: how often each is in them.

    ``units`` draws groups of runs, with so much ``freedom``. ``orders``, where runs of several groups share orders, draws
    these, with ``order_freedom``.
    """

    units: Float[np.ndarray, "draw run"]
    freedom: int
    orders: Float[np.ndarray, "draw run"] | None = None
    order_freedom: int = 0

    def interval(self, part: Float[np.ndarray, " run"], whole: Float[np.ndarray, " run"]) -> tuple[float, float]:
        """The 95 % interval of the sum of one number of each run over that of another, which are not all 0.

        Groups and orders are drawn apart, and a run counts as often as both are drawn (Owen, 2007, *The pigeonhole
        bootstrap*). The degrees of freedom are Satterthwaite's, of the variances that either makes alone.
        """
        draws, freedom = _ratios(self.units, part, whole), self.freedom
        if self.orders is not None and freedom > 0:
            apart = _variance(draws), _variance(_ratios(self.orders, part, whole))
            squares = apart[0] ** 2 / freedom + apart[1] ** 2 / self.order_freedom
            freedom = max(1, int(sum(apart) ** 2 / squares)) if squares > 0 else freedom
            draws = _ratios(self.units * self.orders, part, whole)
        return bootstrap.interval(float(part.sum() / whole.sum()), draws, freedom)


def _ratios(
    weights: Float[np.ndarray, "draw run"], part: Float[np.ndarray, " run"], whole: Float[np.ndarray, " run"]
) -> Float[np.ndarray, " draw"]:
    """The ratio of both sums in each draw; NaN where nothing is left."""
    drawn = weights @ whole
    return np.where(drawn > 0, weights @ part / np.where(drawn > 0, drawn, 1.0), np.nan)


def _variance(draws: Float[np.ndarray, " draw"]) -> float:
    known = draws[np.isfinite(draws)]
    return float(known.var()) if len(known) else 0.0


@dataclass(frozen=True, slots=True)
class Sampling:
    """``units`` numbers the groups of runs that are drawn as one, ``peers`` those that LDS compares within.

    ``tests`` is how many test examples LDS is the mean over. ``orders`` numbers the orders that runs of several groups
    share, None where they share none.
    """

    units: Int[np.ndarray, " run"]
    peers: Int[np.ndarray, " run"]
    tests: int
    orders: Int[np.ndarray, " run"] | None = None

    def draws(self, seed: int, draws: int = bootstrap.DRAWS) -> RunDraws:
        """Samples of the groups of runs, as ``weights`` has them, and of their orders."""
        weights, freedom = self.weights(seed, draws), bootstrap.freedom_of(self.units)
        if self.orders is None:
            return RunDraws(weights, freedom)
        orders = bootstrap.draw_weights(len(self.orders), seed + 1, draws, self.orders)
        return RunDraws(weights, freedom, orders, bootstrap.freedom_of(self.orders))

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
