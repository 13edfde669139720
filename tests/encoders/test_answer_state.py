"""The encoder ``answer-state`` against the model's own forward pass, one example at a time."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from gptfl.core import Example
from gptfl.encoders import AnswerState, answer_state
from gptfl.encoders.answer_state import ErrorSketch
from gptfl.errors import DataError, UsageError
from gptfl.testing import check_encoder
from gptfl.testing.synthetic import make_dynamics
from gptfl.training.load import load_model

POOL = tuple(
    Example(f"p{i}", prompt, target)
    for i, (prompt, target) in enumerate(
        [("the sun is red ?", " yes"), ("who sees it", " red sea"), ("is it", " blue moon and sun"), ("a land", " no")]
    )
)
TEST = (Example("t0", "the moon was blue and the sea is", " red"), Example("t1", "shine on", " no"))


def by_hand(folder: Path, example: Example) -> tuple[np.ndarray, list[float], torch.Tensor]:
    """State, statistics, and the gradient of the loss by the output layer's weights, by autograd."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompt, target = tokenizer.encode(example.prompt), tokenizer.encode(example.target, add_special_tokens=False)
    out = model(torch.tensor([prompt + target]), output_hidden_states=True)
    places = range(len(prompt) - 1, len(prompt) + len(target) - 1)
    logits = out.logits[0, list(places)]
    state = out.hidden_states[-1][0, list(places)].mean(0)
    logs = logits.log_softmax(-1)
    loss = -torch.stack([row[token] for row, token in zip(logs, target, strict=True)]).mean()
    chance = torch.stack([row.exp()[token] for row, token in zip(logs, target, strict=True)]).mean()
    entropy = -(logs.exp() * logs).sum(1).mean()
    margins = []
    for row, token in zip(logits, target, strict=True):
        others = torch.cat([row[:token], row[token + 1 :]])
        margins.append(row[token] - others.max())
    (gradient,) = torch.autograd.grad(loss, model.get_output_embeddings().weight)
    statistics = [float(x.detach()) for x in (loss, chance, entropy, torch.stack(margins).mean())]
    return state.detach().numpy(), statistics, gradient


