"""Which rows to leave out: those known to harm that are suspicious besides."""

import csv
import io
from dataclasses import replace
from functools import partial

import numpy as np

from gptfl.core import Progress, silent
from gptfl.influence.closed_form import on_target
from gptfl.influence.ranking import RankResult
from gptfl.influence.targets import MEAN, influence_target
from gptfl.influence.verdicts import HARMFUL, Verdicts, decide, false_sign_rates
from gptfl.options.common import File
from gptfl.simulation.simulator import FittedSimulator


def held_against_the_average(
    ranked: RankResult, source: FittedSimulator, fdr: float, features: File = None, progress: Progress = silent
) -> RankResult:
    """A ranking in closed form with verdicts: which rows do more or less for the mean than the average row.

    That is the question where the other rows take the steps of those left out, as in the trainings that verify a patch.

    Args:
        ranked: by ``source``, on the mean of the test examples, in closed form.
        source: the simulator.
        fdr: the false discovery rate of the verdicts, between 0 and 1.
        features: those that it was fitted on, by default looked for in the workspace.
        progress: called along the way.

    Raises as ``closed_form`` does.
    """
    tests = influence_target(MEAN, source.recording.dynamics).tests
    assert tests is not None
    mean, spread, _ = on_target(source, tests, features, progress)
    rates = false_sign_rates(mean, spread)
    verdicts = Verdicts(fdr, np.sign(mean), rates, decide(rates, fdr))
    return replace(ranked, rankings=(replace(ranked.rankings[0], verdicts=verdicts), *ranked.rankings[1:]))


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
