"""What is known of each row at a stated false discovery rate, and how many more runs would tell the rest.

The posterior of a row's influence is taken as normal. Its *false sign rate* is the probability that the sign is the
other one than that of the mean (Stephens, "False discovery rates: a new deal", Biostatistics 2017, local false sign
rate). Rows are decided in order of it for as long as the mean rate of those decided is at most the stated one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Bool, Float

from gptfl.errors import UsageError

HELPFUL, HARMFUL, UNCLEAR = "helpful", "harmful", "can't tell"
VERDICTS = (HELPFUL, HARMFUL, UNCLEAR)
BOTH_SIDES = "both"
"""What lists the rows that are known to help one side and not to hurt the other."""
FDR = 0.1
"""The false discovery rate by default."""
MOST = 1000
"""It is not said how many more runs settle something where it takes more than so many times as many as there are."""
SAMPLED = 4096
"""Of more open rows than that, so many of them, evenly spread over the pool, stand for all."""
HALF, NEARLY_ALL = 0.5, 0.9
_CDF = np.vectorize(lambda place: 0.5 * math.erfc(-place / math.sqrt(2.0)), otypes=[np.float64])


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What is known of each row: ``wrong_sign`` is the probability that its influence has the other sign.

    ``decided`` says whose sign counts as known, at a false discovery rate of ``fdr``. ``more_runs`` maps a share of the
    others to how many more runs like those recorded are expected to settle so many of them; None stands for more than
    ``MOST`` times as many as there are.
    """

    fdr: float
    sign: Float[np.ndarray, " row"]
    wrong_sign: Float[np.ndarray, " row"]
    decided: Bool[np.ndarray, " row"]
    more_runs: dict[float, int | None] | None = None

    def of(self, place: int) -> str:
        """The verdict on the row at this place: one of ``VERDICTS``."""
        if not self.decided[place]:
            return UNCLEAR
        return HELPFUL if self.sign[place] > 0 else HARMFUL

    def count(self, verdict: str) -> int:
        """How many rows have this verdict."""
        if verdict == UNCLEAR:
            return int((~self.decided).sum())
        return int((self.decided & ((self.sign > 0) == (verdict == HELPFUL))).sum())


