"""Which rows to leave out: those known to harm that are suspicious besides."""

import csv
import io
from functools import partial

import numpy as np

from gptfl.influence.ranking import RankResult
from gptfl.influence.verdicts import HARMFUL


def patch_places(ranked: RankResult, cleaned: RankResult, share: float) -> list[int]:
    """The places of rows with the verdict harmful and a suspicion above 0, most suspicious first, at most a share of all."""
    verdicts, suspicion = ranked.rankings[0].verdicts, cleaned.rankings[0].influence
    if verdicts is None:
        return []
    known = [place for place in range(len(ranked.pool)) if verdicts.of(place) == HARMFUL and suspicion[place] > 0]
    return sorted(known, key=lambda place: -suspicion[place])[: int(share * len(ranked.pool))]


def patch_table(ranked: RankResult, cleaned: RankResult, places: list[int]) -> str:
    """The rows of a patch as CSV, with why each is in it, as ``gptfl apply`` reads it."""
    ranking, verdicts = ranked.rankings[0], ranked.rankings[0].verdicts
    assert verdicts is not None
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "estimator", "influence", "low", "high", "verdict", "wrong_sign", "suspicion"])
    shown = partial(np.format_float_positional, precision=6, trim="0")
    for place in places:
        bounds = ["" if ends is None else shown(ends[place]) for ends in (ranking.low, ranking.high)]
        numbers = [shown(ranking.influence[place]), *bounds, HARMFUL, shown(verdicts.wrong_sign[place])]
        suspicion = shown(cleaned.rankings[0].influence[place])
        writer.writerow([ranked.pool[place].id, ranking.estimator, *numbers, suspicion])
    return text.getvalue()
