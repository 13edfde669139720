"""What each row does to test examples that must not get worse, and to both sides together."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from gptfl.core import Features, Progress
from gptfl.influence.closed_form import WIDTH, closed_form
from gptfl.influence.removal import average_worth
from gptfl.influence.targets import REMOVE, Influence, InfluenceTarget
from gptfl.influence.two_sides import probability_of_both
from gptfl.influence.verdicts import HARMFUL, HELPFUL, UNCLEAR, Verdicts, decide
from gptfl.simulation.simulator import FittedSimulator

BOTH, TRADE, HARMS = "helps, keeps", "helps, hurts", "harms"
"""Verdicts on both sides: known to help the target and not to hurt the retained; to help one and hurt the other; to harm
the target. What is none of these can't be told."""


@dataclass(frozen=True, slots=True)
class KeptSide:
    """The influence of each row on the retained test examples, positive where it makes their metric better.

    ``low`` and ``high`` are the ends of its interval at ``LEVEL``, and ``verdicts`` what is known of it, as on the target;
    None where the estimator doesn't tell. ``both`` is the probability that a row helps the target and doesn't hurt the
    retained test examples, by the joint posterior, and ``known`` says for which rows that counts as known at the false
    discovery rate of the verdicts.
    """

    subject: str
    influence: Float[np.ndarray, " pool"]
    low: Float[np.ndarray, " pool"] | None = None
    high: Float[np.ndarray, " pool"] | None = None
    verdicts: Verdicts | None = None
    both: Float[np.ndarray, " pool"] | None = None
    known: Bool[np.ndarray, " pool"] | None = None

    def joint(self, place: int, target: Verdicts) -> str:
        """The verdict on the row at this place on both sides, given those on the target."""
        if self.verdicts is None or self.known is None:
            return UNCLEAR
        if self.known[place]:
            return BOTH
        if target.of(place) == HARMFUL:
            return HARMS
        trade = target.of(place) == HELPFUL and self.verdicts.of(place) == HARMFUL
        return TRADE if trade else UNCLEAR


def kept_side(
    source: FittedSimulator,
    sides: tuple[InfluenceTarget, InfluenceTarget],
    target: Influence,
    kept: Influence,
    verdicts: tuple[Verdicts | None, Verdicts | None],
    features: str | Path | Features | None,
    progress: Progress,
) -> KeptSide:
    """The influence on the retained test examples, and what is known of both sides together.

    Args:
        source: the simulator.
        sides: the target and the retained test examples.
        target: the influence on the target.
        kept: that on the retained test examples, told in the same way.
        verdicts: on either.
        features: the vectors, or their file; None for those in the workspace.
        progress: called along the way.

    Raises as ``compute_influence`` does.
    """
    found = KeptSide(sides[1].text, kept.influence)
    if kept.spread is not None:
        half = WIDTH * kept.spread
        found = KeptSide(sides[1].text, kept.influence, kept.influence - half, kept.influence + half, verdicts[1])
    of_target, of_kept = verdicts
    if of_target is None or of_kept is None or target.spread is None or kept.spread is None or target.how != REMOVE:
        return found
    tied = correlation(source, sides, (target.spread, kept.spread), features, progress)
    both = probability_of_both(target.influence, kept.influence, target.spread, kept.spread, tied)
    known = decide(1.0 - both, of_target.fdr)
    return KeptSide(found.subject, found.influence, found.low, found.high, of_kept, both, known)


def correlation(
    source: FittedSimulator,
    sides: tuple[InfluenceTarget, InfluenceTarget],
    spreads: tuple[Float[np.ndarray, " pool"], Float[np.ndarray, " pool"]],
    features: str | Path | Features | None,
    progress: Progress,
) -> Float[np.ndarray, " pool"]:
    """How the errors of each row's influence on both sides go together, from -1 to 1.

    Of what a row does in place of the average row it is the joint posterior's, from the variances of both sides and of all
    their test examples together. What an average row is worth has that of the recorded runs.

    Args:
        source: the simulator, of an estimator that has influence in closed form.
        sides: the target and the retained test examples, of which none is in both.
        spreads: standard deviations of each row's influence on either.
        features: the vectors, or their file; None for those in the workspace.
        progress: called along the way.
    """
    tests = [one.tests for one in sides if one.tests is not None]
    union = np.concatenate(tests)
    shares = np.array([len(one) for one in tests]) / len(union)
    rows = [closed_form(source, one, features, progress)[1] for one in (*tests, union)]
    tied = _correlation(rows[0], rows[1], rows[2], shares)
    worth = [average_worth(source, one) for one in (*tests, union)]
    if any(one is None for one in worth):
        return tied
    common = [one.spread for one in worth if one is not None]
    # Of what the spreads have besides, from the runs' curves, nothing says how it goes together but that of the runs.
    each = [np.array([one.sampled]) for one in worth if one is not None]
    together = _correlation(each[0], each[1], each[2], shares)[0]
    own = [np.sqrt(np.maximum(one**2 - common[side] ** 2, 0.0)) for side, one in enumerate(spreads)]
    covariance = tied * own[0] * own[1] + together * common[0] * common[1]
    size = spreads[0] * spreads[1]
    return np.asarray(np.clip(np.where(size > 0, covariance / np.where(size > 0, size, 1.0), 0.0), -1.0, 1.0))


def _correlation(
    one: Float[np.ndarray, " row"],
    other: Float[np.ndarray, " row"],
    mean: Float[np.ndarray, " row"],
    shares: Float[np.ndarray, "2"],
) -> Float[np.ndarray, " row"]:
    """The correlation of two values whose standard deviations, and that of their mean with these shares, are known."""
    size = 2.0 * shares[0] * shares[1] * one * other
    left = mean**2 - (shares[0] * one) ** 2 - (shares[1] * other) ** 2
    return np.asarray(np.clip(np.where(size > 0, left / np.where(size > 0, size, 1.0), 0.0), -1.0, 1.0))
