"""What a design identifies, against the posterior over the whole pool."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptfl.core.curriculum import linear_decay
from gptfl.designs import identification as module
from gptfl.designs.draws import DesignLayout, draw_runs
from gptfl.designs.identification import contrast_subset, identification, noise_to_effect
from gptfl.estimators.exposures import exposures


def dense(batches, rates, pool, ratio):
    """The posterior covariance of all effects, as a share of their prior variance."""
    stacked = np.stack(batches)
    seen = exposures(stacked, np.broadcast_to(rates, stacked.shape[:2]), np.array([stacked.shape[1]]), pool)[:, 0]
    centred = seen - seen.mean(axis=0)
    noise = noise_to_effect(pool, seen.sum(axis=1).mean(), ratio)
    return np.linalg.inv(centred.T @ centred / noise + np.eye(pool))


def share(posterior, weights):
    return weights @ posterior @ weights / (weights @ weights)


def contrast_of(pool, first, second):
    weights = np.zeros(pool)
    weights[list(first)] = 1 / len(first)
    weights[list(second)] = -1 / len(second)
    return weights


@settings(deadline=None, max_examples=25)
@given(
    st.sampled_from(["uniform", "contrast", "leave-out"]),
    st.integers(2, 9),
    st.integers(0, 2**31),
    st.sampled_from([0.5, 10.0, 200.0]),
)
def test_it_is_what_the_posterior_over_the_pool_says(design, runs, seed, ratio):
    pool, rates = 14, linear_decay(0.3, 7)
    made = draw_runs(DesignLayout(design, pool, 5, seed, np.array([], dtype=np.int64), None, 2), runs)
    batches = [run.batches(3, 7) for run in made]
    pairs = [(run.swaps[:, 1], run.swaps[:, 0]) for run in made if len(run.swaps)]
    classes = {"even": np.arange(0, pool, 2), "odd": np.arange(1, pool, 2)}
    found = identification(batches, rates, pool, pairs=pairs, classes=classes, ratio=ratio)
    posterior = dense(batches, rates, pool, ratio)
    singles = [share(posterior, contrast_of(pool, [i], [j for j in range(pool) if j != i])) for i in range(pool)]
    assert found.example == pytest.approx(np.mean(singles))
    assert found.effects == pytest.approx((pool - 1) * (1 - np.mean(singles)))
    assert found.effects <= runs - 1 + 1e-9
    swapped = [share(posterior, contrast_of(pool, *pair)) for pair in pairs]
    assert (found.group is None) == (not swapped)
    if swapped:
        assert found.group == pytest.approx(np.mean(swapped))
    expected = share(posterior, contrast_of(pool, classes["even"], classes["odd"]))
    assert found.classes == pytest.approx({"even": expected, "odd": expected})


def test_a_random_group_stays_as_open_as_one_example():
    pool, rates = 12, linear_decay(0.3, 8)
    made = draw_runs(DesignLayout("contrast", pool, 4, 1, np.array([], dtype=np.int64)), 6)
    batches = [run.batches(2, 8) for run in made]
    posterior, random = dense(batches, rates, pool, 10.0), np.random.default_rng(0)
    every = np.full(pool, 1 / pool)
    groups = [np.isin(np.arange(pool), random.permutation(pool)[:3]) / 3 - every for _ in range(4000)]
    found = identification(batches, rates, pool)
    assert np.mean([share(posterior, group) for group in groups]) == pytest.approx(found.example, abs=0.01)


def test_reserved_examples_are_not_among_those_identified():
    pool, rates, reserved = 14, linear_decay(0.3, 8), np.array([0, 3, 4, 9])
    made = draw_runs(DesignLayout("contrast", pool, 4, 1, reserved), 9)
    batches = [run.batches(2, 8) for run in made if run.role != "test"]
    open_ = np.setdiff1d(np.arange(pool), reserved)
    renumbered = np.searchsorted(open_, batches)
    assert identification(batches, rates, pool, open_=open_) == identification(list(renumbered), rates, 10)


def test_contrast_tells_more_than_the_same_number_of_uniform_runs():
    none = np.array([], dtype=np.int64)
    small, large = (
        identification([run.batches(4, 48) for run in draw_runs(layout, 24)], linear_decay(1.0, 48), 200)
        for layout in (DesignLayout("contrast", 200, 32, 1, none), DesignLayout("uniform", 200, 128, 1, none))
    )
    assert small.effects > 1.4 * large.effects
    assert small.example < large.example < 1


def test_the_noise_is_a_tenth_of_what_a_contrast_run_varies_by():
    pool = 200
    size = contrast_subset(pool)
    seen = np.zeros(pool)
    seen[:size] = 3.0 / size
    assert size == 32
    assert ((seen - seen.mean()) ** 2).sum() == pytest.approx(10 * noise_to_effect(pool, 3.0))


def test_a_pool_of_100_000_is_taken_some_columns_at_a_time(monkeypatch):
    none = np.array([], dtype=np.int64)
    batches = [run.batches(4, 48) for run in draw_runs(DesignLayout("contrast", 100_000, 32, 1, none), 12)]
    whole = identification(batches, linear_decay(1.0, 48), 100_000)
    monkeypatch.setattr(module, "ENTRIES", 12 * 7)
    widths = [part.shape[1] for part in module.Exposures(batches, linear_decay(1.0, 48)).columns()]
    assert max(widths) == 7
    assert sum(widths) == 12 * 32
    assert identification(batches, linear_decay(1.0, 48), 100_000).effects == pytest.approx(whole.effects)


@pytest.mark.parametrize(("runs", "pool"), [(0, 9), (1, 9), (5, 1)])
def test_nothing_is_reported_of_too_little(runs, pool):
    batches = [np.zeros((3, 1), dtype=np.int64)] * runs
    assert identification(batches, np.ones(3), pool) is None
