"""TracIn along the very run that it explains: an oracle, as in the paper's figures."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from gptfl.plugins import DataError, EstimatorTags, FitData, Prediction, Query, flag, one_of
from gptfl_tracin.calibration import least_squares_scale, scale_note
from gptfl_tracin.checks import check_loss, scale_of

DIRECTIONS = ("gradient", "update")


class OwnRun:
    """The first value plus the recorded derivatives of the loss along the asked run's own steps.

    A step's derivative is that of each test loss along what moved the weights: with ``direction="gradient"``
    minus the learning rate times the batch's gradient (the paper's), with ``"update"`` the optimiser's true
    update. ``calibrate`` multiplies every change by one number, fitted to the training runs, never to the asked one.
    """

    name = "tracin-own-run"
    tags = EstimatorTags(requires={"derivatives"}, metrics={"loss"}, oracle=True)

    scale_: float
    notes_: tuple[str, ...] = ()

    def __init__(self, direction: str = "gradient", calibrate: bool = False) -> None:
        self.direction = one_of(f"estimator {self.name}", "direction", direction, DIRECTIONS)
        self.calibrate = flag(f"estimator {self.name}", "calibrate", calibrate)

    def settings(self) -> Mapping[str, Any]:
        """Both."""
        return {"direction": self.direction, "calibrate": self.calibrate}

    def fit(self, data: FitData) -> Self:
        """Nothing to learn but the scale, where asked for. Raises ``DataError`` if its runs lack derivatives."""
        check_loss(self.name, data.metric.name)
        self.scale_, self.notes_ = 1.0, ()
        if self.calibrate:
            runs = data.fit_runs + data.validation_runs
            first_order = [np.cumsum(self._changes(run.derivatives), axis=0) for run in runs]
            self.scale_ = least_squares_scale(self.name, first_order, [data.recorded(run) for run in runs])
            self.notes_ = (scale_note(self.name, self.scale_),)
        return self

    def predict(self, query: Query) -> Prediction:
        """Add up the derivatives. Raises ``DataError`` for curricula that were not carried out and recorded."""
        if not hasattr(self, "scale_"):
            raise DataError(f"{self.name} isn't fitted", "call fit or restore first")
        changes = self._changes(query.derivatives).astype(np.float64)
        if changes.shape != (len(query.first), len(query.steps), query.first.shape[1]):
            raise DataError(f"{self.name}: the derivatives don't fit the runs asked about", "record the runs again")
        changes[:, 0] = 0.0
        return Prediction(query.first[:, None, :] + self.scale_ * np.cumsum(changes, axis=1))

    def flops(self, query: Query) -> float:
        """Scaling and adding up what was recorded; the derivatives themselves are not in it."""
        return 2.0 * float(query.first.size * len(query.steps))

    def _changes(self, derivatives: Mapping[str, np.ndarray]) -> np.ndarray:
        if not derivatives:
            raise DataError(
                f"{self.name} explains recorded runs only, and what it is asked about was never carried out with "
                "derivatives recorded",
                "ask about held-out runs of a recording made with gptfl collect --gradients own, "
                "or use tracin-cp for other curricula",
            )
        if self.direction not in derivatives:
            raise DataError(
                f"{self.name}: derivatives along the {self.direction} were not recorded",
                f"set direction to {' or '.join(sorted(derivatives))}",
            )
        changes = derivatives[self.direction]
        if not np.isfinite(changes).all():
            raise DataError(f"{self.name}: derivatives along the {self.direction} have gaps", "record the runs again")
        return changes

    def state(self) -> Mapping[str, np.ndarray]:
        """``scale``."""
        return {"scale": np.array(self.scale_)}

    def restore(self, state: Mapping[str, np.ndarray]) -> Self:
        """Take back what ``state`` gave."""
        self.scale_ = scale_of(self.name, state)
        return self
