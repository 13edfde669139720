"""The prompts that a model answers, and where each answer ends."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from gptfl.core import Example, fingerprint
from gptfl.core.curriculum import generator
from gptfl.core.examples import references_of
from gptfl.training.tokenization import Tokenizer

ROOM = 1.5
"""How much longer than the longest reference an answer may grow, unless given ..."""
MOST_TOKENS = 256
"""... but no longer than this."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """How answers are made: ``greedy`` or ``nucleus``, at most ``tokens`` long (None: by the references).

    ``seed`` and each example's id and texts determine what ``nucleus`` draws.
    """

    how: str = "greedy"
    tokens: int | None = None
    seed: int = 0


class Prompts:
    """The test prompts as tokens, and where the answer to each ends.

    That is before the model's end-of-text token, at ``limit`` tokens, or where prompt and answer fill
    ``--max-length``. Where none of the example's references holds a line break, the answer is its first line, white
    space before it apart.
    """

    def __init__(self, tokenizer: Tokenizer, test: Sequence[Example], decoding: Decoding, choices: bool) -> None:
        self.tokenizer: Any = tokenizer.tokenizer
        references = [references_of(example) for example in test]
        self.limit = self._longest(references) if decoding.tokens is None else decoding.tokens
        self.ids = [tokenizer.prompt(example, "test", choices) for example in test]
        self.rooms = [min(self.limit, tokenizer.max_length - len(ids)) for ids in self.ids]
        self.one_line = [not any("\n" in text for text in texts) for texts in references]
        self.uniforms = _draws(test, decoding.seed, self.limit) if decoding.how == "nucleus" else None
        self._breaks: dict[int, bool] = {}

    def _longest(self, references: Sequence[Sequence[str]]) -> int:
        encode = self.tokenizer.encode
        longest = max(len(encode(f" {text}", add_special_tokens=False)) for texts in references for text in texts)
        return min(MOST_TOKENS, math.ceil(ROOM * longest))

    def is_finished(self, index: int, answer: Sequence[int]) -> bool:
        """Whether nothing that may follow these tokens would count; asked of an answer at every token."""
        if len(answer) >= self.rooms[index]:
            return True
        if not self.one_line[index] or not self._breaks_line(answer[-1]):
            return False
        return "\n" in self._decode(answer).lstrip()

    def text(self, index: int, answer: Sequence[int]) -> str:
        """The answer in words, without the white space before it."""
        text = self._decode(answer).lstrip()
        return text.partition("\n")[0] if self.one_line[index] else text

    def _breaks_line(self, token: int) -> bool:
        if token not in self._breaks:
            self._breaks[token] = "\n" in self._decode([token])
        return self._breaks[token]

    def _decode(self, ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text


def _draws(test: Sequence[Example], seed: int, tokens: int) -> Float[np.ndarray, "test token"]:
    """A number from 0 to 1 for every token of every example: the same at every step and in every batch."""
    keys = [int(fingerprint(example.id, example.digest), 16) for example in test]
    return np.stack([generator(seed, key).random(tokens) for key in keys])
