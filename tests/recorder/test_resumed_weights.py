"""Weights of a run that goes on, held against those that it had."""

from typing import Any

import torch

from gptfl.recorder.resumed_weights import say_other_weights, trained_digests


def model() -> Any:
    torch.manual_seed(0)
    found = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)).to(torch.bfloat16)
    found[0].weight.requires_grad_(False)
    return found


def said(now: Any, known: dict[str, str]) -> list[str]:
    lines: list[str] = []
    say_other_weights(now, known, 3, lines.append)
    return [line.partition(" of the run, as where")[0] for line in lines]


def test_the_same_weights_are_no_others() -> None:
    known = trained_digests(model())
    assert list(known) == ["0.bias", "1.weight", "1.bias", "2.weight", "2.bias"]
    assert said(model(), known) == []


def test_one_bit_is_another_weight_and_what_isnt_trained_is_none() -> None:
    known, now = trained_digests(model()), model()
    with torch.no_grad():
        now[0].weight.add_(1.0)
        now[1].bias[0] = -now[1].bias[0]
    assert said(now, known) == ["1.bias is not as at step 3"]
    with torch.no_grad():
        for one in now.parameters():
            one.mul_(-1.0)
    assert said(now, known) == ["0.bias, 1.weight, 1.bias and 2 more are not as at step 3"]


def test_of_what_isnt_known_nothing_is_said() -> None:
    assert said(model(), {}) == []
    assert trained_digests(None) == trained_digests(lambda: 0) == {}
    assert said(model(), {"lost": "x"}) == ["lost is not as at step 3"]
