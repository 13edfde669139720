"""One run whose losses move by what its examples do."""

import numpy as np

from gptfl.core import Curriculum, Features, FeatureSet, FitData, MetricInfo, Query, Run, examples_fingerprint
from gptfl.core.curriculum import generator, recorded_steps
from gptfl.estimators.exposure_gp.estimator import ExposureGp
from gptfl.estimators.exposure_gp.single_fit import FittedSingleRun
from gptfl.testing.synthetic import make_examples

LOSS = MetricInfo("loss", higher_is_better=False, low=0.0)


POOL, TEST, BATCH, STEPS = 20, 5, 2, 40


POOL, TEST, BATCH, STEPS = 20, 5, 2, 40


POOL, TEST, BATCH, STEPS = 20, 5, 2, 40


POOL, TEST, BATCH, STEPS = 20, 5, 2, 40


SCALE = 0.6


def vectors(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = generator(seed, 3)
    return random.normal(size=(POOL, 4)) + 0.5, random.normal(size=(TEST, 4)) + 0.5


def run_of(batches: np.ndarray, rates: np.ndarray, effects: np.ndarray, every: int = 1) -> Run:
    """A run whose losses move by effects times exposures and nothing else."""
    grid = recorded_steps(len(rates), every)
    seen = np.zeros((len(rates) + 1, POOL))
    for step, batch in enumerate(batches):
        seen[step + 1] = seen[step]
        for example in batch[batch >= 0]:
            seen[step + 1, example] += rates[step] / (batch >= 0).sum()
    return Run(0, 1, "fit", Curriculum(batches, rates), grid, {"loss": 4.0 + seen[grid] @ effects})


def data_of(run: Run, metric: MetricInfo = LOSS, kind: str = "gradient") -> FitData:
    train, test = vectors()
    named = make_examples(POOL, "pool"), make_examples(TEST, "test")
    sets = {"raw-0": FeatureSet(train.astype(np.float32), test.astype(np.float32), kind)}
    return FitData(*named, metric, (run,), features=Features("made-up", {}, examples_fingerprint(*named), sets))


def single(estimator: ExposureGp) -> FittedSingleRun:
    assert estimator.single_ is not None
    return estimator.single_


def query_of(run: Run, batches: np.ndarray) -> Query:
    rates = run.curriculum.learning_rates
    return Query(
        batches, np.tile(rates, (len(batches), 1)), run.steps, np.tile(run.metrics["loss"][0], (len(batches), 1))
    )
