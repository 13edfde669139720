"""Directional derivatives against gradients, and what they foretell of a step."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gptfl.metrics import Loss
from gptfl.training.gradients.directional import Slopes
from gptfl.training.models import load_pretrained
from gptfl.training.names import resolve_model
from gptfl.training.reference_run import Setup, reference_plan
from gptfl.training.trainer import RecordingTrainer, TrainerSettings
from tests.models import save_small
from tests.training.gradients.conftest import make_case
from tests.training.reference import along_reference
from tests.training.test_trainer import POOL, TEST, make, plan


@pytest.mark.parametrize("top", [None, 1])
def test_a_derivative_is_the_gradient_times_the_direction(family: Path, top: int | None) -> None:
    case = make_case(family, top)
    random = torch.Generator().manual_seed(1)
    weights = [p.detach() for p in case.network.trainable]
    direction = [torch.randn(p.shape, generator=random, dtype=p.dtype) for p in weights]
    expected = case.gradients(case.test) @ torch.cat([part.flatten() for part in direction])
    for budget in (8, 4096):  # one example a batch, and all in one
        found = Slopes(case.network, case.test, budget).along(weights, direction)
        np.testing.assert_allclose(found, expected.numpy(), rtol=case.tolerance)


def test_a_derivative_is_taken_where_it_is_asked_for(tmp_path: Path) -> None:
    """At other weights than those that the network has now, which stay."""
    case = make_case(save_small(tmp_path, "llama", blocks=1, width=16), None)
    before = [p.detach().clone() for p in case.network.trainable]
    expected = case.gradients(case.test) @ torch.cat([p.flatten() for p in before])
    with torch.no_grad():
        for weight in case.network.trainable:
            weight *= 1.1
    moved = [p.detach().clone() for p in case.network.trainable]
    found = Slopes(case.network, case.test).along(before, before)
    np.testing.assert_allclose(found, expected.numpy(), rtol=case.tolerance)
    assert all(torch.equal(p, was) for p, was in zip(case.network.trainable, moved, strict=True))


def make_double(folder: Path, rate: float) -> RecordingTrainer:
    torch.set_num_threads(1)
    loaded = load_pretrained(resolve_model(str(folder)), torch.device("cpu"))
    loaded.model.double()
    return RecordingTrainer(loaded, POOL, TEST, (Loss(),), TrainerSettings(rate, "constant", 0.0, derivatives=True))


@pytest.mark.parametrize("direction", ["update", "gradient"])
def test_half_the_step_has_a_quarter_of_the_error(any_model: Path, direction: str) -> None:
    """Along the change of the weights the prediction is right to first order; Adam's is not the gradient's."""
    trainer = make_double(any_model, 1.0)
    assert trainer.along is not None
    changes, errors = [], []
    for rate in (4e-4, 2e-4):
        trainer.network.restore()
        optimiser = trainer.optimiser()
        before = trainer.evaluator.observe()
        trainer.along.record(0)
        trainer.step(optimiser, trainer.pieces(np.arange(3)), rate)
        after = trainer.evaluator.observe()
        changes.append((before.target_log_prob - after.target_log_prob) / before.target_tokens)
        errors.append(np.abs(changes[-1] - trainer.along.record(1)[direction][1]).mean())
    ratio = errors[0] / errors[1]
    if direction == "update":
        assert errors[1] < 0.1 * np.abs(changes[1]).mean()
        assert 3 < ratio < 5
    else:
        assert errors[1] > 0.1 * np.abs(changes[1]).mean()
        assert ratio < 3


def test_with_plain_gradient_descent_both_directions_are_one(any_model: Path) -> None:
    trainer = make_double(any_model, 1.0)
    assert trainer.along is not None
    optimiser = torch.optim.SGD(trainer.network.trainable, lr=1.0)
    trainer.along.record(0)
    for members in ([0, 1, 2], [3, 4, 5]):
        trainer.step(optimiser, trainer.pieces(np.array(members)), 1e-3)
    found = trainer.along.record(2)
    np.testing.assert_allclose(found["gradient"][1], found["update"][1], rtol=1e-5)
    assert np.abs(found["update"][1]).min() > 0


def test_along_a_run_each_interval_is_foretold_from_where_it_begins(any_model: Path) -> None:
    """Against plain gradients: each direction times each test example's gradient at the interval's first weights."""
    trainer = make(any_model, record_every=2, derivatives=True)
    run = trainer.run(plan(5), lambda done, total: None)
    assert set(run.derivatives) == {"gradient", "update"}
    np.testing.assert_array_equal(run.steps, [0, 2, 4, 5])
    np.testing.assert_array_equal([values[0] for values in run.derivatives.values()], np.zeros((2, len(TEST))))

    plain = make(any_model)
    assert trainer.along is not None
    test = trainer.along.slopes.sides
    order = [i for members in trainer.along.slopes.order for i in members]
    optimiser = plain.optimiser()
    weights = plain.network.trainable
    row = 0
    for step, members in enumerate(plan(5).batches):
        if step in run.steps:
            plain.network.switch(training=False)
            slopes = []
            for side in test:
                for i in range(len(side)):
                    loss = plain.network.loss(side.take([i]).batch(plain.network))
                    slopes.append([g.clone() for g in torch.autograd.grad(loss, weights)])
            start = [p.detach().clone() for p in weights]
            descent = [torch.zeros_like(p) for p in weights]
        rate = float(run.curriculum.learning_rates[step])
        optimiser.param_groups[0]["lr"] = rate
        plain.network.loss(plain.batch(members)).backward()
        for total, weight in zip(descent, weights, strict=True):
            total -= rate * weight.grad
        optimiser.step()
        optimiser.zero_grad()
        if step + 1 in run.steps:
            row += 1
            moved = [p.detach() - was for p, was in zip(weights, start, strict=True)]
            for name, direction in (("gradient", descent), ("update", moved)):
                expected = [
                    float(sum((g * d).sum() for g, d in zip(slope, direction, strict=True))) for slope in slopes
                ]
                found = run.derivatives[name][row][order]
                np.testing.assert_allclose(found, expected, rtol=5e-3, atol=1e-5)
    assert row == 3


def test_one_gradient_step_is_the_mean_of_the_batchs_products(neox: Path) -> None:
    """Along the gradient, an interval of one step has -η times the mean product of the batch with the test example."""
    trainer = make(neox, derivatives=True)
    run = trainer.run(plan(1), lambda done, total: None)
    members = plan(1).batches[0]
    setup = Setup.of(trainer)
    products = along_reference(trainer, reference_plan(6, 3, 4, 1), (0,), setup, lambda point, step, pairs: None)
    expected = -run.curriculum.learning_rates[0] * products.raw[0][members].mean(axis=0)
    np.testing.assert_allclose(run.derivatives["gradient"][1], expected, rtol=1e-4, atol=1e-6)


def test_recording_derivatives_changes_nothing_else(neox: Path) -> None:
    plainly = make(neox).run(plan(), lambda done, total: None)
    trainer = make(neox, derivatives=True)
    for _ in range(2):
        along = trainer.run(plan(), lambda done, total: None)
        np.testing.assert_array_equal(along.metrics["loss"], plainly.metrics["loss"])
    assert plainly.derivatives == {}
    assert all(np.abs(values[1:]).min() > 0 for values in along.derivatives.values())
