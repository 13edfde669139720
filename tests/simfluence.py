"""Recordings that follow Simfluence's recurrence exactly, and the recurrence as a plain loop."""

import numpy as np

from gptfl import testing
from gptfl.core import FIT, VALIDATION, Curriculum, Dynamics, FitData, MetricInfo, Query, Run
from gptfl.core.curriculum import fill_batches, linear_decay, recorded_steps
from gptfl.plugins.interfaces import Estimator

FORMS = ("linear", "additive", "multiplicative")
LOSS = MetricInfo("loss", higher_is_better=False)


def loop(batches: np.ndarray, first: np.ndarray, alpha: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """The recurrence as it is written down, one example at a time."""
    values = [first]
    for batch in batches:
        value = np.empty_like(first)
        for j in range(len(first)):
            factor, term = 1.0, 0.0
            for i in batch:
                if i >= 0:
                    factor += alpha[i, j]
                    term += beta[i, j]
            value[j] = factor * values[-1][j] + term
        values.append(value)
    return np.array(values)


def law(form: str, pool: int, test: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    alpha, beta = -0.03 * random.random((pool, test)), 0.05 * random.normal(size=(pool, test))
    return (alpha * (form != "additive"), beta * (form != "multiplicative"))


def recording(form: str, runs: int = 12, pool: int = 6, test: int = 3, steps: int = 20, roles: str = FIT) -> FitData:
    """Runs that follow the law exactly."""
    alpha, beta = law(form, pool, test)
    made = []
    for index in range(runs):
        batches = fill_batches(np.random.default_rng(index).permutation(pool)[:4], 3, steps, index)
        values = loop(batches, 1.0 + np.random.default_rng(index).random(test), alpha, beta)
        curriculum = Curriculum(batches, linear_decay(0.1, steps))
        made.append(Run(index, index, roles, curriculum, recorded_steps(steps, 1), {"loss": values}))
    return FitData(testing.make_examples(pool), testing.make_examples(test, "test"), LOSS, tuple(made))


def query_of(data: FitData) -> Query:
    return testing.make_query(data.fit_runs)


def fit_data(dynamics: Dynamics) -> FitData:
    return FitData(dynamics.pool, dynamics.test, LOSS, dynamics.with_role(FIT), dynamics.with_role(VALIDATION))


def unexplained(fitted: Estimator, data: FitData) -> float:
    """The share of the runs' squared movement from their first scores that their roll-outs miss."""
    recorded = np.stack([data.recorded(run) for run in data.fit_runs])
    missed = fitted.predict(query_of(data)).values - recorded
    return float((missed**2).sum() / ((recorded - recorded[:, :1]) ** 2).sum())
