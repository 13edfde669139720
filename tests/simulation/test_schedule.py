from dataclasses import replace

import numpy as np
import pytest

from gptfl.core import RecordingSettings
from gptfl.core.curriculum import linear_decay
from gptfl.core.schedules import SCHEDULES
from gptfl.errors import DataError, UsageError
from gptfl.simulation.caveats import caveats
from gptfl.simulation.schedule import Overrides, RunSchedule, adjusted, first_scores, recorded_schedule
from tests.synthetic import LOSS, synthetic

DYNAMICS, _ = synthetic(runs=4)
SCHEDULED = replace(DYNAMICS, settings={"schedule": "linear", "batch_size": 4})


def test_the_recipe_is_what_the_runs_followed() -> None:
    recipe = recorded_schedule(DYNAMICS, LOSS)
    assert (recipe.batch_size, recipe.steps, recipe.subset) == (4, 18, 8)
    assert recipe.grid.tolist() == [0, 3, 6, 9, 12, 15, 18]
    assert np.array_equal(recipe.learning_rates, linear_decay(1.0, 18))


def test_a_subset_fills_every_batch_in_orders_that_the_seed_fixes() -> None:
    recipe = recorded_schedule(DYNAMICS, LOSS)
    orders = recipe.orders(np.array([3, 5, 7]), 4, seed=1)
    assert orders.shape == (4, 18, 4)
    assert set(orders.ravel()) == {3, 5, 7}
    assert np.array_equal(orders[:2], recipe.orders(np.array([3, 5, 7]), 2, seed=1))
    assert not np.array_equal(orders[0], orders[1])
    for order in orders:  # fresh shuffles, one after another
        assert all(set(cycle) == {3, 5, 7} for cycle in order.ravel().reshape(-1, 3))


@pytest.mark.parametrize("dynamics", [DYNAMICS, SCHEDULED])
def test_other_lengths_stretch_the_schedule_and_keep_the_grid_as_dense(dynamics) -> None:
    recipe = adjusted(recorded_schedule(dynamics, LOSS), dynamics, 8, Overrides(epochs=5))
    assert recipe.grid.tolist() == [0, 3, 6, 9, 10]
    if dynamics is SCHEDULED:
        np.testing.assert_allclose(recipe.learning_rates, linear_decay(1.0, 10))
    else:
        np.testing.assert_allclose(recipe.learning_rates, linear_decay(1.0, 10), atol=0.06)
    assert adjusted(recorded_schedule(dynamics, LOSS), dynamics, 8, Overrides(steps=40)).grid[-1] == 40


def test_batch_size_and_learning_rate_can_be_others() -> None:
    recipe = adjusted(recorded_schedule(DYNAMICS, LOSS), DYNAMICS, 8, Overrides(batch_size=2, learning_rate=0.5))
    np.testing.assert_allclose(recipe.learning_rates, linear_decay(0.5, 18))
    assert recipe.orders(np.arange(8), 1, 0).shape == (1, 18, 2)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup", [0, 3, 0.25])
def test_another_length_or_rate_follows_schedule_and_warm_up(schedule: str, warmup: float) -> None:
    settings = {"schedule": schedule, "learning_rate": 1e-3, "warmup": warmup, "batch_size": 4}
    rates = SCHEDULES[schedule]
    dynamics = replace(DYNAMICS, settings=settings)
    recorded = replace(recorded_schedule(dynamics, LOSS), learning_rates=rates(1e-3, 18, warmup))
    stretched = adjusted(recorded, dynamics, 8, Overrides(steps=30))
    np.testing.assert_array_equal(stretched.learning_rates, rates(1e-3, 30, warmup))
    faster = adjusted(recorded, dynamics, 8, Overrides(steps=30, learning_rate=0.5))
    np.testing.assert_allclose(faster.learning_rates, rates(0.5, 30, warmup), rtol=1e-12)


def test_senseless_overrides_are_refused() -> None:
    for overrides, problem in (
        (Overrides(epochs=1, steps=2), "--epochs and --steps"),
        (Overrides(epochs=0), "epochs is 0"),
        (Overrides(batch_size=-1), "batch_size is -1"),
        (Overrides(learning_rate=float("nan")), "lr is nan"),
    ):
        with pytest.raises(UsageError, match=problem):
            overrides.check()
    late = RunSchedule(4, np.ones(9), np.array([3, 6, 9]), 8)
    with pytest.raises(UsageError, match="more than 3 steps"):
        late.with_steps(3, RecordingSettings())


