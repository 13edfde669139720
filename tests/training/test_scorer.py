"""Logits at asked places, by a model's own forward pass cut short at its output layer."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gptfl.training.load import load_model
from gptfl.training.scorer import Scorer

IDS = torch.tensor([[1, 2, 3], [4, 5, 0]])
PLACES = torch.tensor([0, 2, 4])


def test_the_output_layer_sees_the_asked_places_alone(any_model: Path) -> None:
    model = load_model(str(any_model)).model
    shapes: list[torch.Size] = []
    with torch.no_grad():
        expected = model(input_ids=IDS).logits.flatten(0, 1)[PLACES]
        handle = model.get_output_embeddings().register_forward_hook(lambda *given: shapes.append(given[-1].shape))
        found = Scorer(model, None)(IDS, PLACES)
        handle.remove()
    torch.testing.assert_close(found[0], expected, atol=1e-4, rtol=1e-4)
    assert shapes == [torch.Size([1, 3, expected.shape[1]])]
    assert not model.get_output_embeddings()._forward_pre_hooks


class Unknown(torch.nn.Module):
    """Makes logits by a layer that it doesn't tell of, or gives its layer something else."""

    def __init__(self, head: Any) -> None:
        super().__init__()
        self.head = head
        self.inner = torch.nn.Embedding(8, 4)

    def get_output_embeddings(self) -> Any:
        return self.head

    def forward(self, input_ids: torch.Tensor) -> Any:
        if self.head is not None:
            self.head(torch.zeros(1, 4))
        return SimpleNamespace(logits=self.inner(input_ids))


@pytest.mark.parametrize("head", [None, torch.nn.Linear(4, 4)])
def test_where_nothing_can_be_cut_logits_are_cut_afterwards(head: Any) -> None:
    model = Unknown(head)
    found = Scorer(model, None)(IDS, PLACES)
    torch.testing.assert_close(found, model.inner(IDS).flatten(0, 1)[PLACES][None])


def test_the_layer_is_free_again_after_a_failure(neox: Path) -> None:
    model = load_model(str(neox)).model
    with pytest.raises(IndexError):
        Scorer(model, None)(IDS, torch.tensor([99]))
    assert not model.get_output_embeddings()._forward_pre_hooks
