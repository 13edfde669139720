"""Sketches of the gradients of single target tokens."""

import numpy as np
from jaxtyping import Float

from gptfl.training.gradient_sketches import POWERS, SketchSetup
from gptfl.training.gradients.denominators import Denominator, of_whole
from gptfl.training.gradients.projection import Projection, ProjectionRequest, sketch_each
from gptfl.training.gradients.sides import Side
from gptfl.training.token_rows import TokenRow


def token_texts(row: TokenRow, tokenizer: object) -> tuple[str, ...]:
    """The target's tokens as text, each by itself."""
    decode = tokenizer.decode  # type: ignore[attr-defined]
    return tuple(decode([int(token)], clean_up_tokenization_spaces=False) for token in row.tokens)


def by_token(side: Side, example: int) -> Side:
    """One example as many rows as its target has tokens, each asking for one of them."""
    row = side.rows[example]
    rows = [
        TokenRow(row.input_ids, row.positions[place : place + 1], row.tokens[place : place + 1], row.segments[:1] * 0)
        for place in range(len(row.tokens))
    ]
    return Side(rows, None if side.hidden is None else [side.hidden[example]] * len(rows))


def sketch_tokens(
    setup: SketchSetup, example: int, seed: int, denominator: Denominator | None
) -> dict[str, Float[np.ndarray, "token d"]]:
    """Sketches of the gradient of each target token's loss of a test example, with the projection of the others.

    ``raw``, and where there is a denominator ``split``, divided by its root. Their means are the example's own
    sketches.

    Args:
        setup: the tape, the test examples, the dimensions and the memory that may be taken.
        example: place of the test example.
        seed: of the projection.
        denominator: of the point of the reference run; None where there is none yet.
    """
    like = setup.tape.network.trainable[0]
    if denominator is not None:
        denominator = of_whole(denominator, setup.tape.record(setup.test.take([example])))
    requests = [ProjectionRequest(Projection(setup.dimensions, seed, like), POWERS[1:])]
    (found,) = sketch_each(setup.tape, by_token(setup.test, example), requests, denominator, setup.memory)
    return {name: one.cpu().numpy().astype(np.float32) for name, one in zip(("raw", "split"), found, strict=False)}
