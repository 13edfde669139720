"""What ``gptfl doctor`` came to, in one sentence."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gptfl.scores.comparison import ScoreRow

Score = tuple[float, float, float] | None


def too_little(skill: Score, lds: Score, runs: int) -> str | None:
    """Why nothing is proposed: the simulator isn't shown to predict held-out runs. None where it is.

    Args:
        skill: with the bounds of its interval.
        lds: likewise.
        runs: how many were recorded.
    """
    found = []
    if skill is None or skill[1] < 0:
        found.append("skill" if skill is None else f"skill {shown(skill)}")
    if lds is None or lds[1] <= 0:
        found.append("LDS" if lds is None else f"LDS {shown(lds)}")
    if not found:
        return None
    unknown = (skill is None and "skill" in found) or (lds is None and "LDS" in found)
    said = " and ".join(found) + (" can't be told" if unknown and len(found) == 1 else "")
    return (
        f"Nothing is proposed: {runs} runs don't show that the simulator predicts runs it hasn't seen ({said}); a longer "
        "--budget records more."
    )


def verdict_of(metric: str, rows: int, paired: Mapping[str, Any] | None, fdr: float, applied: Path | None) -> str:
    """What of the patch is shown.

    Args:
        metric: its name.
        rows: how many the patch has.
        paired: what pairs of trainings came to, as ``read_verification`` gives it.
        fdr: the false discovery rate.
        applied: the folder of the rows that were written.
    """
    if not rows:
        return (
            f"Nothing is proposed: no row is clearly worse than the average row at a false discovery rate of {fdr:g} and suspicious besides; the "
            "report lists the most suspicious ones to read."
        )
    left = "1 row" if rows == 1 else f"{rows} rows"
    right, them = ("It may be right", "it") if rows == 1 else ("Some of them may be right", "them")
    read = f"{right}: read {them} before dropping {them}."
    if paired is None:
        return f"Not verified: the {left} of the patch are worth reading, and no training says more ({applied}). {read}"
    ends = paired["interval"]
    around = "" if ends is None else f" [{ends[0]:+.3g}, {ends[1]:+.3g}]"
    told = (
        f"{metric} changed by {paired['change']:+.3g}{around} against leaving out as many random ones, in {paired['pairs']} pairs of "
        f"trainings (predicted {paired['predicted_change']:+.3g})"
    )
    if paired["verdict"] == "better":
        return f"Leave out the {left} of the patch: {told}, which is clear of noise ({applied}). {read}"
    if paired["verdict"] == "worse":
        return f"Don't leave out the {left} of the patch: {told}, which is worse and clear of noise."
    return f"Read the {left} of the patch before leaving them out: {told}, which is not clear of noise ({applied}). {right}."


def score_of(row: ScoreRow, name: str) -> Score:
    """A score with the bounds of its interval; None where either isn't known."""
    value = row.scores.get(name)
    if value is None or value.interval is None or not np.isfinite([value.value, *value.interval]).all():
        return None
    return value.value, *value.interval


def shown(score: Score) -> str:
    """The score and its interval as a line has them."""
    return "not known" if score is None else "{:.2f} [{:.2f}, {:.2f}]".format(*score)
