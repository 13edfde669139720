import numpy as np
import pytest

from gptfl.encoders.transformer import Cuts, Embedder, batches


def test_batches_hold_every_text_once_and_stay_within_bounds(monkeypatch):
    lengths = [3, 1000, 2, 5000, 10, 700]
    found = list(batches(lengths))
    assert sorted(i for batch in found for i in batch) == list(range(6))
    assert found[0] == [3]
    assert all(len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= 4096 for batch in found)


@pytest.mark.parametrize("pooling", ["cls", "last", "mean"])
def test_pooling_against_a_plain_loop(pooling):
    import torch

    table = torch.tensor(np.random.default_rng(1).normal(size=(20, 5)))
    rows = [[3, 4, 5], [7], [1, 2, 3, 4, 5, 6], [9, 9]]
    got = Embedder(lambda ids, mask: table[ids], 5, pooling)(rows)
    pools = {"cls": lambda states: states[0], "last": lambda states: states[-1], "mean": lambda states: states.mean(0)}
    np.testing.assert_allclose(got, [pools[pooling](table.numpy()[row]) for row in rows], rtol=1e-6)


def test_what_is_too_long_loses_its_beginning_and_is_counted():
    cuts = Cuts(3)
    assert [cuts.keep(ids) for ids in ([1, 2], [1, 2, 3, 4, 5], [6, 7, 8, 9])] == [[1, 2], [3, 4, 5], [7, 8, 9]]
    assert cuts.notes == ["2 texts are longer than 3 tokens and lose their beginning (3 tokens in all)"]
