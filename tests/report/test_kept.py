"""The other side of a ranking, as columns and in a line."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from gptfl.influence.kept import KeptSide
from gptfl.influence.verdicts import Verdicts
from gptfl.report.kept import (
    columns_of,
    joint_counts,
    kept_cells,
    kept_json,
    kept_line,
    kept_names,
    kept_row,
    kept_verdicts,
)


def two_sides(results: SimpleNamespace, sure: bool):
    ranking = results.ranking.rankings[0]
    count = len(ranking.influence)
    ones, all_known = np.ones(count), np.ones(count, dtype=bool)
    target = Verdicts(0.1, ones, np.zeros(count), all_known)
    kept = KeptSide("others", 0.5 * ones)
    if sure:
        signs = np.where(np.arange(count) % 2 == 0, 1.0, -1.0)
        known = Verdicts(0.1, signs, np.zeros(count), all_known)
        kept = KeptSide("others", 0.5 * signs, signs - 1, signs + 1, known, (signs > 0) * 1.0, signs > 0)
    return replace(ranking, verdicts=target, kept=kept)


def test_a_row_has_what_is_known_of_it(results):
    sure, unsure = two_sides(results, True), two_sides(results, False)
    assert list(kept_row(sure, 0)) == columns_of([sure.kept])
    assert (kept_row(sure, 0)["both_verdict"], kept_row(sure, 1)["both_verdict"]) == ("helps, keeps", "helps, hurts")
    assert list(kept_row(unsure, 0)) == columns_of([unsure.kept]) == ["retained"]
    assert kept_row(results.ranking.rankings[0], 0) == {}
    assert kept_names(sure) == ("on retained", "both sides")
    assert kept_verdicts(sure, 1) == ["harmful", "helps, hurts"]
    assert (kept_names(unsure), kept_verdicts(unsure, 0), len(kept_cells(unsure, 0))) == ((), [], 1)
    assert len(kept_cells(sure, 0)) == 2


def test_a_line_counts_the_verdicts(results):
    sure = two_sides(results, True)
    count = len(sure.influence)
    helped = (count + 1) // 2
    assert joint_counts(sure) == {"helps, keeps": helped, "helps, hurts": count - helped, "harms": 0}
    assert kept_json(sure)["both_verdicts"] == joint_counts(sure)
    assert kept_line(sure).startswith(f"Both sides: {helped} help the target and don't hurt the retained")
    assert "no verdicts on both sides" in kept_line(two_sides(results, False))
    assert kept_line(results.ranking.rankings[0]) == ""
