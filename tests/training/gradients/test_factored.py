"""Gradients in the factors that they come in, written out against plain sums of outer products."""

from pathlib import Path

import torch

from tests.models import save_small
from tests.training.gradients.conftest import make_case


def test_tied_embeddings_are_summed_before_the_product(tmp_path: Path) -> None:
    case = make_case(save_small(tmp_path, "llama", blocks=1, width=16), None)
    model = case.network.model
    assert model.lm_head.weight is model.model.embed_tokens.weight
    place = case.network.names.index("model.embed_tokens.weight")
    held = case.tape.record(case.pool).held[place]
    assert [outer.one_hot for outer in held.outers] == [True, False]
    shape = case.network.trainable[place].shape
    first = sum(p.numel() for p in case.network.trainable[:place])
    expected = case.gradients(case.pool)[:, first : first + shape.numel()]
    torch.testing.assert_close(
        held.dense(len(case.pool)), expected, rtol=case.tolerance, atol=case.tolerance * float(expected.abs().max())
    )
