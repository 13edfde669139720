"""How much examples that a recording lacks count in the loss of a batch, where that goes by their tokens."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gptfl.core import Example, Progress
from gptfl.core.examples import weights_of
from gptfl.errors import DataError, ResourceError
from gptfl.recording.recording import OpenedRecording
from gptfl.recording.trainers import model_of, recipe_of

if TYPE_CHECKING:
    from gptfl.training.tokenization import Tokenizer

COUNTED = 16
"""The tokens of so many recorded examples are counted again: whether it is their tokenizer."""


def weighed_new(
    new: tuple[Example, ...], recording: OpenedRecording, model: str | None, progress: Progress
) -> tuple[tuple[Example, ...], tuple[str, ...]]:
    """New training examples, each with the number of tokens that it is trained on.

    Args:
        new: the examples, with texts.
        recording: that they lie beside; where its examples count alike in a batch, nothing changes.
        model: name or folder of the model whose tokenizer counts, None for the recording's.
        progress: called where a model is built.

    Where no tokenizer is to be had that counts as the recording's did, they stay as they are and count as the mean of its
    pool does; a note says so. Raises ``DataError`` for an example that can't be trained on, as it is too long or empty.
    """
    weights = weights_of(recording.dynamics.pool)
    if not new or weights is None:
        return new, ()
    found = _tokenizer(recording, model, progress)
    if not isinstance(found, str):
        known = [(one, int(weight)) for one, weight in zip(recording.dynamics.pool[:COUNTED], weights, strict=False)]
        shown = [(one, weight) for one, weight in known if one.text]
        if _counts(found, [one for one, _ in shown], "pool") == [weight for _, weight in shown]:
            counts = _counts(found, new, "new")
            return tuple(replace(one, weight=count) for one, count in zip(new, counts, strict=True)), ()
        found = "the tokenizer that is here gives recorded rows other tokens"
    return new, (
        f"each new row counts as one of {weights.mean():.3g} tokens, the pool's mean, for its own aren't known: {found}",
    )


def _tokenizer(recording: OpenedRecording, model: str | None, progress: Progress) -> "Tokenizer | str":
    """What reads texts as the recording's runs were trained on them; else why it isn't to be had."""
    from gptfl.training.load import load_tokenizer
    from gptfl.training.tokenization import Tokenizer

    recipe = recipe_of(recording.dynamics)
    try:
        name = model_of(recording, model)
        made, longest = load_tokenizer(name, progress)
    except (DataError, ResourceError) as error:
        return f"{error.problem} ({error.remedy})"
    more: dict[str, Any] = {"end_token": recipe.end_token, "template": recipe.chat_template, "name": f"--model {name}"}
    return Tokenizer(made, recipe.max_length, longest, **more)


def _counts(tokenizer: "Tokenizer", examples: Sequence[Example], flag: str) -> list[int]:
    """How many tokens each example is trained on."""
    from gptfl.training.tokenization import training_rows

    tokenizer.read(examples, flag)
    return [len(row.tokens) for row in training_rows(tokenizer, examples, flag)]
