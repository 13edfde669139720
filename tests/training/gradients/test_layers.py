"""What each kind of layer makes of its input and of the loss's gradient at its output."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gptfl.errors import DataError
from gptfl.training.gradients.factored import Held
from gptfl.training.gradients.layers import Call, InseparableError, LayerLayout, differentiable, parts_of
from gptfl.training.network import Batch
from gptfl.training.reference_run import check_against_autograd
from gptfl.training.token_rows import TokenRow
from tests.models import save_small
from tests.training.gradients.conftest import assert_exact, compute, make_case


class Scaled(nn.Linear):
    """A layer of no known kind."""

    def forward(self, values: Tensor) -> Tensor:
        return super().forward(values) * 2


class Mixing(nn.Linear):
    """A layer in which examples see each other."""

    def forward(self, values: Tensor) -> Tensor:
        return super().forward(values) + super().forward(values.flip(0))


def swap_first_linear(network: Any, kind: type[nn.Linear]) -> None:
    module = next(m for m in network.model.base_model.modules() if type(m) is nn.Linear)
    module.__class__ = kind


def test_a_layer_of_unknown_kind_is_computed_again_for_each_example(tmp_path: Path) -> None:
    case = make_case(save_small(tmp_path, "gpt-neox", blocks=2, width=16), None)
    swap_first_linear(case.network, Scaled)
    check_against_autograd(case.tape, case.pool)
    assert_exact(case, compute(case, True))


def test_a_model_in_which_examples_mix_is_refused(tmp_path: Path) -> None:
    case = make_case(save_small(tmp_path, "gpt-neox", blocks=2, width=16), None)
    swap_first_linear(case.network, Mixing)
    with pytest.raises(
        DataError, match=r"gradients of single examples can't be told apart: .* GPTNeoX.*choose another model"
    ):
        check_against_autograd(case.tape, case.pool)


def test_a_layer_that_forgets_the_examples_is_refused(tmp_path: Path) -> None:
    class Folding(nn.Linear):
        def forward(self, values: Tensor) -> Tensor:
            return super().forward(values.flatten(0, 1)).unflatten(0, (1, -1))

    class Unfolding(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, values: Tensor) -> Tensor:
            return self.inner(values).reshape(*values.shape[:2], -1)

    case = make_case(save_small(tmp_path, "gpt-neox", blocks=2, width=16), None)
    block = case.network.model.base_model.layers[0]
    block.mlp.dense_h_to_4h.__class__ = Folding
    block.mlp.dense_h_to_4h = Unfolding(block.mlp.dense_h_to_4h)
    with pytest.raises(DataError, match="the output of Folding has shape"):
        case.tape.record(case.pool)


def test_a_padding_token_has_no_gradient(tmp_path: Path) -> None:
    """An embedding that leaves the row of its padding token alone does so inside a prompt, too."""
    case = make_case(save_small(tmp_path, "llama", blocks=1, width=16), None)
    used = case.pool.rows[0].input_ids[1]
    case.network.model.base_model.embed_tokens.padding_idx = used
    assert_exact(case, compute(case, False))


def layout(lengths: tuple[int, ...], targets: tuple[int, ...]) -> LayerLayout:
    rows = [
        TokenRow(tuple(range(length)), np.arange(length - target, length), np.ones(target, int), np.zeros(target, int))
        for length, target in zip(lengths, targets, strict=True)
    ]
    return LayerLayout.of(rows, Batch(rows, None, torch.device("cpu")))


def test_tokens_are_those_that_are_no_padding() -> None:
    ragged = layout((2, 3), (1, 2))
    values = torch.arange(12.0).view(2, 3, 2)
    for given in (values, values.flatten(0, 1)):
        found, counts = ragged.tokens(given, 1)
        torch.testing.assert_close(found, torch.cat([values[0, :2], values[1]]))
        assert counts == (2, 3)
    asked, counts = ragged.tokens(values.flatten(0, 1)[:3], 1)
    assert (len(asked), counts) == (3, (1, 2))
    torch.testing.assert_close(ragged.sums(values), torch.stack([values[0, :2].sum(0), values[1].sum(0)]))
    heads, counts = ragged.tokens(torch.zeros(2 * 3 * 4, 5), 1)
    assert (len(heads), counts) == (24, (12, 12))
    with pytest.raises(InseparableError, match=r"a layer takes values of shape \(5, 2\)"):
        ragged.tokens(torch.zeros(5, 2), 1)


def test_what_comes_once_for_all_is_spread_over_the_examples() -> None:
    two = layout((3, 3), (1, 1))
    for shape in ((3, 4), (1, 3, 4)):
        assert two.spread(torch.zeros(shape)).shape == (2, 3, 4)
    for shape in ((2, 3, 4), (4, 4)):
        assert two.spread(torch.zeros(shape)).shape == shape
    assert layout((3,), (1,)).spread(torch.zeros(3, 4)).shape == (3, 4)


def test_an_examples_part_of_inputs_is_taken_wherever_it_lies() -> None:
    two = layout((3, 3), (1, 1))
    given = {"a": (torch.arange(2.0), [torch.arange(6.0)]), "b": torch.arange(4.0), "c": None, "d": torch.tensor(5.0)}
    found = two.of_example(given, 1)
    assert found["a"][0].tolist() == [1.0]
    assert found["a"][1][0].tolist() == [3.0, 4.0, 5.0]
    assert (found["b"].tolist(), found["c"], float(found["d"])) == ([0, 1, 2, 3], None, 5.0)


def layers() -> list[nn.Module]:
    rms = nn.RMSNorm(4, eps=1e-6)
    nn.init.normal_(rms.weight)
    return [nn.Linear(4, 3), nn.LayerNorm(4), rms, Scaled(4, 3, bias=False)]


@pytest.mark.parametrize("layer", layers(), ids=lambda layer: type(layer).__name__)
def test_gradients_by_example_are_those_of_autograd(layer: nn.Module) -> None:
    layer.double()
    random = torch.Generator().manual_seed(0)
    inputs = torch.randn(2, 3, 4, generator=random, dtype=torch.float64)
    output = layer(inputs)
    slope = torch.randn(output.shape, generator=random, dtype=torch.float64)
    slope[0, 2] = 0.0  # padding
    found = dict(parts_of(Call(layer, (inputs,), {}), slope, layout((2, 3), (1, 2)), {}))
    assert set(found) == set(layer.parameters())
    for example in range(2):
        loss = (layer(inputs[example]) * slope[example]).sum()
        for parameter, expected in zip(
            layer.parameters(), torch.autograd.grad(loss, list(layer.parameters())), strict=True
        ):
            held = Held(tuple(parameter.shape))
            held.add(found[parameter])
            torch.testing.assert_close(held.dense(2)[example], expected.flatten())


def test_outputs_that_depend_on_weights_are_found_in_any_container() -> None:
    one, plain = torch.zeros(1, requires_grad=True) * 2, torch.zeros(1)
    for output in (one, (plain, one, None), [one], {"a": plain, "b": one}):
        (found,) = differentiable(output)
        assert found is one
    assert differentiable((plain, None)) == []
