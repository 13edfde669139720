"""Sketches of single tokens' gradients: their mean is the sketch of their example."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gptfl.training.gradient_sketches import POWERS, SketchSetup
from gptfl.training.gradients.projection import sketch_each
from gptfl.training.token_gradients import by_token, sketch_tokens, token_texts
from tests.training.test_trainer import TEST, make


@pytest.fixture
def setup(neox: Path) -> SketchSetup:
    return SketchSetup.of(make(neox), 64)


LONG = next(place for place, one in enumerate(TEST) if one.target == " red sea")


def test_one_example_is_as_many_rows_as_its_target_has_tokens(setup: SketchSetup) -> None:
    row = setup.test.rows[LONG]
    side = by_token(setup.test, LONG)
    assert len(side) == len(row.tokens) == 2
    for place, one in enumerate(side.rows):
        assert one.input_ids == row.input_ids
        assert (one.positions.tolist(), one.tokens.tolist()) == ([row.positions[place]], [row.tokens[place]])
        assert one.segments.tolist() == [0]
    assert side.hidden is None
    hidden = type(setup.test)(setup.test.rows, [torch.full((2, 3), float(i)) for i in range(len(setup.test))])
    assert [float(one[0, 0]) for one in by_token(hidden, LONG).hidden or ()] == [LONG, LONG]


@pytest.mark.parametrize("divided", [False, True])
def test_the_mean_over_tokens_is_the_examples_own_sketch(setup: SketchSetup, divided: bool) -> None:
    weights = setup.tape.network.trainable

    def denominator(place: int, rows: slice, gradients: torch.Tensor) -> torch.Tensor:
        return weights[place][rows].detach().abs().flatten() + 1.0

    given = denominator if divided else None
    found = sketch_tokens(setup, LONG, 5, given)
    assert list(found) == (["raw", "split"] if divided else ["raw"])
    _, (request, *_) = setup.requests(5)
    (whole,) = sketch_each(setup.tape, setup.test.take([LONG]), [request], given)
    for one, expected in zip(found.values(), whole, strict=True):
        assert one.shape == (2, 64)
        np.testing.assert_allclose(one.mean(axis=0), expected[0], rtol=1e-3, atol=1e-5)
    assert POWERS[1:] == (0.5,)


def test_tokens_are_texts_by_themselves(setup: SketchSetup, neox: Path) -> None:
    tokenizer = make(neox).network.loaded.tokenizer
    assert "".join(token_texts(setup.test.rows[LONG], tokenizer)) == " red sea"
