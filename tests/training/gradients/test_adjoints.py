"""One step backwards, against autograd through the same formulas and against torch's own AdamW and clipping."""

import math

import pytest
import torch
from torch import Tensor

from gptfl.training.gradients.adjoints import (
    AdamStep,
    Adjoint,
    back_through_batch,
    back_through_clipping,
    shortening,
    weighted_loss,
)
from gptfl.training.gradients.sides import computed_plainly
from tests.models import save_small
from tests.training.gradients.conftest import Case, make_case

BETAS = (0.9, 0.95)


def drawn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def step_of(count: int) -> AdamStep:
    return AdamStep(rate=0.1, decay=0.2, betas=BETAS, epsilon=1e-3, count=count)


def formula(step: AdamStep, weight: Tensor, first: Tensor, root: Tensor, gradient: Tensor) -> tuple[Tensor, ...]:
    """The step as it is written down, of √v instead of v."""
    one, two = step.betas
    first = one * first + (1 - one) * gradient
    root = (two * root**2 + (1 - two) * gradient**2).sqrt()
    below = root / math.sqrt(1 - two**step.count) + step.epsilon
    return (1 - step.rate * step.decay) * weight - step.rate * first / (1 - one**step.count) / below, first, root


@pytest.mark.parametrize("known", [True, False])
def test_a_step_back_is_autograds(known: bool) -> None:
    gradient, weight = drawn(5), drawn(5, seed=2)
    first, second = (drawn(5, seed=3), drawn(5, seed=4).square()) if known else (None, None)
    after = Adjoint(*(drawn(5, seed=seed) for seed in (5, 6, 7)))
    step = step_of(4 if known else 1)
    before, pull = step.back(first, second, gradient, after)
    zeros = torch.zeros(5, dtype=torch.float64)
    inputs = [
        value.clone().requires_grad_()
        for value in (weight, zeros if first is None else first, zeros if second is None else second.sqrt(), gradient)
    ]
    made = formula(step, *inputs)
    expected = torch.autograd.grad(made, inputs, [after.weight, after.first, after.root])
    for got, wanted in zip((before.weight, before.first, before.root, pull), expected, strict=True):
        torch.testing.assert_close(got, wanted)


def test_the_formula_is_torchs_adamw() -> None:
    weight = torch.nn.Parameter(drawn(5))
    optimiser = torch.optim.AdamW([weight], lr=0.1, betas=BETAS, eps=1e-3, weight_decay=0.2)
    state = [weight.detach().clone(), *torch.zeros(2, 5, dtype=torch.float64)]
    for count in range(1, 4):
        weight.grad = drawn(5, seed=count)
        optimiser.step()
        state = list(formula(step_of(count), *state, weight.grad))
        torch.testing.assert_close(weight.detach(), state[0])
    torch.testing.assert_close(optimiser.state[weight]["exp_avg_sq"], state[2] ** 2)


@pytest.mark.parametrize("known", [True, False])
def test_numbers_that_no_gradient_ever_reached_only_decay(known: bool) -> None:
    """There √v isn't differentiable; nothing becomes infinite, and the others are as they would be alone."""
    gradient = torch.tensor([0.0, 0.5], dtype=torch.float64)
    zeros = torch.zeros(2, dtype=torch.float64)
    after = Adjoint(*(drawn(2, seed=seed) for seed in (5, 6, 7)))
    step = step_of(3 if known else 1)
    before, pull = step.back(zeros if known else None, zeros if known else None, gradient, after)
    torch.testing.assert_close(before.weight, after.weight * (1 - 0.1 * 0.2))
    assert float(before.root[0]) == 0.0
    for one in (before.weight, before.first, before.root, pull):
        assert torch.isfinite(one).all()
    # The step's own first order stays: a small gradient would move the number by η / (1 - β₁ᵗ) (1 - β₁) / ε of it.
    expected = (1 - BETAS[0]) * (after.first - after.weight * 0.1 / (1 - BETAS[0] ** step.count) / 1e-3)
    torch.testing.assert_close(pull[0], expected[0])


def test_tiny_gradients_keep_float32_finite() -> None:
    """The square of 1e-30 is 0 in float32, and that of 1e-20 all but: v's own derivative would have no bound."""
    gradient = torch.tensor([1e-30, 1e-20, 1e-10])
    after = Adjoint(torch.ones(3), torch.zeros(3), torch.ones(3))
    before, pull = step_of(2).back(torch.zeros(3), torch.zeros(3), gradient, after)
    for one in (before.first, before.root, pull):
        assert torch.isfinite(one).all()
    assert float(pull.abs().max()) < 1e3


