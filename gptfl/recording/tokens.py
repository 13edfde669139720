"""Whether a recording's prompts and targets became the same tokens as they would now."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gptfl.core import Example, RecordingSettings
from gptfl.errors import DataError

if TYPE_CHECKING:
    from gptfl.training.tokenization import Tokenizer
    from gptfl.training.trainer import RecordingTrainer


WHOLE = "whole text"
"""The setting ``tokenization`` of recordings whose tokens are others than those of prompt and target tokenized apart.

Recordings were made so before there was the setting. Where the tokens are the same, it is left out.
"""


def mark_tokens(settings: RecordingSettings, trainer: "RecordingTrainer") -> RecordingSettings:
    """The settings, which note it where tokenizing prompt and target as one text makes a difference."""
    tokenizer, evaluator = trainer.tokenizer, trainer.evaluator
    if tokenizer.differing(trainer.pool) or tokenizer.differing(evaluator.test, evaluator.choices):
        return settings.having(tokenization=WHOLE)
    return settings


def check_tokens(
    settings: RecordingSettings,
    tokenizer: "Tokenizer",
    pool: Sequence[Example],
    test: Sequence[Example],
    choices: bool,
    where: str = "the recording",
) -> None:
    """Refuse a recording whose examples became other tokens than they would now. Examples without texts can't be checked.

    Args:
        settings: of the recording; those that say how texts were tokenized need no check.
        tokenizer: the model's, as it reads texts now.
        pool: the training examples.
        test: the test examples.
        choices: whether answers to choose from are read, too.
        where: what to call the recording in the error.

    Raises ``DataError`` with the first example that differs.
    """
    if "tokenization" in settings:
        return
    sides = [[example for example in side if example.text] for side in (pool, test)]
    differing = (*tokenizer.differing(sides[0]), *tokenizer.differing(sides[1], choices))
    if differing:
        raise DataError(
            f"{where} was recorded with prompt and target tokenized apart, which gives other tokens for "
            f"{len(differing)} of its examples, such as {differing[0]!r}",
            "record it again under another --name",
        )
