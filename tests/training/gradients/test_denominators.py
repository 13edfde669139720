"""What divides a gradient, against the steps that torch's AdamW really makes."""

import numpy as np
import pytest
import torch

from gptfl.training.gradients.denominators import SHORT, adam_divisor, batch_share, counts_own, of_whole
from gptfl.training.token_gradients import by_token
from tests.training.gradients.conftest import Case

BETAS, EPSILON = (0.9, 0.99), 1e-8


def adam_moments(gradients: torch.Tensor) -> torch.Tensor:
    """The second moment after a step on each of these, in torch's own AdamW."""
    weight = torch.nn.Parameter(torch.zeros(gradients.shape[1], dtype=gradients.dtype))
    optimiser = torch.optim.AdamW([weight], lr=1e-3, betas=BETAS, eps=EPSILON)
    for gradient in gradients:
        weight.grad = gradient.clone()
        optimiser.step()
    return optimiser.state[weight]["exp_avg_sq"]


@pytest.mark.parametrize("steps", [0, 1, 9])
def test_it_is_what_the_next_step_of_adamw_divides_by(steps: int) -> None:
    random = torch.Generator().manual_seed(1)
    before = torch.randn(steps, 5, generator=random, dtype=torch.float64)
    gradients = torch.randn(3, 5, generator=random, dtype=torch.float64)
    second = adam_moments(before) if steps else None
    found = adam_divisor(second, steps, BETAS[1], EPSILON, 0.25, gradients)
    for one, got in zip(gradients, found, strict=True):
        after = adam_moments(torch.cat([before, 0.25 * one[None]]))
        torch.testing.assert_close(got, (after / (1 - BETAS[1] ** (steps + 1))).sqrt() + EPSILON)


def test_a_weight_that_never_had_a_gradient_steps_as_far_as_others() -> None:
    """The quotient is at most the root of the steps over the share, whatever the gradient; before, it was 1e8 of it."""
    gradients = torch.tensor([[1e-3, 5.0, 0.0]], dtype=torch.float64)
    found = gradients / adam_divisor(torch.zeros(3).double(), 9, BETAS[1], EPSILON, 0.25, gradients)
    most = (1 - BETAS[1] ** 10) / (1 - BETAS[1])
    torch.testing.assert_close(found[0, :2], torch.full((2,), 4 * most**0.5).double(), rtol=1e-3, atol=0.0)
    assert float(found[0, 2]) == 0.0
    alone = adam_divisor(torch.zeros(3).double(), 9, BETAS[1], EPSILON, None, gradients)
    assert float((gradients / alone).max()) == pytest.approx(5e8)
    torch.testing.assert_close(adam_divisor(None, 0, BETAS[1], EPSILON, None, gradients), alone)


def test_a_share_is_one_over_the_examples_of_a_batch() -> None:
    assert batch_share(np.array([[0, 1, 2], [3, -1, -1]])) == 0.5
    assert batch_share(np.full((2, 3), -1)) == 1.0
    assert batch_share(np.zeros((0, 4), dtype=int)) == 1.0


def test_parts_of_an_example_are_divided_as_all_of_it_is(case: Case) -> None:
    whole = case.tape.record(case.test.take([0]))
    parts = case.tape.record(by_token(case.test, 0))
    divided = of_whole(lambda place, rows, gradients: gradients.square() + 1.0, whole)
    for place, held in parts.held.items():
        expected = whole.held[place].dense(1).square() + 1.0
        mine = held.dense(parts.count)
        torch.testing.assert_close(divided(place, slice(None), mine), expected)
        if held.outers:
            row = slice(held.rows - 1, held.rows)
            torch.testing.assert_close(divided(place, row, mine), expected[:, -held.shape[1] :])
    assert float(divided(-1, slice(None), torch.ones(2, 3)).max()) == 1.0, "a weight on which its loss doesn't depend"


def test_own_gradients_count_along_short_runs() -> None:
    assert [counts_own(steps) for steps in (1, SHORT - 1, SHORT, 1000)] == [True, True, False, False]
