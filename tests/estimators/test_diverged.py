from dataclasses import replace

import numpy as np
import pytest

from gptfl.core import MetricInfo
from gptfl.estimators.diverged import diverged
from tests.synthetic import LOSS, synthetic

METRICS = {"loss": LOSS}


def with_values(run, values, **changes):
    return replace(run, metrics={**run.metrics, "loss": np.asarray(values, dtype=np.float32)}, **changes)


def names(runs, metrics=METRICS):
    return [one.name for one in diverged(runs, metrics)]


@pytest.mark.parametrize("size", [50.0, 1e6, 3e38, -1e4])
@pytest.mark.parametrize("rows", [slice(-1, None), slice(2, 3), slice(1, None)], ids=["last", "a spike", "all"])
@pytest.mark.parametrize("count", [3, 8, 24])
def test_a_run_far_outside_of_the_others_is_found(size, rows, count):
    runs = list(synthetic(count)[0].runs)
    values = runs[1].metrics["loss"].copy()
    values[rows] = size
    runs[1] = with_values(runs[1], values)
    (found,) = diverged(runs, METRICS)
    assert found.name == "run-0001"
    assert found.value == pytest.approx(size, rel=1e-5)
    assert found.step in runs[1].steps[rows]
    assert 0 < found.others < 10
    assert found.text.startswith("run-0001 diverged (loss ")


def test_one_test_example_that_blows_up_is_enough_and_so_is_infinity():
    runs = list(synthetic(6)[0].runs)
    for value in (1e6, np.inf, -np.inf):
        values = runs[4].metrics["loss"].copy()
        values[-1, 3] = value
        assert names([*runs[:4], with_values(runs[4], values), runs[5]]) == ["run-0004"]


def test_several_are_found_as_long_as_they_are_the_fewer():
    runs = list(synthetic(9)[0].runs)
    bad = [with_values(run, run.metrics["loss"] * 10.0 ** (3 + run.index)) for run in runs[:4]]
    assert names([*bad, *runs[4:]]) == [run.name for run in bad]


@pytest.mark.parametrize("seed", range(12))
def test_ordinary_recordings_have_none(seed):
    random = np.random.default_rng(seed)
    count = int(random.integers(2, 30))
    effects = {"class_effect": random.choice([0.0, 1.0, 3.0]), "example_effect": random.choice([0.0, 1.0, 3.0])}
    runs = list(synthetic(count, seed=seed, noise=random.choice([0.0, 1e-4, 0.1]), **effects)[0].runs)
    assert names(runs) == []
    # One is odd by any number of the others' deviations, but nowhere near another order of size.
    alike = [with_values(run, runs[0].metrics["loss"] * (1 + 1e-6 * run.index)) for run in runs]
    alike[-1] = with_values(alike[-1], 1.5 * runs[0].metrics["loss"])
    assert names(alike) == []


def test_runs_that_differ_by_orders_of_size_are_none_of_them_odd():
    runs = synthetic(12)[0].runs
    spread = np.exp(np.random.default_rng(0).normal(0, 2, size=12))
    assert names([with_values(run, run.metrics["loss"] * s) for run, s in zip(runs, spread, strict=True)]) == []
    assert names([with_values(run, 0 * run.metrics["loss"] + (run.index == 3)) for run in runs]) == []


def test_two_runs_and_metrics_with_two_bounds_are_not_judged():
    runs = list(synthetic(6)[0].runs)
    runs[1] = with_values(runs[1], runs[1].metrics["loss"] + 1e6)
    assert names(runs[:2]) == []
    assert names(runs, {"loss": MetricInfo("loss", True, 0.0, 1.0)}) == []
    assert diverged([], METRICS) == []


def test_runs_recorded_at_other_steps_and_with_gaps_are_compared_between_them():
    runs = [with_values(run, run.metrics["loss"]) for run in synthetic(7)[0].runs]
    runs[2] = replace(runs[2], steps=runs[2].steps + 1)
    values = runs[2].metrics["loss"].copy()
    values[3:] = 1e5
    runs[2] = with_values(runs[2], values)
    gaps = runs[0].metrics["loss"].copy()
    gaps[4:] = np.nan
    gaps[1, 2] = np.nan
    runs[0] = with_values(runs[0], gaps)
    runs[5] = with_values(runs[5], np.full(gaps.shape, np.nan))
    runs[6] = replace(runs[6], steps=runs[6].steps[:0], metrics={"loss": gaps[:0]})
    assert names(runs) == ["run-0002"]


def test_more_test_examples_than_are_looked_at_together():
    runs = list(synthetic(5, test=150)[0].runs)
    assert names(runs) == []
    values = runs[3].metrics["loss"].copy()
    values[2, 140] = 1e7
    runs[3] = with_values(runs[3], values)
    assert names(runs) == ["run-0003"]
