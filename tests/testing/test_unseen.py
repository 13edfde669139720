"""What an estimator says it generalises to is held against what it does."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import pytest

from gptfl import testing
from gptfl.core import FitData, Prediction, Query
from gptfl.plugins import EstimatorTags
from gptfl.testing.unseen import check_unseen
from tests.testing.parts import Drift, changed


class Level(Drift):
    """Drift that also remembers each test example's mean value, and gives an unseen one the mean of all."""

    name = "level"
    tags = EstimatorTags(unseen={"train", "test"})

    def fit(self, data: FitData) -> Self:
        super().fit(data)
        self.level_ = np.array(
            [
                np.nanmean(np.concatenate([data.recorded(run)[:, i] for run in data.fit_runs]))
                for i in range(len(data.test))
            ]
        )
        return self

    def predict(self, query: Query) -> Prediction:
        seen = np.arange(len(self.level_)) if query.unseen is None else query.unseen.test_seen
        level = np.where(seen >= 0, self.level_[seen], self.level_.mean())
        values = Drift.predict(self, query).values + 0.1 * level * (query.steps > query.steps[0])[:, None]
        return Prediction(values)

    def state(self) -> Mapping[str, np.ndarray]:
        return {**super().state(), "level": self.level_}

    def restore(self, state: Mapping[str, np.ndarray]) -> Self:
        self.level_ = state.get("level")
        return super().restore(state)


def _in_order(self: Level, query: Query) -> Prediction:
    """Takes the asked test examples for those fitted, in order."""
    level = np.resize(self.level_, query.first.shape[1])
    values = Drift.predict(self, query).values + 0.1 * level * (query.steps > query.steps[0])[:, None]
    return Prediction(values)


def _short(self: Level, query: Query) -> Prediction:
    return Prediction(Level.predict(self, query).values[:, :, : len(self.level_)])


def _company(self: Level, query: Query) -> Prediction:
    values = Level.predict(self, query).values
    return Prediction(values + (query.unseen is not None) * (query.steps > 0)[:, None])


@pytest.mark.parametrize(
    ("members", "broken"),
    [
        ({"tags": EstimatorTags(unseen={"tests"})}, "generalises to {'tests'}, not of"),
        ({"predict": _short}, "with unseen examples, not"),
        ({"predict": _in_order}, "the order of the examples asked about matters"),
        ({"predict": _company}, "predicts seen examples differently in the company of unseen ones"),
    ],
)
def test_what_an_estimator_says_it_generalises_to_is_asked_of_it(members: dict[str, Any], broken: str) -> None:
    testing.check_estimator(Level)
    with pytest.raises(AssertionError, match=broken):
        testing.check_estimator(changed(Level, **members))


def test_who_generalises_to_nothing_is_asked_nothing() -> None:
    """It is not even fitted, so that nothing of the question is needed."""
    nothing: Any = None
    check_unseen(Drift, nothing, nothing, "drift")
    with pytest.raises(AttributeError):
        check_unseen(Level, nothing, nothing, "level")
