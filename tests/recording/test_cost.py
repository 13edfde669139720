"""What a recording will cost, of which the plan tells."""

from pathlib import Path
from typing import Any

import pytest
import torch

from gptfl.recording.cost import CostEstimate, Size, estimate
from tests.recording.test_collect import record
from tests.training.test_trainer import make, plan


def test_the_plan_tells_what_gradients_cost(neox: Path, tmp_path: Path) -> None:
    estimates: list[CostEstimate] = []
    record(neox, tmp_path, gradients="both", gradient_points=3, dry_run=True, announce=estimates.append)
    (plan,) = estimates
    assert plan.gradients is not None
    assert plan.gradients.points == (0, 2, 4)
    assert (plan.gradients.pool, plan.gradients.test) == (12, 5)
    assert plan.gradients.seconds > 0
    assert plan.gradients.memory_bytes > 0
    assert plan.gradients.file_bytes == 3 * 12 * 6 * 2 * 4
    each = 4 * plan.seconds_per_step + 5 * plan.seconds_per_evaluation + 4 * plan.seconds_per_derivative
    assert plan.seconds_per_derivative > 0
    assert plan.seconds == pytest.approx(3 * each)
    assert not list(tmp_path.iterdir())


def test_the_plan_tells_what_sketches_cost(neox: Path, tmp_path: Path) -> None:
    estimates: list[CostEstimate] = []
    options: dict[str, Any] = {"sketches": True, "sketch_points": 3, "sketch_dimensions": 50, "dry_run": True}
    record(neox, tmp_path, announce=estimates.append, **options)
    record(neox, tmp_path, announce=estimates.append, gradients="reference", **options)
    cost, beside = estimates[0].sketches, estimates[1].sketches
    assert cost is not None
    assert beside is not None
    assert estimates[0].gradients is None
    assert estimates[1].gradients is not None
    assert (cost.points, cost.pool, cost.test, cost.dimensions) == ((0, 2, 4), 12, 5, 50)
    assert cost.seconds == pytest.approx(3 * 17 * cost.per_example + 4 * estimates[0].seconds_per_step)
    assert beside.seconds == pytest.approx(3 * 17 * beside.per_example)
    products = 12 * (5 + 1) * 2 * 4
    assert cost.file_bytes == 3 * ((3 * 12 + 2 * 5) * (50 * 2 + 4) + products)
    assert cost.memory_bytes > 3 * 46 * 50 * 4
    assert not list(tmp_path.iterdir())


def test_a_run_too_short_to_come_to_all_of_its_examples_is_told(neox: Path, tmp_path: Path) -> None:
    estimates: list[CostEstimate] = []
    for steps in (1, 2):
        record(neox, tmp_path, steps=steps, record_every=1, dry_run=True, announce=estimates.append)
    short, enough = estimates
    assert short.notes[-1] == "a run of 1 step of 3 trains on 3 of its 6 examples: --steps 2 come to all of them"
    assert not any("trains on" in note for note in enough.notes)


def test_passes_are_of_the_subset_and_of_the_pool(neox: Path, tmp_path: Path) -> None:
    estimates: list[CostEstimate] = []
    record(neox, tmp_path, dry_run=True, announce=estimates.append)
    (plan,) = estimates
    assert (plan.steps, plan.batch_size, plan.subset, plan.pool) == (4, 3, 6, 12)
    assert (plan.passes, plan.whole_passes) == (2.0, 1.0)
    assert plan.seconds == pytest.approx(3 * (4 * plan.seconds_per_step + 5 * plan.seconds_per_evaluation))
    assert plan.parameters == plan.trained_parameters
    assert plan.memory_bytes == 4 * 5 * plan.parameters
    assert 0 < plan.backward_tokens < plan.forward_tokens


def test_an_estimate_changes_no_weight(neox: Path) -> None:
    trainer = make(neox)
    size = Size(runs=2, runs_left=1, steps=4, recorded=5, subset=6, batch_size=3, metrics=2)
    found = estimate(trainer, plan(4), size, ("a note",))
    assert all(
        torch.equal(one, was) for one, was in zip(trainer.network.trainable, trainer.network.initial, strict=True)
    )
    assert (found.runs, found.runs_left, found.notes, found.processes) == (2, 1, ("a note",), 1)
    texts = sum(len(one.text.encode()) for one in (*trainer.pool, *trainer.evaluator.test))
    assert found.file_bytes == texts + 2 * (5 * len(trainer.evaluator.test) * 2 * 4 + 4 * (3 + 1) * 8)
    assert (found.gradients, found.sketches, found.generated, found.seconds_per_generation) == (None, None, 0, 0.0)
