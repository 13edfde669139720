"""An estimator that uses features: recorded runs that have seen alike examples weigh more."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from gptfl.plugins import DataError, EstimatorTags, FitData, Prediction, Query, hookimpl


class AlikeRuns:
    """Adds to the first score the mean change of the recorded runs, weighted by likeness at each step.

    Two runs are alike at a step if the mean vectors of the examples they have seen by then are near.
    """

    name = "alike-runs"
    tags = EstimatorTags(requires={"features"})

    def __init__(self, sharpness: float = 4.0) -> None:
        self.sharpness = sharpness

    def settings(self) -> Mapping[str, Any]:
        return {"sharpness": self.sharpness}

    def fit(self, data: FitData) -> Self:
        assert data.features is not None
        self.vectors_ = np.concatenate([one.train for one in data.features.sets.values()], axis=1).astype(float)
        self.steps_ = np.unique(np.concatenate([run.steps for run in data.fit_runs]))
        changes, profiles = [], []
        for run in data.fit_runs:
            values = data.recorded(run)
            columns = [_filled(self.steps_, run.steps, values[:, test]) for test in range(values.shape[1])]
            changes.append(np.stack(columns, axis=1) - values[0])
            profiles.append(_profile(run.curriculum.batches[None], self.vectors_, self.steps_)[0])
        self.changes_, self.profiles_ = np.stack(changes), np.stack(profiles)
        return self

    def predict(self, query: Query) -> Prediction:
        if query.steps[-1] > self.steps_[-1]:
            raise DataError(
                f"alike-runs knows runs of {self.steps_[-1]} steps, asked about step {query.steps[-1]}",
                "ask for fewer steps",
            )
        profile = _profile(query.batches, self.vectors_, query.steps)
        values = np.empty((*profile.shape[:2], query.first.shape[1]))
        for column, step in enumerate(query.steps):
            known = max(0, int(np.searchsorted(self.steps_, step, side="right")) - 1)
            away = profile[:, None, column] - self.profiles_[None, :, known]
            weights = np.exp(-self.sharpness * np.linalg.norm(away, axis=-1))
            weights /= weights.sum(axis=1, keepdims=True)
            values[:, column] = query.first + weights @ self.changes_[:, known]
        values[:, 0] = query.first
        return Prediction(values)

    def state(self) -> Mapping[str, np.ndarray]:
        return {
            "vectors": self.vectors_, "steps": self.steps_, "changes": self.changes_, "profiles": self.profiles_
        }  # fmt: skip

    def restore(self, state: Mapping[str, np.ndarray]) -> Self:
        for name in ("vectors", "steps", "changes", "profiles"):
            if name not in state:
                raise DataError(f"an alike-runs simulator lacks {name}", "fit it again")
            setattr(self, f"{name}_", state[name])
        return self


def _filled(steps: np.ndarray, recorded: np.ndarray, values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    return np.interp(steps, recorded[known], values[known])


def _profile(batches: np.ndarray, vectors: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """The mean vector of what each run has seen by each step, zero where it has seen nothing."""
    there = batches >= 0
    sums = np.cumsum(np.where(there[..., None], vectors[np.where(there, batches, 0)], 0).sum(axis=2), axis=1)
    seen = np.cumsum(there.sum(axis=2), axis=1)
    means = sums / np.maximum(1, seen)[..., None]
    return np.concatenate([np.zeros_like(means[:, :1]), means], axis=1)[:, steps]


@hookimpl
def gptfl_estimators() -> Mapping[str, type[AlikeRuns]]:
    return {"alike-runs": AlikeRuns}
