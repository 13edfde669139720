"""Intervals, novelty and observed scores: a sound estimator passes, one that is wrongly sure is named."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from gptfl import testing
from gptfl.core import Prediction, Query
from gptfl.plugins import EstimatorTags
from gptfl.testing.sureness import check_sureness
from tests.testing.parts import Drift, changed


class Sure(Drift):
    """Drift that tells intervals and a novelty, and goes on from the last value observed."""

    name = "sure"
    tags = EstimatorTags(conditions=True)

    def predict(self, query: Query) -> Prediction:
        values = super().predict(query).values
        if query.observed is not None:
            for run, test in np.ndindex(query.first.shape):
                known = np.flatnonzero(np.isfinite(query.observed[run, :, test]))
                if len(known):
                    step = known[-1]
                    values[run, step:, test] += query.observed[run, step, test] - values[run, step, test]
        half = np.broadcast_to(0.1 * (query.steps > query.steps[0])[None, :, None], values.shape)
        intervals = {level: (values - 2 * level * half, values + 2 * level * half) for level in (0.5, 0.9)}
        return Prediction(values, intervals, np.full(len(values), 0.5))


def telling(change: Callable[[Prediction], Prediction]) -> type:
    """A sure one that tells something else of its predictions."""
    return changed(Sure, predict=lambda self, query: change(Sure.predict(self, query)))


def bounding(change: Callable[[float, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]) -> type:
    """A sure one whose intervals are changed."""
    return telling(
        lambda prediction: dataclasses.replace(
            prediction, intervals={k: change(k, *both) for k, both in prediction.intervals.items()}
        )
    )


def novelties(change: Callable[[np.ndarray], np.ndarray]) -> type:
    """A sure one whose novelty is changed."""
    return telling(lambda prediction: dataclasses.replace(prediction, novelty=change(np.asarray(prediction.novelty))))


LIARS = {
    "level": (telling(lambda p: dataclasses.replace(p, intervals={90: p.intervals[0.9]})), "level 90, which is not"),
    "shape": (bounding(lambda level, low, high: (low[:, 1:], high[:, 1:])), "interval is not of shape"),
    "infinite": (bounding(lambda level, low, high: (low - np.inf, high)), "not finite"),
    "reversed": (bounding(lambda level, low, high: (high, low)), "lower bounds above upper"),
    "first": (bounding(lambda level, low, high: (low - level, high + level)), "doubts the first value"),
    "nested": (telling(lambda p: dataclasses.replace(p, intervals={0.5: p.intervals[0.9], 0.9: p.intervals[0.5]})), "0.5 interval reaches beyond the 0.9"),
    "novelty shape": (novelties(lambda novelty: novelty[:1]), "not one a run"),
    "novelty range": (novelties(lambda novelty: 3 * novelty), "not within 0 and 1"),
    "novelty NaN": (novelties(lambda novelty: novelty * np.nan), "not finite"),
    "deaf": (changed(Sure, predict=lambda self, query: Sure.predict(self, dataclasses.replace(query, observed=None))), "no closer to the observed"),
    "contrary": (changed(Sure, predict=lambda self, query: Sure.predict(self, query if query.observed is None else dataclasses.replace(query, observed=2 * query.observed))), "no closer to the observed"),
    "secretive": (changed(Sure, tags=EstimatorTags()), "heeds observed values all the same"),
    "undone by NaN": (changed(Sure, predict=lambda self, query: _knows_more(Sure.predict(self, query), query)), "when nothing was observed"),
    "scribbles": (changed(Sure, predict=lambda self, query: _scribbled(query) or Sure.predict(self, query)), "changes the observed values"),
}  # fmt: skip


def _knows_more(prediction: Prediction, query: Query) -> Prediction:
    if query.observed is not None and not np.isfinite(query.observed).any():
        prediction.values[:, 1:] += 1.0
    return prediction


def _scribbled(query: Query) -> None:
    if query.observed is not None:
        query.observed[np.isfinite(query.observed)] += 1.0


def test_an_estimator_that_is_sure_of_itself_passes() -> None:
    testing.check_estimator(Sure)


@pytest.mark.parametrize(("factory", "broken"), LIARS.values(), ids=LIARS)
def test_an_estimator_that_is_wrongly_sure_is_reported(factory: type, broken: str) -> None:
    with pytest.raises(AssertionError, match=broken):
        testing.check_estimator(factory)


def test_rounding_is_no_crossing_and_bounds_that_touch_are_nested() -> None:
    first = np.array([[1.0, 2.0]])
    query = Query(np.zeros((1, 2, 1), dtype=int), np.ones((1, 2)), np.array([0, 1]), first)
    values = np.repeat(first[:, None], 2, axis=1)
    reach = np.array([[[0.0], [1.0]]])
    narrow, wide = (values, values + reach), (values + 1e-12 * reach, values + (1 - 1e-12) * reach)
    check_sureness(Prediction(values, {0.9: wide, 0.5: narrow}, np.array([1.0])), query, "it")
    check_sureness(Prediction(values), query, "it")
    crossed = (values, values + 0.9 * reach)
    with pytest.raises(AssertionError, match=r"it: the 0\.5 interval reaches beyond the 0\.9 interval"):
        check_sureness(Prediction(values, {0.9: crossed, 0.5: narrow}), query, "it")
