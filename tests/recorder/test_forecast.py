"""Where a run that has begun will end."""

from pathlib import Path

import numpy as np
import pytest

from gptfl.core import Curriculum, Dynamics, Example, MetricInfo, Run
from gptfl.core.curriculum import fill_batches, linear_decay
from gptfl.errors import DataError
from gptfl.plugins.registry import build
from gptfl.recorder.forecast import Course, Forecaster, planned_batches, usual_rates

POOL, TESTS, STEPS, EVERY = 20, 6, 12, 3
LOSS = MetricInfo("loss", False, 0.0)


def made_run(index: int) -> Run:
    """A run whose scores follow what it saw, and a drift of its own."""
    random = np.random.default_rng(index)
    batches = fill_batches(random.permutation(POOL)[:10], 2, STEPS, index)
    rates = linear_decay(1.0, STEPS)
    drift = random.normal(0.02, 0.02)
    seen = np.concatenate(
        [[0.0], np.cumsum([rate * (batch.mean() / POOL + drift) for batch, rate in zip(batches, rates, strict=True)])]
    )
    steps = np.arange(0, STEPS + 1, EVERY)
    values = np.linspace(2, 4, TESTS) * np.exp(-0.1 * seen[steps])[:, None]
    return Run(index, index, "fit", Curriculum(batches, rates), steps, {"loss": values})


def recording(runs: int) -> Dynamics:
    pool, test = (
        tuple(Example(f"{side}{number}", "a", f"{side} {number}") for number in range(count))
        for side, count in (("p", POOL), ("t", TESTS))
    )
    return Dynamics(pool, test, {"loss": LOSS}, tuple(made_run(index) for index in range(runs)))


def course(run: Run, measured: int) -> Course:
    curriculum = run.curriculum
    return Course(
        curriculum.batches, curriculum.learning_rates, run.steps[:measured], run.metrics["loss"][:measured], EVERY
    )


def test_groups_are_forecast_and_bands_narrow_as_more_is_measured() -> None:
    groups = {"first": np.arange(2)}
    forecaster = Forecaster(recording(6), LOSS, groups, Path("none"), build([]))
    widths, misses = [], []
    for index in range(50, 56):
        run = made_run(index)
        truth = [run.metrics["loss"][-1].mean(), run.metrics["loss"][-1][:2].mean()]
        forecasts = [forecaster.forecast(course(run, measured)) for measured in (2, 4)]
        assert [one.name for one in forecasts[0].groups] == ["", "first"]
        assert (forecasts[0].step, forecasts[0].end, forecasts[0].runs) == (3, 12, 6)
        widths.append([one.high - one.low for one in forecasts])
        misses.append([not one.low <= end <= one.high for one, end in zip(forecasts[1].groups, truth, strict=True)])
        assert forecasts[1].groups[1].now == pytest.approx(run.metrics["loss"][3][:2].mean())
    early, late = np.mean(widths, axis=0)
    assert late < early
    assert np.mean(misses) <= 0.25


def test_trackers_get_each_group_by_name() -> None:
    found = Forecaster(recording(4), LOSS, {"g": np.arange(2)}, Path("none"), build([])).forecast(
        course(made_run(9), 3)
    )
    names = {f"gptfl/forecast{bound}{tail}" for bound in ("", "_low", "_high") for tail in ("", "/g")}
    assert set(found.logs()) == names
    assert found.logs()["gptfl/forecast"] == found.value


def test_one_earlier_run_tells_nothing() -> None:
    with pytest.raises(DataError, match="there is 1 earlier run, and it takes 2"):
        Forecaster(recording(1), LOSS, {}, Path("none"), build([]))


def test_batches_to_come_finish_the_pass_and_go_on_with_others() -> None:
    done = np.array([[0, 1], [2, -1]])
    planned = planned_batches(done, np.arange(5), 6, 0)
    assert planned[:2].tolist() == done.tolist()
    later = planned[2:].ravel()
    assert sorted(later[:2]) == [3, 4]
    assert sorted(later[2:7]) == [0, 1, 2, 3, 4]
    assert planned_batches(done, np.arange(5), 2, 0).tolist() == done.tolist()


def test_step_sizes_to_come_are_those_of_earlier_runs() -> None:
    runs = [made_run(0), made_run(1)]
    rates = usual_rates(runs, np.array([5.0, 4.0]), 14)
    assert rates[:2].tolist() == [5.0, 4.0]
    np.testing.assert_allclose(rates[2:12], linear_decay(1.0, STEPS)[2:])
    np.testing.assert_allclose(rates[12:], rates[11])
