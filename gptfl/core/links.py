"""Scales on which a metric moves evenly: what is added there never leaves the metric's range."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gptfl.core.runs import MetricInfo

LEAST = 1e-6
"""Values are kept this far from a bound that the scale can't reach."""
MOST = 500.0
"""A logarithm above this one, where numbers end, is taken for it."""
AT_BOUNDS = 0.01
"""A metric with more than this share of its values at a bound of its range is left on its own scale."""


@dataclass(frozen=True, slots=True)
class Link:
    """A monotone map from a metric's values to the whole line, and back.

    ``identity``; ``log`` of a value above 0; ``odds`` of a loss: minus the log-odds of the probability that it is
    the negative log of, ``log(exp(loss) - 1)``; ``logit`` of a value between ``low`` and ``high``.
    """

    name: str
    low: float = float("-inf")
    high: float = float("inf")

    def to(self, values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Onto the even scale."""
        if self.name == "log":
            return np.asarray(np.log(np.maximum(values, LEAST)))
        if self.name == "odds":
            kept = np.maximum(values, LEAST)
            return np.asarray(kept + np.log(-np.expm1(-kept)))
        if self.name == "logit":
            share = np.clip((values - self.low) / (self.high - self.low), LEAST, 1.0 - LEAST)
            return np.asarray(np.log(share / (1.0 - share)))
        return np.asarray(values, dtype=np.float64)

    def back(self, values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Back to the metric, within its range."""
        if self.name == "log":
            return np.asarray(np.exp(np.minimum(values, MOST)))
        if self.name == "odds":
            return np.asarray(np.logaddexp(0.0, values))
        if self.name == "logit":
            # scipy's expit would take longer to load than all of a prediction takes.
            return np.asarray(self.low + (self.high - self.low) * np.exp(-np.logaddexp(0.0, -values)))
        return np.asarray(np.clip(values, self.low, self.high))

    def slope(self, values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """How much the scale changes for a small change of the metric, at these values of the metric."""
        if self.name == "log":
            return np.asarray(1.0 / np.maximum(values, LEAST))
        if self.name == "odds":
            return np.asarray(-1.0 / np.expm1(-np.maximum(values, LEAST)))
        if self.name == "logit":
            share = np.clip((values - self.low) / (self.high - self.low), LEAST, 1.0 - LEAST)
            return np.asarray(1.0 / (share * (1.0 - share) * (self.high - self.low)))
        return np.ones_like(np.asarray(values, dtype=np.float64))


def link_of(name: str, metric: MetricInfo) -> Link:
    """The scale of this name for a metric."""
    return Link(name, metric.low, metric.high)


def allowed_links(metric: MetricInfo, values: Float[np.ndarray, "run recorded test"]) -> list[Link]:
    """The scales that suit the range of a metric and what was recorded of it."""
    names = ["identity"]
    known = values[np.isfinite(values)]
    bounds = np.isclose(known, metric.low) | np.isclose(known, metric.high)
    if bounds.mean() <= AT_BOUNDS:
        if np.isfinite(metric.low) and np.isfinite(metric.high):
            names.append("logit")
        elif metric.low == 0.0:
            names += ["log", "odds"]
    return [link_of(name, metric) for name in names]
