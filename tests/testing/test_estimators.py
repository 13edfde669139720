"""The checks pass sound parts and name the promise that a broken one breaks."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
import pytest

from gptfl import testing
from gptfl.core import FitData, Prediction, Query
from gptfl.errors import DataError
from gptfl.plugins import EstimatorTags
from tests.testing.parts import Drift, changed


def test_a_sound_estimator_passes() -> None:
    testing.check_estimator(Drift, damping=0.5)


def predicting(change: Callable[[Query, np.ndarray], np.ndarray]) -> type:
    """A drift whose predictions are changed."""
    return changed(Drift, predict=lambda self, query: Prediction(change(query, Drift.predict(self, query).values)))


def _spoil(data: FitData) -> None:
    data.recorded(data.fit_runs[0])[1] = 0.0


class Restless(Drift):
    """Never learns the same thing twice."""

    fits: ClassVar[int] = 0

    def fit(self, data: FitData) -> Self:
        Restless.fits += 1
        super().fit(data)
        self.pull_ = self.pull_ * Restless.fits
        return self


ESTIMATORS = {
    "lacks restore": (changed(Drift, restore=property(lambda self: self.no_such)), "Broken lacks restore of Estimator"),
    "unknown need": (changed(Drift, tags=EstimatorTags(requires={"magic"})), r"requires \['magic'\], not some of"),
    "settings not JSON": (changed(Drift, settings=lambda self: {"damping": np.ones(1)}), "can't be written as JSON"),
    "settings a tuple": (changed(Drift, settings=lambda self: {"damping": (1, 2)}), "does not come back from JSON"),
    "settings unknown": (changed(Drift, settings=lambda self: {"other": 1}), "does not take what settings"),
    "settings forgotten": (changed(Drift, __init__=lambda self, damping=1.0: setattr(self, "damping", damping / 2)), "changes on its way"),
    "fit returns nothing": (changed(Drift, fit=lambda self, data: None), "returns NoneType, not self"),
    "fit changes data": (changed(Drift, fit=lambda self, data: _spoil(data) or Drift.fit(self, data)), "changes the data"),
    "fit unstable": (Restless, "fitted twice with the same seed predicts differently"),
    "fit blind to gaps": (changed(Drift, fit=lambda self, data: _plain_fit(self, data)), "missing .NaN. holds"),
    "wrong shape": (predicting(lambda query, values: values[:, 1:]), "not .run, recorded, test."),
    "wrong first": (predicting(lambda query, values: values + 1), "not the given first value"),
    "not finite": (predicting(lambda query, values: values / 0.0), "not finite"),
    "integers": (predicting(lambda query, values: values.astype(int)), "has dtype int64"),
    "state of objects": (changed(Drift, state=lambda self: {"pull": np.array([{}])}), "has dtype object"),
    "state of lists": (changed(Drift, state=lambda self: {"pull": [1]}), "is list, not a numpy array"),
    "state with a path": (changed(Drift, state=lambda self: {"a/b": self.pull_}), "names an array 'a/b'"),
    "state incomplete": (changed(Drift, state=lambda self: {"pull": self.pull_ * 0}), "after factory"),
    "restore trusts": (
        changed(Drift, restore=lambda self, state: Drift.restore(self, {"pull": np.array(state["pull"])})),
        "without its arrays raises KeyError rather than DataError",
    ),
    "padding": (predicting(lambda query, values: values + _ramp(values) * query.batches.shape[2]), "padded with -1"),
    "empty steps": (predicting(lambda query, values: values + _ramp(values) * query.batches.shape[1]), "empty steps"),
    "company": (predicting(lambda query, values: values + _ramp(values) * len(query.batches)), "when it is asked alone"),
    "peeks": (predicting(lambda query, values: values + _ramp(values) * np.maximum(query.batches, 0).sum(axis=(1, 2))[:, None, None]), "later batches"),
}  # fmt: skip


def _ramp(values: np.ndarray) -> np.ndarray:
    return np.arange(values.shape[1])[None, :, None] * 1.0


def _plain_fit(made: Any, data: FitData) -> Any:
    made.pull_ = np.array([np.mean([np.diff(data.recorded(run), axis=0).mean() for run in data.fit_runs])])
    return made


@pytest.mark.parametrize(("factory", "broken"), ESTIMATORS.values(), ids=ESTIMATORS)
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_a_broken_estimator_is_reported_what_it_breaks(factory: type, broken: str) -> None:
    with pytest.raises(AssertionError, match=broken):
        testing.check_estimator(factory)


class Along(Drift):
    """Drift that also looks at the recorded derivatives."""

    name = "along"
    tags = EstimatorTags(requires={"derivatives", "gradients"})

    def fit(self, data: FitData) -> Self:
        if data.gradients is None:
            raise DataError("there are no gradients", "record them")
        return super().fit(data)

    def predict(self, query: Query) -> Prediction:
        if "gradient" not in query.derivatives:
            raise DataError("there are no derivatives", "record them")
        return Prediction(query.first[:, None] + np.cumsum(query.derivatives["gradient"], axis=1))


def test_what_an_estimator_requires_is_there_and_then_is_not() -> None:
    testing.check_estimator(Along)
    with pytest.raises(AssertionError, match="'along': fit\\(\\) without the gradients it requires raises nothing"):
        testing.check_estimator(changed(Along, fit=Drift.fit))
    with pytest.raises(AssertionError, match=r"predict\(\) without the derivatives it requires raises nothing"):
        testing.check_estimator(changed(Along, predict=Drift.predict))
    with pytest.raises(AssertionError, match="none of which the recording has"):
        testing.check_estimator(changed(Along, tags=dataclasses.replace(Along.tags, metrics={"accuracy"})))
