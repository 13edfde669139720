"""Data to fit and questions about them, of synthetic recordings."""

from dataclasses import replace

import numpy as np

from gptfl.core import FitData, Query, Unseen
from tests.synthetic import LOSS


def data_of(dynamics, runs=None):
    runs = dynamics.runs if runs is None else runs
    fit = tuple(r for r in runs if r.role == "fit")
    return FitData(dynamics.pool, dynamics.test, LOSS, fit, tuple(r for r in runs if r.role == "validation"))


def query_of(runs):
    return Query(
        np.stack([r.curriculum.batches for r in runs]),
        np.stack([r.curriculum.learning_rates for r in runs]),
        runs[0].steps,
        np.stack([r.metrics["loss"][0] for r in runs]),
    )


def unseen_of(dynamics, pool, test):
    """A question about the whole recording by an estimator that was fitted to its first test examples."""
    seen = np.arange(len(dynamics.test))
    return Unseen(dynamics.pool, dynamics.test, np.arange(pool), np.where(seen < test, seen, -1))


def only_first(data, test):
    runs = tuple(replace(run, metrics={"loss": run.metrics["loss"][:, :test]}) for run in data.fit_runs)
    return replace(data, test=data.test[:test], fit_runs=runs, validation_runs=())
