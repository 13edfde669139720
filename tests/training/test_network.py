"""A model as the recorder sees it: rows in, asked log-probabilities out, against plain loops."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gptfl.errors import DataError
from gptfl.training.load import load_model
from gptfl.training.network import Batch, Network
from gptfl.training.token_rows import TokenRow

CPU = torch.device("cpu")


def row(ids: list[int], *places: int, segment: int = 0) -> TokenRow:
    """Asks at these places for the token that comes next, and for token 3 behind the end."""
    tokens = np.array([*ids, 3])[np.array(places) + 1]
    return TokenRow(tuple(ids), np.array(places), tokens, np.full(len(places), segment))


ROWS = [row([1, 2, 3], 1, 2), row([4, 5, 6, 7, 8], 4, segment=1), row([9], 0, segment=2)]


@pytest.fixture
def network(neox: Path) -> Network:
    return Network(load_model(str(neox)), None, "fp32")


def by_itself(network: Network, one: TokenRow) -> list[float]:
    """The asked log-probabilities of one row, by the model's own forward pass."""
    with torch.no_grad():
        logits = network.model(input_ids=torch.tensor([one.input_ids])).logits[0].log_softmax(-1)
    return [float(logits[place, token]) for place, token in zip(one.positions, one.tokens, strict=True)]


def test_a_batch_asks_at_the_places_of_its_rows() -> None:
    batch = Batch(ROWS, None, CPU)
    assert batch.inputs.tolist() == [[1, 2, 3, 0, 0], [4, 5, 6, 7, 8], [9, 0, 0, 0, 0]]
    assert batch.places.tolist() == [1, 2, 9, 10]
    assert batch.tokens.tolist() == [3, 3, 3, 3]
    assert batch.segments.tolist() == [0, 0, 1, 2]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [1 / 6, 1 / 6, 1 / 3, 1 / 3]),
        ({"of": 6}, [1 / 12, 1 / 12, 1 / 6, 1 / 6]),
        ({"per_token": True}, [1 / 4] * 4),
        ({"per_token": True, "of": 8}, [1 / 8] * 4),
        ({"of": float("inf")}, [0.0] * 4),
    ],
)
def test_tokens_weigh_as_the_mean_over_examples_or_tokens_has_it(
    options: dict[str, Any], expected: list[float]
) -> None:
    assert Batch(ROWS, None, CPU, **options).weights.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("top", [None, 1])
def test_log_probabilities_in_a_batch_are_those_of_rows_by_themselves(neox: Path, top: int | None) -> None:
    network = Network(load_model(str(neox)), top, "fp32")
    batch = Batch(ROWS, network.lower(ROWS, [[2, 0], [1]]), CPU)
    expected = [by_itself(network, one) for one in ROWS]
    with torch.no_grad():
        np.testing.assert_allclose(network.log_probs(batch), np.concatenate(expected), atol=1e-4)
        assert float(network.loss(batch)) == pytest.approx(-np.mean([np.mean(one) for one in expected]), rel=1e-4)


def test_weights_come_back_from_memory(network: Network) -> None:
    with torch.no_grad():
        for weight in network.trainable:
            weight.add_(1.0)
    network.restore()
    assert all(torch.equal(one, was) for one, was in zip(network.trainable, network.initial, strict=True))
    saved = {name: weight + 2.0 for name, weight in zip(network.names, network.initial, strict=True)}
    network.load(saved)
    assert all(torch.equal(weight, saved[name]) for name, weight in zip(network.names, network.trainable, strict=True))


def test_some_weights_alone_are_trained_from_what_they_are(network: Network) -> None:
    names = network.names[1:3]
    with torch.no_grad():
        network.trainable[1].add_(1.0)
    changed = network.trainable[1].detach().clone()
    network.train_only(names)
    assert network.names == names
    assert {name for name, weight in network.model.named_parameters() if weight.requires_grad} == set(names)
    torch.testing.assert_close(network.initial[0], changed)


def test_dropout_is_on_in_training_unless_it_is_left_out(neox: Path) -> None:
    for dropout in (True, False):
        network = Network(load_model(str(neox)), None, "fp32", dropout=dropout)
        network.switch(training=True)
        assert network.model.training is dropout
        network.switch(training=False)
        assert not network.model.training


def test_a_model_whose_answers_are_as_its_own_passes_the_check(network: Network) -> None:
    network.check(ROWS)
    assert not network.model.training
    assert network.precision == "fp32"


def test_weights_that_are_not_whole_are_refused(network: Network) -> None:
    with torch.no_grad():
        network.trainable[0].fill_(torch.nan)
    with pytest.raises(DataError, match="GPTNeoXForCausalLM can't be recorded: its log-probabilities aren't finite"):
        network.check(ROWS)


def test_a_model_that_draws_lots_is_refused(neox: Path) -> None:
    loaded = load_model(str(neox))
    loaded.model.get_output_embeddings().register_forward_hook(lambda *given: given[-1] + torch.rand(given[-1].shape))
    with pytest.raises(DataError, match="it gives other log-probabilities each time it is asked the same"):
        Network(loaded, None, "fp32")
