"""Within how much training effects fade: what a batch did is partly undone by those after it.

A loss that nears its floor pulls back whatever pushed it, so that what was seen late shows more than what was seen early. In
exposures that only add up, a run that goes through a pool once is told by what it saw first, where it is by what it saw last.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from gptfl.estimators.exposure_gp.model import ExposureModel
from gptfl.estimators.exposure_gp.requests import RecordedRuns

REACHES = (4.0, 2.0, 1.0, 0.5, 0.25)
"""Effects may fade by a factor of e while step sizes add up to these shares of all that was recorded."""
FIRST = 2
"""The place of the one that is tried first, and by which the scale of effects is chosen."""
TRIED = REACHES[FIRST - 1 : FIRST + 2]
"""Those that every fit tries, for the most part; sums of vectors for these are read together."""
CENTRE, SPREAD = 0.7, 0.7
"""Median and standard deviation of the logarithm of the share's log-normal prior (``docs/exposure-gp.md``, "Fading")."""


def total(recorded: RecordedRuns) -> float:
    """What step sizes add up to between the first and the last recorded step."""
    return float(recorded.clock().passed(recorded.steps)[-1])


def faded(recorded: RecordedRuns, share: float) -> RecordedRuns:
    """The same runs, what they do fading within this share of all step sizes; staying where there are none."""
    whole = total(recorded)
    fading = share * whole if whole > 0.0 else None
    return replace(recorded, curricula=replace(recorded.curricula, fading=fading))


def likeliest(first: ExposureModel, fit: Callable[[float], ExposureModel]) -> ExposureModel:
    """The model of the share of greatest posterior density, by steps from the first one while these gain.

    Args:
        first: fitted with the share at ``FIRST``.
        fit: fits with another share.
    """
    if first.recorded.curricula.fading is None:
        return first
    best, place = first, FIRST
    for step in (1, -1):
        while 0 <= place + step < len(REACHES):
            other = fit(REACHES[place + step])
            if cost(other, REACHES[place + step]) >= cost(best, REACHES[place]):
                break
            best, place = other, place + step
        if place != FIRST:
            break
    return best


def cost(model: ExposureModel, share: float) -> float:
    """Minus the logarithm of the posterior density of a share, up to a constant."""
    return model.evidence + 0.5 * (float(np.log(share / CENTRE)) / SPREAD) ** 2
