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
    similar = [with_values(run, runs[0].metrics["loss"] * (1 + 1e-6 * run.index)) for run in runs]
    similar[-1] = with_values(similar[-1], 1.5 * runs[0].metrics["loss"])
    assert names(similar) == []


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


@pytest.mark.parametrize("vocabulary", [512, 50257, 262144])
@pytest.mark.parametrize(("since", "count"), [(1, 4), (3, 24), (4, 8)])
def test_a_run_that_stays_near_the_logarithm_of_the_vocabulary_is_found(vocabulary, since, count):
    runs = list(synthetic(count, seed=count)[0].runs)
    random, level = np.random.default_rng(0), np.log(vocabulary)
    values = runs[2].metrics["loss"].copy()
    values[since:] = level + 0.02 * random.normal(size=values[since:].shape)
    runs[2] = with_values(runs[2], values)
    (found,) = diverged(runs, METRICS)
    assert found.name == "run-0002"
    assert found.value == pytest.approx(level, abs=0.05)
    # What is far enough outside is named by the step at which it is furthest.
    assert found.stuck or level > 3 * 2
    assert found.step == int(runs[2].steps[since]) if found.stuck else found.step in runs[2].steps[since:]
    if not found.stuck:
        return
    assert found.text.startswith(
        f"run-0002 diverged (loss stays near {found.value:.3g} from step {found.step} on, where the "
    )


def test_a_recording_from_scratch_has_its_stuck_runs_found_where_all_begin():
    """All begin at the logarithm of the vocabulary's size, and two never leave it."""
    made = [run.metrics["loss"] for run in synthetic(7)[0].runs]
    fallen = [one - one[0] + np.log(512) - 3.0 * np.linspace(0, 1, len(one))[:, None] for one in made]
    runs = [with_values(run, values) for run, values in zip(synthetic(7)[0].runs, fallen, strict=True)]
    assert names(runs) == []
    spread = 0.01 * np.random.default_rng(1).normal(size=made[0].shape)
    for place in (1, 5):
        runs[place] = with_values(runs[place], np.log(512) + spread)
    assert names(runs) == ["run-0001", "run-0005"]


def test_what_is_only_worse_or_only_still_is_not_stuck():
    runs = list(synthetic(8)[0].runs)
    values = runs[3].metrics["loss"]
    ends = np.broadcast_to(values[0] + 2.0, values[2:].shape)

    def found(rest):
        return names([*runs[:3], with_values(runs[3], np.concatenate([values[:2], rest])), *runs[4:]])

    # Bad data: worse at the end than at the start, and test examples as far apart as before.
    assert found(ends) == []
    # Alike, but still on its way; alike and still, but as good as the others are.
    assert found(6.0 + np.linspace(0, 3, len(ends))[:, None] + 0 * ends) == []
    assert found(np.median([run.metrics["loss"][-1] for run in runs]) + 0 * ends) == []
    # Two steps are too few to say that it stays there.
    assert (
        names([*runs[:3], with_values(runs[3], np.concatenate([values[:-2], 6.2 + 0 * values[-2:]])), *runs[4:]]) == []
    )


def test_of_a_metric_of_which_more_is_better_a_run_is_stuck_below_the_others():
    runs = list(synthetic(8)[0].runs)
    reward = {"loss": MetricInfo("loss", higher_is_better=True)}
    turned = [with_values(run, 8.0 - run.metrics["loss"]) for run in runs]
    values = turned[1].metrics["loss"].copy()
    values[3:] = 1.0 + 0.01 * np.random.default_rng(0).normal(size=values[3:].shape)
    turned[1] = with_values(turned[1], values)
    assert names(turned, reward) == ["run-0001"]
    assert names(turned) == []
