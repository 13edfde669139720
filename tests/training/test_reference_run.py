"""Products along a reference run against a plain training loop."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gptfl.core.curriculum import linear_decay, spread_points
from gptfl.errors import DataError
from gptfl.training.reference_run import Followed, Setup, reference_plan
from gptfl.training.trainer import RecordingTrainer
from tests.training.reference import along_reference
from tests.training.test_trainer import POOL, RATE, TEST, make


def nothing(point: int, step: int, pairs: int) -> None:
    pass


def test_points_are_spread_evenly_from_the_first_to_the_last_step() -> None:
    assert spread_points(48, 4).tolist() == [0, 16, 32, 48]
    assert spread_points(9, 10).tolist() == list(range(10))
    assert spread_points(4, 4).tolist() == [0, 1, 3, 4]
    assert spread_points(7, 1).tolist() == [0]


def test_the_reference_run_draws_from_the_whole_pool() -> None:
    batches = reference_plan(6, 3, 4, 5).batches
    assert np.bincount(batches.ravel(), minlength=6).tolist() == [2] * 6
    assert not np.array_equal(batches, reference_plan(6, 3, 4, 6).batches)


def gradients(trainer: RecordingTrainer, test: bool) -> torch.Tensor:
    side = Setup.of(trainer).test if test else Setup.of(trainer).pool
    trainer.network.switch(training=False)
    rows = []
    for i in range(len(side)):
        loss = trainer.network.loss(side.take([i]).batch(trainer.network))
        rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, trainer.network.trainable)]).double())
    return torch.stack(rows)


@pytest.mark.parametrize("top", [None, 1])
def test_products_along_the_run_are_those_of_a_plain_loop(any_model: Path, top: int | None) -> None:
    plan = reference_plan(len(POOL), 3, 3, 8)
    trainer = make(any_model, train_layers=top)
    seen: list[int] = []
    found = along_reference(trainer, plan, (0, 2, 3), Setup.of(trainer), lambda point, step, pairs: seen.append(pairs))
    assert sum(seen) == 3 * len(POOL) * len(TEST)
    assert (found.seed, found.raw.dtype) == (8, np.float32)
    np.testing.assert_array_equal(found.steps, [0, 2, 3])
    np.testing.assert_allclose(found.learning_rates, linear_decay(RATE, 3))
    assert np.isnan(found.preconditioned[0]).all()
    assert np.isnan(found.self_preconditioned[0]).all()

    plain = make(any_model, train_layers=top)
    weights = plain.network.trainable
    second = [torch.zeros_like(p, dtype=torch.float64) for p in weights]
    optimiser = plain.optimiser()
    place = 0
    for step in range(4):
        if step in (0, 2, 3):
            pool, test = gradients(plain, test=False), gradients(plain, test=True)
            np.testing.assert_allclose(found.raw[place], pool @ test.T, rtol=5e-3, atol=1e-3 * pool.norm() ** 2 / 36)
            np.testing.assert_allclose(found.self_raw[place], pool.square().sum(dim=1), rtol=5e-3)
            if step:
                # A step on three examples, of which one adds a third of its gradient.
                moment = torch.cat([v.flatten() for v in second]) * 0.999 + 0.001 * (pool / 3) ** 2
                divisor = (moment / (1 - 0.999 ** (step + 1))).sqrt() + 1e-6
                scale = float((pool.square() / divisor).sum(dim=1).mean())
                np.testing.assert_allclose(
                    found.preconditioned[place], (pool / divisor) @ test.T, rtol=2e-2, atol=2e-3 * scale
                )
                np.testing.assert_allclose(
                    found.self_preconditioned[place], (pool.square() / divisor).sum(dim=1), rtol=2e-2
                )
            place += 1
        if step < 3:
            plain.network.switch(training=True)
            plain.network.loss(plain.batch(plan.batches[step])).backward()
            for total, weight in zip(second, weights, strict=True):
                total.mul_(0.999).add_(weight.grad.double().square(), alpha=0.001)
            optimiser.param_groups[0]["lr"] = float(found.learning_rates[step])
            optimiser.step()
            optimiser.zero_grad()


def test_the_weights_are_those_of_the_start_afterwards_and_the_outcome_repeats(neox: Path) -> None:
    trainer = make(neox)
    start = [p.detach().clone() for p in trainer.network.trainable]
    plan, setup = reference_plan(6, 3, 4, 1), Setup.of(trainer)
    first = along_reference(trainer, plan, (0, 4), setup, nothing)
    assert all(torch.equal(p, was) for p, was in zip(trainer.network.trainable, start, strict=True))
    again = along_reference(trainer, plan, (0, 4), Setup.of(trainer), nothing)
    assert first.fingerprint == again.fingerprint


def test_a_reference_run_that_diverges_is_one_line(neox: Path) -> None:
    trainer = make(neox)
    setup = Setup.of(trainer)
    trainer.step = lambda *given: torch.tensor(float("nan"))  # type: ignore[method-assign]
    with pytest.raises(DataError, match="the reference run's loss is nan at step 1 of 4: lower --lr"):
        along_reference(trainer, reference_plan(6, 3, 4, 1), (0, 4), setup, nothing)


RECIPES = [
    {"loss_mean": "tokens"},
    {"clip_norm": 0.01},
    {"loss_mean": "tokens", "clip_norm": 0.01, "optimiser": "sgd", "momentum": 0.5},
]


@pytest.mark.parametrize("recipe", RECIPES)
def test_gradients_along_the_run_are_those_that_the_recipe_s_steps_are_made_of(neox: Path, recipe: dict) -> None:
    """Where one batch is the whole pool, their mean is the very gradient that the optimiser is given."""
    trainer = make(neox, dropout=False, **recipe)
    plan = reference_plan(len(POOL), len(POOL), 2, 8)
    found = along_reference(trainer, plan, (0,), Setup.of(trainer), nothing)
    trainer = make(neox, dropout=False, **recipe)
    tests = gradients(trainer, test=True)
    trainer.differentiate(trainer.pieces(plan.batches[0]))
    trainer.clip_gradients()
    step = torch.cat([weight.grad.flatten() for weight in trainer.network.trainable]).double()
    assert (float(step.norm()) < 0.011) == ("clip_norm" in recipe)
    expected = (tests @ step).numpy()
    np.testing.assert_allclose(found.raw[0].mean(axis=0), expected, rtol=2e-3, atol=1e-3 * np.abs(expected).max())
    if recipe.get("optimiser") == "sgd":  # with momentum a half, twice the gradient in the end
        np.testing.assert_allclose(found.preconditioned[0], 2 * found.raw[0], rtol=1e-4)
        np.testing.assert_allclose(found.self_preconditioned[0], 2 * found.self_raw[0], rtol=1e-4)


def test_factors_of_clipping_are_those_of_the_steps_nearest_to_a_point(neox: Path) -> None:
    trainer = make(neox)
    rates = np.ones(6)
    assert Followed(rates).scales(trainer, (0, 6)) is None
    run = Followed(rates, (0.1, 0.2, 0.3, 0.4, 0.5, 0.6))
    np.testing.assert_allclose(run.scales(trainer, (0, 3, 6))[:, 0], [0.15, 0.4, 0.6])
    np.testing.assert_allclose(run.scales(trainer, (2,))[:, 0], [0.35])
    np.testing.assert_allclose(run.scales(trainer, (0, 1, 2))[:, 0], [0.1, 0.2, 0.45])
    # No step is nearest to the second: that which leads to it counts.
    np.testing.assert_allclose(Followed(rates, (0.1,)).scales(trainer, (0, 1))[:, 0], [0.1, 0.1])