def false_sign_rates(mean: Float[np.ndarray, " row"], spread: Float[np.ndarray, " row"]) -> Float[np.ndarray, " row"]:
    """The probability that each value has another sign than its mean; a half where the mean is 0.

    ``mean`` and ``spread``, the standard deviation, are in the same units. A normal posterior's local false sign rate
    (Stephens 2017).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        away = np.where(mean == 0.0, 0.0, np.abs(mean) / spread)
    return np.asarray(_CDF(-away)).reshape(len(mean))


def decide(rates: Float[np.ndarray, " row"], fdr: float) -> Bool[np.ndarray, " row"]:
    """The largest set of rows, surest first, whose mean rate is at most ``fdr``; equal rates go together."""
    order = np.argsort(rates, kind="stable")
    means = np.cumsum(rates[order]) / np.arange(1, len(rates) + 1)
    count = int((means <= fdr).sum())  # means of ascending rates ascend
    while 0 < count < len(rates) and rates[order[count - 1]] == rates[order[count]]:
        count -= 1
    decided = np.zeros(len(rates), dtype=bool)
    decided[order[:count]] = True
    return decided


def check_verdict(only: str | None, two_sides: bool = False) -> None:
    """Raise ``UsageError`` unless rows can be listed by this verdict: helpful, harmful, both of two sides, or None for any."""
    if only == BOTH_SIDES and not two_sides:
        raise UsageError(f"is {only}, without --keep", "give --keep with it", option="only")
    if only is not None and only not in (HELPFUL, HARMFUL, BOTH_SIDES):
        raise UsageError(f"{only!r} is unknown", f"use {HELPFUL}, {HARMFUL} or {BOTH_SIDES}", option="only")


@dataclass(frozen=True, slots=True)
class Shrinking:
    """How the spread of each row falls with more runs: each adds as much precision as those recorded did on average.

    ``before`` is the spread before any run, infinite where the estimator tells none; ``common`` is a spread that falls
    with the root of the number of ``runs`` (that of the mean over runs), and ``lasting`` one that stays, however many.
    """

    runs: int
    spread: Float[np.ndarray, " row"]
    before: Float[np.ndarray, " row"]
    common: Float[np.ndarray, " row"]
    lasting: Float[np.ndarray, " row"]

    def variance(self, factor: float) -> Float[np.ndarray, " row"]:
        """The variances after ``factor`` times as many runs, in the square of the metric's units."""
        own = np.maximum(self.spread**2 - self.common**2 - self.lasting**2, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            first = 1.0 / self.before**2
            gained = np.maximum(1.0 / own - first, 0.0)
            later = np.where(own > 0.0, 1.0 / (first + factor * gained), 0.0)
        return np.asarray(later + self.common**2 / factor + self.lasting**2)


def runs_to_settle(
    mean: Float[np.ndarray, " row"], shrinking: Shrinking, open_: Bool[np.ndarray, " row"], fdr: float
) -> dict[float, int | None]:
    """How many more runs are expected to settle half, and nine in ten, of the rows that are open, by that share.

    Args:
        mean: the influences, in the metric's units; shape ``[row]``.
        shrinking: how their standard deviations fall with more runs, in the same units.
        open_: which rows are not decided; shape ``[row]``.
        fdr: the false discovery rate, between 0 and 1.

    None stands for more than ``MOST`` times as many runs as there are, 0 for no open row. A row counts as settled when its own false sign rate is at most ``fdr``. What its mean will be then is drawn from
    what is known now: normal around today's mean, with the variance by which that is to fall.
    """
    if not open_.any():
        return dict.fromkeys((HALF, NEARLY_ALL), 0)
    sample = np.flatnonzero(open_)
    if len(sample) > SAMPLED:
        sample = sample[np.linspace(0, len(sample) - 1, SAMPLED).astype(np.int64)]
    edge = -NormalDist().inv_cdf(min(fdr, 0.5))
    now = shrinking.variance(1.0)

    def settled(factor: float) -> float:
        then = shrinking.variance(factor)
        moves = np.sqrt(np.maximum(now - then, 0.0))[sample]
        bound, centre = edge * np.sqrt(then)[sample], mean[sample]
        with np.errstate(divide="ignore", invalid="ignore"):
            known = np.where(
                moves > 0.0,
                _CDF((centre - bound) / moves) + _CDF((-centre - bound) / moves),
                (np.abs(centre) > bound).astype(np.float64),
            )
        return float(known.mean())

    found: dict[float, int | None] = {}
    for share in (HALF, NEARLY_ALL):
        low, high = 1.0, 2.0
        while high <= MOST and settled(high) < share:
            low, high = high, 2.0 * high
        if high > MOST:
            found[share] = None
            continue
        while (high - low) * shrinking.runs > 0.5:
            middle = 0.5 * (low + high)
            low, high = (low, middle) if settled(middle) >= share else (middle, high)
        found[share] = max(1, math.ceil((high - 1.0) * shrinking.runs))
    return found


def verdicts_on(
    mean: Float[np.ndarray, " row"],
    spread: Float[np.ndarray, " row"],
    fdr: float,
    shrinking: Shrinking | None = None,
) -> Verdicts:
    """The sign of each row's influence, how likely it is wrong, and which signs count as known.

    Args:
        mean: the influences, in the metric's units; shape ``[row]``.
        spread: their standard deviations, in the same units; shape ``[row]``.
        fdr: the false discovery rate, between 0 and 1.
        shrinking: how the deviations fall with more runs; None leaves out how many more would settle the rest.
    """
    rates = false_sign_rates(mean, spread)
    decided = decide(rates, fdr)
    more = None if shrinking is None else runs_to_settle(mean, shrinking, ~decided, fdr)
    return Verdicts(fdr, np.sign(mean), rates, decided, more)


__all__: Sequence[str] = ("FDR", "HARMFUL", "HELPFUL", "UNCLEAR", "VERDICTS", "Shrinking", "Verdicts", "verdicts_on")