@pytest.mark.parametrize("longest", [0.5, 100.0, None])
def test_clipping_is_torchs_and_its_way_back_is_autograds(longest: float | None) -> None:
    weights = [torch.nn.Parameter(torch.zeros(3).double()), torch.nn.Parameter(torch.zeros(2, 2).double())]
    gradients = [drawn(3), drawn(2, 2, seed=2)]
    factor, norm = shortening([*gradients, None], longest)
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient.clone()
    if longest is not None:
        assert norm == pytest.approx(float(torch.nn.utils.clip_grad_norm_(weights, longest)))
    for weight, gradient in zip(weights, gradients, strict=True):
        torch.testing.assert_close(weight.grad, gradient * factor)
    assert (factor < 1) == (longest == 0.5)
    after = [drawn(3, seed=5), drawn(2, 2, seed=6)]
    inputs = [gradient.clone().requires_grad_() for gradient in gradients]
    length = torch.cat([one.flatten() for one in inputs]).norm()
    scale = 1.0 if factor == 1.0 else longest / (length + 1e-6)
    expected = torch.autograd.grad([one * scale for one in inputs], inputs, after)
    found = back_through_clipping([*gradients, None], [*after, None], factor, norm)
    assert found[2] is None
    for got, wanted in zip(found, expected, strict=False):
        torch.testing.assert_close(got, wanted)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return make_case(save_small(tmp_path_factory.mktemp("adjoints"), "gpt-neox", blocks=1, width=16), None)


def test_a_batch_gives_the_rows_products_and_the_hessians(small: Case) -> None:
    network, batch = small.network, small.pool.batch(small.network)
    directions = [[drawn(*p.shape, seed=seed + 10 * k) for k, p in enumerate(network.trainable)] for seed in (1, 2)]
    with computed_plainly(network):
        found = list(back_through_batch(network, batch, directions))
    rows = small.gradients(small.pool)

    def gradient_at(weights: list[Tensor]) -> Tensor:
        was = [p.detach().clone() for p in network.trainable]
        with torch.no_grad():
            for p, value in zip(network.trainable, weights, strict=True):
                p.copy_(value)
        parts = torch.autograd.grad(network.loss(batch), network.trainable)
        with torch.no_grad():
            for p, value in zip(network.trainable, was, strict=True):
                p.copy_(value)
        return torch.cat([part.flatten() for part in parts])

    for direction, (products, curved) in zip(directions, found, strict=True):
        flat = torch.cat([part.flatten() for part in direction])
        torch.testing.assert_close(products, rows @ flat / len(small.pool), rtol=1e-7, atol=1e-9)  # 1/6 in float32
        ends = [
            gradient_at([p.detach() + h * u for p, u in zip(network.trainable, direction, strict=True)])
            for h in (1e-5, -1e-5)
        ]
        expected = (ends[0] - ends[1]) / 2e-5
        got = torch.cat([part.flatten() for part in curved if part is not None])
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6 * float(expected.abs().max()))


def test_a_direction_of_nothing_gives_nothing(small: Case) -> None:
    batch = small.pool.batch(small.network)
    nothing: list[Tensor | None] = [None] * len(small.network.trainable)
    with computed_plainly(small.network):
        ((products, curved),) = back_through_batch(small.network, batch, [nothing])
    assert not products.any()
    assert all(part is None for part in curved)


def test_weights_of_one_are_the_loss_that_is_trained_on(small: Case) -> None:
    batch, ones = small.pool.batch(small.network), torch.ones(len(small.pool)).double()
    with torch.no_grad():
        torch.testing.assert_close(weighted_loss(small.network, batch, ones), small.network.loss(batch))
        one = ones * 0
        one[2] = 1.0
        expected = small.losses(small.pool, 2) / len(small.pool)
        torch.testing.assert_close(weighted_loss(small.network, batch, one), expected)


def test_nothing_depends_on_the_moments_that_are_left_over() -> None:
    found = Adjoint.at_end(drawn(3))
    assert torch.equal(found.weight, drawn(3))
    assert not found.first.any()
    assert not found.root.any()
