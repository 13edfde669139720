"""What each kind of layer makes of its input and of the loss's gradient at its output."""

from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

from gptfl.errors import DataError
from gptfl.training.reference_run import check_against_autograd
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