def test_it_gives_what_the_model_does_at_the_targets(neox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_state, "TOKENS", 3)
    sets = AnswerState(str(neox), dimensions=30_000, device="cpu").encode(POOL, TEST)
    assert {name: one.kind for name, one in sets.items()} == {
        "state": "state",
        "statistics": "state",
        "error": "gradient",
    }
    whole = {name: np.concatenate([one.train, one.test]) for name, one in sets.items()}
    gradients = []
    for place, example in enumerate((*POOL, *TEST)):
        state, statistics, gradient = by_hand(neox, example)
        np.testing.assert_allclose(whole["state"][place], state, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(whole["statistics"][place], statistics, rtol=1e-3, atol=1e-4)
        gradients.append(gradient.flatten())
    exact = torch.stack(gradients) @ torch.stack(gradients).T
    lengths = exact.diagonal().sqrt()
    error = (whole["error"] @ whole["error"].T - exact.numpy()) / np.outer(lengths, lengths)
    assert np.abs(error).max() < 0.08


def test_projected_errors_have_the_right_products_on_average() -> None:
    random = torch.Generator().manual_seed(2)
    head = torch.nn.Linear(6, 11, bias=False)
    hidden, tokens = torch.randn(5, 6, generator=random), torch.tensor([3, 0, 10, 7, 7])
    owners, weights = torch.tensor([0, 0, 1, 2, 2]), torch.tensor([0.5, 0.5, 1.0, 0.5, 0.5])
    with torch.no_grad():
        wrong = head(hidden).softmax(-1)
        wrong[range(5), tokens] -= 1
        outer = torch.einsum("t,tv,th->tvh", weights, wrong, hidden)
        exact = torch.zeros(3, 11, 6).index_add_(0, owners, outer).flatten(1)
        found = []
        for seed in range(400):
            _, one = ErrorSketch(head, 6, 16, seed)(hidden, tokens, owners, weights, 3)
            found.append(one @ one.T)
    values = torch.stack(found)
    error = (values.mean(0) - exact @ exact.T) / (values.std(0) / 20)
    assert float(error.abs().max()) < 4


def test_it_keeps_every_promise_of_an_encoder(neox: Path) -> None:
    check_encoder(AnswerState, model=str(neox), device="cpu", dimensions=16, pool=POOL, test=TEST)


def recording(**settings: object) -> Any:
    from dataclasses import replace

    return replace(make_dynamics(2), settings=settings)


def test_it_takes_the_recorded_model_and_length(neox: Path) -> None:
    load_model(str(neox))  # a file has only such models loaded as the user has named before
    encoder = AnswerState(device="cpu")
    encoder.use_recording(recording(model="old", source=str(neox), max_length=6))
    assert encoder.identity()["model"] == str(neox)
    assert encoder.identity()["max_length"] == 6
    encoder.encode(POOL, TEST)
    assert "prompts do not fit into 6 tokens" in encoder.notes[-1]
    named = AnswerState(str(neox), max_length=9, device="cpu")
    named.use_recording(recording(model="gone"))
    assert named.identity()["max_length"] == 9


def test_features_of_other_tokens_are_not_mixed_with_older_ones(neox: Path) -> None:
    """Where the recorded prompts end inside tokens, older features had others."""
    from dataclasses import replace

    one = recording(model=str(neox))
    merged = replace(one, pool=(Example("p0", "is it ", "red"), *one.pool[1:]))
    identities = []
    for used in (one, merged):
        encoder = AnswerState(str(neox), device="cpu")
        encoder.use_recording(used)
        identities.append(encoder.identity())
    assert identities[1] == {**identities[0], "tokenization": "whole text"}
    assert "tokenization" not in identities[0]


def test_no_tokens_are_kept_of_examples_that_are_done(neox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    monkeypatch.setattr(answer_state, "EXAMPLES", 1)
    one = recording(model=str(neox))
    merged = replace(one, pool=(*one.pool[1:], Example("p0", "is it ", "red")))
    encoder = AnswerState(str(neox), device="cpu")
    encoder.use_recording(merged)
    assert encoder.identity()["tokenization"] == "whole text", "the last one differs"
    whole = encoder.encode(POOL, TEST)
    texts = set(encoder._tokenizer.splitter._ids)
    again = encoder.encode(POOL[:1], TEST[:1])
    assert len(encoder._tokenizer.splitter._ids) < len(texts)
    np.testing.assert_allclose(again["state"].train[0], whole["state"].train[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "does not say which model it was made with: name one: --set model=pythia-70m"),
        (
            {"model": "nonesuch"},
            "names the model nonesuch, which you have not used here yet.*: if you want that: --set model=nonesuch",
        ),
    ],
)
def test_a_model_that_cannot_be_told_is_refused(settings: dict[str, object], message: str) -> None:
    encoder = AnswerState()

    def identify() -> None:
        encoder.use_recording(recording(**settings))
        encoder.identity()

    with pytest.raises(DataError, match=message):
        identify()
    with pytest.raises(DataError, match="encoder answer-state needs a model"):
        AnswerState().identity()


def test_other_weights_than_the_recorded_ones_are_refused(neox: Path) -> None:
    load_model(str(neox))
    encoder = AnswerState(device="cpu")
    encoder.use_recording(recording(model=str(neox), weights="0123"))
    with pytest.raises(DataError, match=r"has other weights \(.*\) than the recording was made with \(0123\)"):
        encoder.identity()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dimensions": 0}, "encoder answer-state: dimensions is 0: give a whole number of at least 1"),
        ({"max_length": 1}, "max_length is 1: give a whole number of at least 2"),
        ({"model": 3}, "model is 3"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        AnswerState(**settings)
