"""Listening at a network's layers, and leaving it as it was."""

from pathlib import Path

import pytest
import torch

from gptfl.errors import DataError, UsageError
from gptfl.training.gradients.projection import sketch
from gptfl.training.gradients.tape import Tape
from gptfl.training.reference_run import check_against_autograd
from tests.models import save_small
from tests.training.gradients.conftest import Case, make_case


def test_what_the_network_was_doing_is_left_as_it_was(tmp_path: Path) -> None:
    case = make_case(save_small(tmp_path, "gpt2", blocks=1, width=16), None)
    case.network.switch(training=True)
    case.network.precision = "bf16"
    case.tape.record(case.pool)
    assert case.network.model.training
    assert case.network.precision == "bf16"
    assert all(weight.grad is None for weight in case.network.trainable)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in case.network.model.modules())


def test_some_weights_alone(case: Case) -> None:
    tape = Tape(case.network, "*mlp*")
    check_against_autograd(tape, case.pool)
    columns = torch.cat(
        [
            torch.full((p.numel(),), "mlp" in name)
            for name, p in zip(case.network.names, case.network.trainable, strict=True)
        ]
    )
    exact = case.gradients(case.pool)[:, columns]
    found = sketch(tape, case.pool, 60_000, 1)
    error = (found @ found.T - exact @ exact.T) / (exact.norm(dim=1)[:, None] * exact.norm(dim=1))
    assert float(error.abs().max()) < 0.1
    with pytest.raises(UsageError, match=r"sketch_modules '\*foo' fits no trained weight of .*: give a pattern"):
        Tape(case.network, "*foo")


def test_gradients_of_some_examples_are_those_among_all(case: Case) -> None:
    whole, some = case.tape.record(case.pool), case.tape.record(case.pool.take([3, 0]))
    assert (whole.count, some.count) == (len(case.pool), 2)
    exact = case.gradients(case.pool)[[3, 0]]
    first = 0
    for place, weight in enumerate(case.network.trainable):
        expected = exact[:, first : first + weight.numel()]
        first += weight.numel()
        if place in some.held:
            off = case.tolerance
            torch.testing.assert_close(
                some.held[place].dense(2), expected, rtol=off, atol=off * float(expected.abs().max() + 1)
            )
        else:
            assert not expected.any()


def test_weights_that_are_spread_are_refused(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(case.network, "sharded", True)
    with pytest.raises(DataError, match="can't be computed while --shard spreads the weights"):
        Tape(case.network)
