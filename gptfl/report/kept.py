"""What rows do to test examples that must not get worse, beside their influence on the target."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gptfl.influence.kept import BOTH, HARMS, TRADE, KeptSide
from gptfl.influence.ranking import Ranking
from gptfl.report.number_scale import NumberScale
from gptfl.report.verdicts import verdict_counts

RETAINED, JOINT = "on retained", "both sides"


def kept_row(ranking: Ranking, place: int) -> dict[str, Any]:
    """What programs are told of a row, by column; nothing where there is one side."""
    kept = ranking.kept
    if kept is None:
        return {}
    found: dict[str, Any] = {"retained": float(kept.influence[place])}
    if kept.low is not None and kept.high is not None:
        found |= {"retained_low": float(kept.low[place]), "retained_high": float(kept.high[place])}
    if kept.verdicts is not None:
        found["retained_verdict"] = kept.verdicts.of(place)
    if kept.both is not None and ranking.verdicts is not None:
        found |= {"both": float(kept.both[place]), "both_verdict": kept.joint(place, ranking.verdicts)}
    return found


def columns_of(kept: Sequence[KeptSide]) -> list[str]:
    """The columns of CSV that any of several rankings has."""
    found = ["retained"] if kept else []
    if any(one.low is not None for one in kept):
        found += ["retained_low", "retained_high"]
    if any(one.verdicts is not None for one in kept):
        found.append("retained_verdict")
    if any(one.both is not None for one in kept):
        found += ["both", "both_verdict"]
    return found


def kept_json(ranking: Ranking) -> dict[str, Any]:
    """What a JSON document says of a ranking's other side."""
    kept = ranking.kept
    if kept is None:
        return {}
    found: dict[str, Any] = {"keep": kept.subject}
    if kept.verdicts is not None:
        found["retained_verdicts"] = verdict_counts(kept.verdicts)
    return {**found, **({} if kept.known is None else {"both_verdicts": joint_counts(ranking)})}


def joint_counts(ranking: Ranking) -> dict[str, int]:
    """How many rows have which verdict on both sides."""
    kept, verdicts = ranking.kept, ranking.verdicts
    assert kept is not None
    assert verdicts is not None
    found = [kept.joint(place, verdicts) for place in range(len(kept.influence))]
    return {name: found.count(name) for name in (BOTH, TRADE, HARMS)}


def kept_cells(ranking: Ranking, place: int) -> list[str]:
    """The cells of numbers."""
    kept = ranking.kept
    if kept is None:
        return []
    scale = NumberScale.of(np.asarray(kept.influence))
    cells = [scale.number(float(kept.influence[place]), "+.3g")]
    if kept.low is not None and kept.high is not None:
        cells.append(scale.span(float(kept.low[place]), float(kept.high[place]), "+.3g"))
    return cells


def kept_names(ranking: Ranking) -> tuple[str, ...]:
    """The columns of verdicts; nothing where there are none on the target."""
    kept = ranking.kept
    if kept is None or kept.verdicts is None or ranking.verdicts is None:
        return ()
    return (RETAINED, JOINT)


def kept_verdicts(ranking: Ranking, place: int) -> list[str]:
    """The cells of verdicts."""
    kept, verdicts = ranking.kept, ranking.verdicts
    if kept is None or kept.verdicts is None or verdicts is None:
        return []
    return [kept.verdicts.of(place), kept.joint(place, verdicts)]


def kept_line(ranking: Ranking) -> str:
    """How many rows are known to do what to both sides together, in a line."""
    kept = ranking.kept
    if kept is None:
        return ""
    if kept.known is None or ranking.verdicts is None:
        return (
            "Nothing says how sure the influence on the retained test examples is: there are no verdicts on both sides."
        )
    counts = joint_counts(ranking)
    rest = len(kept.influence) - sum(counts.values())
    return (
        f"Both sides: {counts[BOTH]} help the target and don't hurt the retained, {counts[TRADE]} help the one and hurt the "
        f"other, {counts[HARMS]} harm the target; of the other {rest} it can't be told, at a false discovery rate of "
        f"{ranking.verdicts.fdr:g} (--fdr)."
    )
