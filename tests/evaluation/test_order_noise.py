"""Repeats, and how much of what was recorded is down to the order."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from gptfl.api.compare import compare
from gptfl.core import Curriculum, role_of
from gptfl.core.curriculum import fill_batches, run_seed
from gptfl.evaluation.order_noise import device_note, point_weights, repeated
from gptfl.plugins.registry import build, using
from gptfl.report.comparison import to_json
from gptfl.report.footnotes import footnotes
from gptfl.scores.ceiling import order_noise
from gptfl.store.recordings import write_dynamics
from tests import interval_estimator
from tests.synthetic import LOSS, synthetic


def test_device_noise_is_reported_of_runs_that_share_batches_and_seed():
    first, second, third = synthetic(3)[0].runs
    apart = {"loss": first.metrics["loss"] + 0.25}
    again = replace(first, index=9, metrics=apart)
    assert device_note([first, second, third], LOSS) == ()
    (note,) = device_note([first, second, again, replace(third, index=10), third], LOSS)
    assert "carried out again (2 times) gave a loss off by 0.12 (RMS)" in note
    assert device_note([first, replace(again, seed=1)], LOSS) == ()
    assert "to the last bit" in device_note([first, replace(first, index=9)], LOSS)[0]


@pytest.fixture
def space(made_space, tmp_path):
    shutil.copy2(made_space / "syn.dynamics.h5", tmp_path)
    with using(build([interval_estimator])):
        yield tmp_path


def rows_of(comparison):
    return {row.estimator: row for row in comparison.rows}


def with_repeats(dynamics, orders=3):
    """The first runs once more in other orders, under a role that no stage fits or tests."""
    random = np.random.default_rng(5)
    more = []
    for run in dynamics.runs[:4]:
        members = np.unique(run.curriculum.batches)
        for _ in range(orders - 1):
            batches = fill_batches(members, 4, run.curriculum.steps, run_seed(9, len(more)))
            values = run.metrics["loss"] + np.where(run.steps > 0, 0.02, 0)[:, None] * random.normal(size=(7, 8))
            curriculum = Curriculum(batches, run.curriculum.learning_rates)
            more.append(
                replace(run, index=1000 + len(more), role="repeat", curriculum=curriculum, metrics={"loss": values})
            )
    return more


def test_the_ceiling_comes_from_runs_on_one_subset_in_several_orders(space):
    dynamics, _ = synthetic(24)
    more = with_repeats(dynamics)
    twin = replace(dynamics.runs[5], index=2000, role="repeat")
    runs = (*dynamics.runs, *more, twin)
    groups = repeated(runs)
    assert sorted(len(group) for group in groups) == [3, 3, 3, 3]
    assert not any(run.index in (5, 2000) for group in groups for run in group)
    write_dynamics(space / "syn.dynamics.h5", replace(dynamics, runs=runs))
    comparison = compare(workspace=space, estimators=["sure"], figure=False)
    assert comparison.runs == sum(role_of(i) == "test" for i in range(24))
    noise = order_noise([np.stack([run.metrics["loss"] for run in group]) for group in groups])
    held = comparison.held_out
    left = ((held.mean_run - held.recorded)[:, 1:] ** 2).sum()
    ceiling = comparison.ceiling
    assert ceiling.skill == pytest.approx(1 - noise[1:].sum() * comparison.runs / left)
    assert (ceiling.runs, ceiling.subsets) == (12, 4)
    row = rows_of(comparison)["class-share"]
    document = json.loads(to_json(comparison))
    assert document["ceiling"]["skill"] == ceiling.skill
    shown = {one["estimator"]: one for one in document["estimators"]}["class-share"]
    assert shown["skill_share"] == pytest.approx(row.scores["skill"].value / ceiling.skill)
    notes = " ".join(footnotes(comparison))
    assert "Order-noise ceiling: skill" in notes
    assert "Share of the ceiling: class-share" in notes
    low, high = ceiling.skill_interval
    assert low < ceiling.skill < high <= 1
    assert f"skill {ceiling.skill:.3f} [{low:.2f}, {high:.2f}]" in notes
    assert document["ceiling"]["skill_interval"] == [low, high]
    least, most = row.shares["skill"].interval
    assert least < shown["skill_share"] < most
    assert shown["skill_share_interval"] == [one if np.isfinite(one) else None for one in (least, most)]
    # The first point of a run is given and counts for nothing; the repeats' steps are those of the runs.
    weights = point_weights(held.steps[0], held)
    assert (weights[0] == 0).all()
    np.testing.assert_allclose(weights[1:], comparison.runs)
    assert compare(workspace=space, estimators=["sure"], observe=1, figure=False).ceiling is None


def test_a_held_out_step_between_two_of_the_repeats_counts_for_both(space):
    dynamics, _ = synthetic(24)
    write_dynamics(space / "syn.dynamics.h5", replace(dynamics, runs=(*dynamics.runs, *with_repeats(dynamics))))
    held = compare(workspace=space, estimators=[], figure=False).held_out
    grid = held.steps[0]
    thin = grid[[0, 2, 4, 6]]
    weights = point_weights(thin, held)
    assert weights.sum() == pytest.approx(np.isfinite(held.recorded[:, 1:]).sum())
    np.testing.assert_allclose(weights[:, 0] / len(held.names), [0.5, 2.0, 2.0, 1.5])
    # What lies beyond the repeats is told by none of them.
    assert point_weights(grid[:3], held).sum() == np.isfinite(held.recorded[:, 1:3]).sum()


def test_too_few_repeats_tell_no_ceiling(space):
    dynamics, _ = synthetic(24)
    write_dynamics(space / "syn.dynamics.h5", replace(dynamics, runs=(*dynamics.runs, *with_repeats(dynamics)[:2])))
    assert compare(workspace=space, estimators=[], figure=False).ceiling is None
