import numpy as np
import pytest
import torch

from gptfl.estimators.gptfluence.initialisation import average_recurrence, start
from gptfl.estimators.gptfluence.projection import Form
from gptfl.estimators.gptfluence.sides import VectorSides
from gptfl.estimators.gptfluence.training import TeacherRows, teacher_rows
from gptfl.estimators.gptfluence.trajectory import Trajectory
from gptfl.estimators.gptfluence.update_rule import UpdateRule


def recorded(order: int, split: bool) -> tuple[list[Trajectory], list[TeacherRows]]:
    random = np.random.default_rng(0)
    runs = []
    for _ in range(4):
        batches = random.integers(-1, 9, size=(12, 3))
        runs.append(Trajectory(batches, np.arange(13), random.normal(size=(13, 5))))
    runs[1].values[4, 2] = np.nan
    parts = [runs[:2], runs[2:]] if split else [runs]
    return runs, [teacher_rows(part, order, UpdateRule(3), 9) for part in parts]


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("split", [False, True])
def test_the_average_recurrence_is_least_squares(order: int, split: bool) -> None:
    runs, parts = recorded(order, split)
    found = average_recurrence(parts, UpdateRule(3))
    for z in range(5):
        inputs, target = [], []
        for run in runs:
            for t in range(12):
                past = [run.values[max(t - j, 0), z] for j in range(order)]
                size = int((run.batches[t] >= 0).sum())
                if size and np.isfinite([*past, run.values[t + 1, z]]).all():
                    inputs.append([*past, size / 3])
                    target.append(run.values[t + 1, z])
        expected = np.linalg.lstsq(np.array(inputs), np.array(target), rcond=None)[0]
        np.testing.assert_allclose(found[:, z], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("projection", ["mlp", "linear"])
def test_a_fit_starts_at_the_average_recurrence(projection: str) -> None:
    _, parts = recorded(1, False)
    random = torch.Generator().manual_seed(0)
    train, test = torch.randn(9, 8, generator=random), torch.randn(5, 8, generator=random)
    sides = VectorSides(Form(2, projection, False, 8, 32), train, test)
    ours, theirs = sides.project(start(sides, parts, UpdateRule(3), random))
    whole = 3 * torch.bmm(ours, theirs.transpose(1, 2)).mean(dim=1)
    expected = average_recurrence(parts, UpdateRule(3)).float()
    assert float((whole - expected).abs().max()) < 0.05
    assert float((expected - expected.mean(dim=1, keepdim=True)).abs().max()) > 0.1
