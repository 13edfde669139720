"""Numbers of one size, as tables show them where some may lie many powers of ten away."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


def short_power(text: str) -> str:
    """1.2e-05 as 1.2e-5: what is saved keeps the table within 80 columns."""
    return text.replace("e-0", "e-").replace("e+0", "e+")


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
