import numpy as np
import pytest
import torch

from gptfl.estimators.gptfluence.recurrence import rollout
from gptfl.estimators.gptfluence.training import FreeRunning, one_step_error, parts_within, teacher_rows
from gptfl.estimators.gptfluence.trajectory import Trajectory
from gptfl.estimators.gptfluence.update_rule import UpdateRule


def trajectory(seed: int, steps: list[int], test: int = 3) -> Trajectory:
    random = np.random.default_rng(seed)
    return Trajectory(
        random.integers(0, 5, size=(max(steps), 2)), np.array(steps), random.normal(size=(len(steps), test))
    )


def sides(factor: int, test: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return torch.randn(factor, 5, 2, generator=random) / 3, torch.randn(factor, test, 2, generator=random) / 3


@pytest.mark.parametrize("order", [1, 2, 3])
def test_one_step_error_is_the_plain_sum_over_what_was_recorded(order: int) -> None:
    runs = [trajectory(0, [0, 1, 2, 3, 5]), trajectory(1, [1, 2, 4])]
    runs[0].values[2, 1] = np.nan
    runs[1].values[0, 2] = np.nan
    train, test = sides(order + 1)
    expected, known = 0.0, 0
    for run in runs:
        for k in range(1, len(run.steps)):
            seen = run.batches[run.steps[k - 1] : run.steps[k]].ravel()
            for z in range(3):
                past = [run.values[max(k - 1 - j, 0), z] for j in range(order)]
                if not np.isfinite([*past, run.values[k, z]]).all():
                    continue
                factor = [sum(float(train[f, i] @ test[f, z]) for i in seen) for f in range(order + 1)]
                predicted = factor[-1] + sum(factor[j] * past[j] * 2 / len(seen) for j in range(order))
                expected += (predicted - run.values[k, z]) ** 2
                known += 1
    rows = teacher_rows(runs, order, UpdateRule(2), 5)
    assert int(rows.known.sum()) == known
    assert float(one_step_error(train, test, rows)) == pytest.approx(expected, rel=1e-5)


def test_what_was_not_recorded_has_no_gradient() -> None:
    run = trajectory(0, [0, 1, 2, 3])
    run.values[2, 1] = np.nan
    rows = teacher_rows([run], 1, UpdateRule(2), 5)
    leaves = [side.requires_grad_() for side in sides(2)]
    gradients = torch.autograd.grad(one_step_error(*leaves, rows), leaves)
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)
    run.values[:, 1] = np.nan
    nothing = torch.autograd.grad(one_step_error(*leaves, teacher_rows([run], 1, UpdateRule(2), 5)), leaves)
    assert float(nothing[1][:, 1].abs().max()) == 0.0
    assert float(nothing[1][:, 0].abs().max()) > 0.0


def test_free_running_error_leaves_out_first_scores_and_what_is_unknown() -> None:
    runs = [trajectory(0, [0, 1, 2, 3]), trajectory(1, [0, 1, 2, 3]), trajectory(2, [1, 3])]
    runs[1].values[3, 0] = np.nan
    train, test = sides(2)
    errors = []
    for run in runs:
        rolled = rollout(train, test, run.batches[None], run.steps, run.values[:1].astype(np.float32), UpdateRule(2))[0]
        errors.append(np.square(rolled - run.values)[1:].ravel())
    expected = np.nanmean(np.concatenate(errors))
    assert FreeRunning(runs, UpdateRule(2), 5)(train, test) == pytest.approx(expected, rel=1e-5)


def test_parts_keep_every_run_in_order() -> None:
    runs = [trajectory(k, [0, 1, 2]) for k in range(5)]
    size = runs[0].values.size * 4 * 11
    parts = parts_within(runs, order=1, max_bytes=2 * size)
    assert [len(part) for part in parts] == [2, 2, 1]
    assert [run for part in parts for run in part] == runs
    assert [len(part) for part in parts_within(runs, order=1, max_bytes=1)] == [1] * 5
