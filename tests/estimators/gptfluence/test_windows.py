from itertools import pairwise

import numpy as np
import pytest
import torch

from gptfl.estimators.gptfluence.training import one_step_error, teacher_rows
from gptfl.estimators.gptfluence.trajectory import Trajectory
from gptfl.estimators.gptfluence.update_rule import UpdateRule
from gptfl.estimators.gptfluence.windows import cut_windows, rolled_error

POOL, TEST = 6, 3


def trajectory(seed: int, steps: list[int]) -> Trajectory:
    random = np.random.default_rng(seed)
    batches = random.integers(-1, POOL, size=(max(steps), 2))
    return Trajectory(batches, np.array(steps), random.normal(size=(len(steps), TEST)), random.random(max(steps)))


def sides(factor: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return tuple(torch.randn(factor, n, 2, generator=random).to(dtype) / 3 for n in (POOL, TEST))  # type: ignore


def plain_error(train, test, runs, order, law, length, push):
    """Each run is followed step by step; every ``length`` recorded steps it is put back to what was recorded."""
    error, known = 0.0, 0
    for run in runs:
        for z in range(TEST):
            path: list[float] = []
            for k in range(len(run.steps) - 1):
                if k == 0 or (length is not None and k % length == 0):
                    path = [float(run.values[max(k - j, 0), z]) for j in range(order)][::-1]
                    # Without the whole history of its start, nothing of a window counts.
                    path = path if np.isfinite(path).all() else [np.nan] * order
                seen = [(i, t) for t in range(run.steps[k], run.steps[k + 1]) for i in run.batches[t] if i >= 0]
                if not seen:
                    path.append(path[-1])
                    continue
                effect = 0.0
                for i, t in seen:
                    size = 1.0 if law.rate is None else run.rates[t] / law.rate
                    whole = float(train[order, i] @ test[order, z])
                    for j in range(order):
                        alpha = float(train[j, i] @ test[j, z]) * (1 if law.anchored else law.modal / len(seen))
                        whole += alpha * path[-1 - j]
                    effect += size * (whole if law.anchored else whole - path[-1] / len(seen))
                path.append(path[-1] + effect + push(int(run.steps[k]), int(run.steps[k + 1]), z))
                if np.isfinite(path[-1]) and np.isfinite(run.values[k + 1, z]):
                    error += (path[-1] - run.values[k + 1, z]) ** 2
                    known += 1
    return error, known


def recorded() -> list[Trajectory]:
    runs = [trajectory(0, [0, 1, 2, 3, 4, 5]), trajectory(1, [1, 2, 4, 7]), trajectory(2, [0, 1, 2, 3, 4, 5])]
    runs[0].values[2, 1] = np.nan
    runs[1].values[0, 2] = np.nan
    return runs


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("length", [1, 2, 3, None])
@pytest.mark.parametrize(
    "law",
    [UpdateRule(2), UpdateRule(2, anchored=True), UpdateRule(2, rate=0.5), UpdateRule(2, anchored=True, rate=0.5)],
)
def test_the_rolled_error_is_that_of_a_plain_loop(order: int, length: int | None, law: UpdateRule) -> None:
    runs = recorded()
    train, test = sides(order + 1)
    windows = cut_windows(runs, order, law, POOL, length)
    pushes = np.random.default_rng(5).normal(size=(8, 8, TEST))
    rows = [pushes[a, b] for grid in windows.grids for a, b in pairwise(grid)]
    push = torch.from_numpy(np.stack(rows).astype(np.float32))
    for given in (None, push):
        offset = (lambda a, b, z: 0.0) if given is None else (lambda a, b, z: float(pushes[a, b, z]))
        expected, known = plain_error(train, test, runs, order, law, length, offset)
        assert int(windows.known.sum()) == known
        assert float(rolled_error(train, test, windows, given)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("law", [UpdateRule(2), UpdateRule(2, anchored=True, rate=0.5)])
def test_windows_of_one_step_are_the_teacher_forced_errors(law: UpdateRule) -> None:
    runs = recorded()
    train, test = sides(3)
    rolled = rolled_error(train, test, cut_windows(runs, 2, law, POOL, 1))
    forced = one_step_error(train, test, teacher_rows(runs, 2, law, POOL))
    assert float(rolled) == pytest.approx(float(forced), rel=1e-5)


@pytest.mark.parametrize("length", [2, None])
def test_gradients_of_the_rolled_error_are_its_finite_differences(length: int | None) -> None:
    runs = recorded()
    law = UpdateRule(2, anchored=True, rate=0.5)
    windows = cut_windows(runs, 2, law, POOL, length)
    leaves = [side.requires_grad_() for side in sides(3, torch.float64)]
    found = torch.autograd.grad(rolled_error(leaves[0], leaves[1], windows), leaves)
    assert all(bool(one.isfinite().all()) for one in found)
    step = 1e-5
    for leaf, gradient in zip(leaves, found, strict=True):
        for place in [(0, 0, 0), (1, 2, 1), (2, 1, 0)]:
            errors = []
            for sign in (1, -1):
                moved = [one.detach().clone() for one in leaves]
                moved[0 if leaf is leaves[0] else 1][place] += sign * step
                errors.append(float(rolled_error(moved[0], moved[1], windows)))
            assert float(gradient[place]) == pytest.approx((errors[0] - errors[1]) / (2 * step), rel=1e-4, abs=1e-5)
