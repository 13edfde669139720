"""Scores as tables show them: a number, its spread, the seconds that a fit took."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from gptfl.report.number_scale import short_power
from gptfl.scores.comparison import LOWER_IS_BETTER, ScoreRow, Value

TITLES = {"mse": "MSE", "mae": "MAE", "rho": "final ρ", "lds": "LDS", "skill": "skill"}
NOTHING = "–"
HOPELESS = -99.0
"""Below this a skill tells no more than that the estimator is far off."""
ROUNDING = 1e-12
"""A spread of this share of the value is what adding up in floating point leaves."""


def number(name: str, value: float) -> str:
    """A score's value as tables show it: three decimals where it lies near 0 to 1, else three digits."""
    if name == "skill" and value < HOPELESS:
        return f"< {HOPELESS:.0f}"
    if name in LOWER_IS_BETTER or abs(value) >= 10:
        return short_power(f"{value:.2e}" if 0 < abs(value) < 1e-3 else f"{value:.3g}")
    return f"{value:.3f}"


def spread(name: str, value: Value) -> str:
    """The spread over runs or the bootstrap interval, to two digits; empty where there is none, ±0 for mere rounding."""
    if name == "skill" and value.value < HOPELESS:
        return ""
    if value.interval is not None:
        low, high = (f"{bound:.0f}" if abs(bound) >= 10 else f"{bound:.2f}" for bound in value.interval)
        # A score that is what it is by definition has no uncertainty to show.
        return "" if value.interval[0] == value.interval[1] else f"[{low}, {high}]"
    if value.std is None:
        return ""
    size = abs(value.value) if name in LOWER_IS_BETTER else 1.0
    return "±0" if value.std <= ROUNDING * size else short_power(f"±{value.std:.2g}")


def seconds(row: ScoreRow) -> str:
    """How many seconds the fits took."""
    if row.error:
        return NOTHING
    return f"{row.seconds:.1f}" if row.seconds >= 0.1 else "<0.1"


def csv_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV, by the names of the first."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
