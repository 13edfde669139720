"""Scores as tables show them: a number, its spread, the seconds that a fit took."""

import csv
import io
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

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


def short_power(text: str) -> str:
    """1.2e-05 as 1.2e-5: what is saved keeps the table within 80 columns."""
    return text.replace("e-0", "e-").replace("e+0", "e+")


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


@dataclass(frozen=True, slots=True)
class NumberScale:
    """The size of the numbers that a table is about.

    Bounds of an interval may lie many powers of ten away, where digits say nothing: what is below ``least`` is shown as
    less than that, what is above ``most`` as more than that.
    """

    least: float = 0.0
    most: float = math.inf

    @classmethod
    def of(cls, values: Float[np.ndarray, "..."]) -> "NumberScale":
        """From a thousandth to a thousand times the power of ten around the largest of some values (NaN: unknown)."""
        largest = float(np.abs(values[np.isfinite(values)]).max(initial=0.0))
        if not 1e-300 < largest < 1e300:
            return cls()
        power = math.floor(math.log10(largest))
        return cls(float(f"1e{power - 3}"), float(f"1e{power + 4}"))

    def number(self, value: float, form: str = ".4g") -> str:
        """The value, formatted, or the limit that it lies beyond."""
        if 0 < abs(value) < self.least:
            return f"< {_plain(self.least)}" if value > 0 else f"> -{_plain(self.least)}"
        if abs(value) > self.most:
            return f"> {_plain(self.most)}" if value > 0 else f"< -{_plain(self.most)}"
        return f"{value:{form}}"

    def span(self, low: float, high: float, form: str = ".4g") -> str:
        """An interval."""
        return f"{self.number(low, form)} to {self.number(high, form)}"


def _plain(limit: float) -> str:
    return short_power(f"{limit:g}")


def seconds(row: ScoreRow) -> str:
    """How many seconds the fits took."""
    if row.error:
        return NOTHING
    return f"{row.seconds:.1f}" if row.seconds >= 0.1 else "<0.1"


@contextmanager
def any_script() -> Iterator[None]:
    """Draw texts of any script without a warning for each letter that the font lacks; it is drawn as a box."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from|Matplotlib currently does not support")
        yield


def csv_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV, by the names of the first."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def counted(number: int, noun: str) -> str:
    """So many of a thing: 1 run, 2 runs."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