def caveats_of(recipe: RunSchedule, subset: int = 8, is_rest: bool = False) -> tuple[str, ...]:
    query = recipe.query(recipe.orders(np.arange(subset), 2, 0), np.zeros(8))
    return caveats(DYNAMICS, recorded_schedule(DYNAMICS, LOSS), query, subset, is_rest)


def test_what_lies_beyond_the_recording_is_reported() -> None:
    recorded = recorded_schedule(DYNAMICS, LOSS)
    assert caveats_of(recorded) == ()
    notes = caveats_of(recorded.with_steps(36, RecordingSettings(schedule="linear")), 4, True)
    assert len(notes) == 4
    assert "a drop without replacement is an extrapolation" in notes[0]
    assert "8 examples about 9 times each, this one sees 4 about 36 times" in notes[1]
    assert "recorded runs have 18 steps, this one has 36: an extrapolation" in notes[2]
    # the sum of (1 - t / T), which is (T + 1) / 2
    assert "recorded runs come to 9.5 in the sum of step sizes, this one comes to 18.5:" in notes[3]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (Overrides(steps=10), ["have 18 steps, this one has 10:", "come to 9.5 in the sum of step sizes, this one "]),
        (Overrides(batch_size=2), ["take 4 examples a step, this one takes 2:"]),
        (Overrides(batch_size=8), ["take 4 examples a step, this one takes 8:"]),
        (
            Overrides(learning_rate=0.5),
            ["have 1 as the largest step size, this one has 0.5:", "this one comes to 4.75:"],
        ),
        (Overrides(learning_rate=3.0), ["have 1 as the largest step size, this one has 3:", "this one comes to 28.5:"]),
    ],
)
def test_other_steps_batches_and_rates_are_reported(overrides: Overrides, said: list[str]) -> None:
    notes = caveats_of(adjusted(recorded_schedule(DYNAMICS, LOSS), SCHEDULED, 8, overrides))
    assert len(notes) == len(said)
    assert all(part in note for part, note in zip(said, notes, strict=True))


@pytest.mark.parametrize(
    ("overrides", "orders", "named"),
    [
        (Overrides(steps=10**9), 1, "--steps 1000000000 comes to 4e.09 batch entries"),
        (Overrides(steps=10**400), 1, "--steps 1000"),
        (Overrides(), 10**6, "--orders 1000000 comes to"),
        (Overrides(epochs=1e12), 1, "--epochs 1000000000000.0 comes to"),
        (Overrides(epochs=1e308), 20, "--epochs 1e.308 --orders 20 comes to"),
        (Overrides(batch_size=10**9), 1, "--batch-size 1000000000 comes to"),
        (Overrides(batch_size=10**400, epochs=2.0), 1, "--epochs 2.0 --batch-size 1000"),
        (Overrides(batch_size=1, steps=10**6), 20, "--steps 1000000 --batch-size 1 --orders 20 .* predicted values"),
    ],
)
def test_sizes_beyond_sense_are_refused_before_any_work(overrides: Overrides, orders: int, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        adjusted(recorded_schedule(DYNAMICS, LOSS), SCHEDULED, 8, overrides, orders)


def test_first_scores_are_the_mean_of_what_was_recorded_there() -> None:
    values = np.stack([run.metrics["loss"] for run in DYNAMICS.runs])
    np.testing.assert_allclose(first_scores(DYNAMICS, LOSS, 3), values[:, 1].mean(axis=0))
    holed = values[0].copy()
    holed[1, 2] = np.nan
    runs = (replace(DYNAMICS.runs[0], metrics={"loss": holed}), *DYNAMICS.runs[1:])
    expected = values[:, 1].mean(axis=0)
    expected[2] = values[1:, 1, 2].mean()
    np.testing.assert_allclose(first_scores(replace(DYNAMICS, runs=runs), LOSS, 3), expected)
    with pytest.raises(DataError, match="'test-2' has no loss at step 3"):
        first_scores(replace(DYNAMICS, runs=runs[:1]), LOSS, 3)
    with pytest.raises(DataError, match="no run of the recording has loss"):
        recorded_schedule(replace(DYNAMICS, runs=()), LOSS)
