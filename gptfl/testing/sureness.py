"""Holds what an estimator says of its own predictions against what that promises."""

from dataclasses import replace
from itertools import pairwise

import numpy as np

from gptfl.core import Prediction, Query, Run
from gptfl.plugins.interfaces import Estimator
from gptfl.testing import promises
from gptfl.testing.promises import require


def check_sureness(prediction: Prediction, query: Query, name: str) -> None:
    """Intervals are finite, ordered, wider at higher levels, and certain of the given first value.

    Novelty is a share for each run. An estimator that offers neither passes.
    """
    shape = (len(query.batches), len(query.steps), query.first.shape[1])
    for level, (low, high) in prediction.intervals.items():
        require(0 < level < 1, f"{name} offers an interval of level {level}, which is not between 0 and 1")
        require(low.shape == shape and high.shape == shape, f"{name}: the {level} interval is not of shape {shape}")
        promises.require_finite(low, f"the {level} interval of {name}")
        promises.require_finite(high, f"the {level} interval of {name}")
        require(bool(np.all(low <= high)), f"{name}: the {level} interval has lower bounds above upper ones")
        for bound in (low, high):
            promises.require_close(
                bound[:, 0], query.first, f"{name}: the {level} interval doubts the first value, which is given"
            )
    levels = sorted(prediction.intervals)
    for narrow, wide in pairwise(levels):
        inner, outer = prediction.intervals[narrow], prediction.intervals[wide]
        slack = 1e-9 * (1.0 + np.abs(inner[0]) + np.abs(inner[1]))
        require(
            bool(np.all(outer[0] <= inner[0] + slack) and np.all(inner[1] <= outer[1] + slack)),
            f"{name}: the {narrow} interval reaches beyond the {wide} interval",
        )
    novelty = prediction.novelty
    if novelty is not None:
        promises.require_finite(novelty, f"the novelty that {name} tells")
        require(novelty.shape == shape[:1], f"{name} tells novelty of shape {novelty.shape}, not one a run {shape[:1]}")
        require(
            bool(np.all((novelty >= 0) & (novelty <= 1))),
            f"{name} tells novelty {float(novelty.min()):.3g} to {float(novelty.max()):.3g}, not within 0 and 1",
        )


def check_observed(fitted: Estimator, query: Query, runs: tuple[Run, ...], metric: str, name: str) -> None:
    """What was recorded of the requested runs so far: gone on from by an estimator that conditions, else ignored.

    Args:
        fitted: the estimator, fitted.
        query: the requested runs.
        runs: the same with what was recorded; the first half of each is observed, but for some values.
        metric: name of the metric.
        name: what messages call the estimator.

    Raises ``AssertionError`` where it doesn't hold.
    """
    recorded = np.stack([run.metrics[metric] for run in runs]).astype(np.float64)
    observed = recorded.copy()
    observed[:, 0] = observed[:, len(query.steps) // 2 + 1 :] = np.nan
    observed[:, 1::3, ::2] = np.nan
    known, kept = np.isfinite(observed), observed.copy()
    plain, given = fitted.predict(query), fitted.predict(replace(query, observed=observed))
    promises.require_equal(kept, observed, f"{name}: predict() changes the observed values that it was given")
    if not fitted.tags.conditions:
        promises.require_equal(
            plain.values, given.values, f"{name} doesn't say that it conditions, and heeds observed values all the same"
        )
        return
    promises.require_finite(given.values, f"what {name} predicts with observed values")
    require(
        given.values.shape == plain.values.shape,
        f"{name} predicts shape {given.values.shape} with observed values, not {plain.values.shape}",
    )
    check_sureness(given, query, f"{name} with observed values")
    before, after = (np.abs(one.values - recorded)[known].sum() for one in (plain, given))
    require(
        bool(after < before or before == 0),
        f"{name} says that it conditions, and is no closer to the observed values "
        f"(error {after:.3g}, without them {before:.3g})",
    )
    promises.require_close(given.values[:, 0], query.first, f"{name}: observed values change the given first value")
    nothing = fitted.predict(replace(query, observed=np.full(observed.shape, np.nan)))
    promises.require_close(plain.values, nothing.values, f"{name} predicts differently when nothing was observed")
