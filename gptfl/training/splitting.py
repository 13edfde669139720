"""Where a prompt ends among the tokens of a whole text: prompt and target are tokenized as one text."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from jaxtyping import Int
from tokenizers.processors import Sequence as NoProcessing

from gptfl.errors import DataError
from gptfl.training.timed import split_in_time

PROBES = ("a", "the", "0", "?")
"""Texts that show what a tokenizer puts around any text."""

Ids = Int[np.ndarray, " token"]


@dataclass(frozen=True, slots=True)
class Boundary:
    """How many tokens of a whole text come before its target, and whether the prompt ends ``inside`` the next one."""

    tokens: int
    inside: bool = False


class Splitter:
    """Tokenizes texts without special tokens, each once, and finds where prompts end in them.

    ``lead`` is what the tokenizer puts before every text; what it puts behind is left out. Raises ``DataError`` where
    a text's own tokens aren't among those that it makes of it with special ones.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.lead, self.closing = added_tokens(tokenizer)
        self._ids: dict[str, Ids] = {}
        self._boundaries: dict[tuple[str, str], Boundary] = {}

    @cached_property
    def start(self) -> int | None:
        """The token that stands before a text with nothing in front; see ``start_token``."""
        return start_token(self.tokenizer)

    @cached_property
    def special(self) -> frozenset[int]:
        """The ids of all special tokens."""
        return frozenset(self.tokenizer.all_special_ids)

    def read(self, texts: Iterable[str]) -> None:
        """Tokenize those that aren't known yet, all at once."""
        new = [text for text in dict.fromkeys(texts) if text not in self._ids]
        if new:
            more = {"return_attention_mask": False, "return_token_type_ids": False}
            made = split_in_time(
                lambda: self.tokenizer(new, add_special_tokens=False, verbose=False, **more)["input_ids"],
                sum(map(len, new)),
                type(self.tokenizer).__name__,
            )
            self._ids.update((text, np.array(ids, dtype=np.int32)) for text, ids in zip(new, made, strict=True))

    def forget(self) -> None:
        """Let go of all texts, which are tokenized again where they are asked for."""
        self._ids.clear()
        self._boundaries.clear()

    def ids(self, text: str) -> Ids:
        """The tokens of a text."""
        self.read((text,))
        return self._ids[text]

    def boundary(self, prompt: str, answer: str) -> Boundary:
        """Where the prompt ends in the tokens of both together.

        That is where its own tokens end, if the whole text begins with them. Else the answer begins with the token
        that holds its first character, by the tokenizer's offsets or, where it gives none, by the tokens' text.
        """
        own, whole = self.ids(prompt), self.ids(prompt + answer)
        # Where it is an unknown word, the same token may stand for a longer one.
        known = not len(own) or own[-1] != self.tokenizer.unk_token_id
        if known and len(own) <= len(whole) and np.array_equal(whole[: len(own)], own):
            return Boundary(len(own))
        key = prompt, answer
        if key not in self._boundaries:
            found = self._by_offsets(prompt, prompt + answer)
            self._boundaries[key] = self._by_text(prompt, prompt + answer) if found is None else found
        return self._boundaries[key]

    def _by_offsets(self, prompt: str, text: str) -> Boundary | None:
        """None where the tokenizer gives no offsets of these very tokens."""
        encoding = None if self._plain is None else self._plain.encode(text, add_special_tokens=False)
        if encoding is None or encoding.ids != self.ids(text).tolist():
            return None
        spans = encoding.offsets
        end = len(prompt)
        place = next((i for i, span in enumerate(spans) if span[1] > end), len(spans))
        first = spans[place][0] if place < len(spans) else len(text)
        if place and first > end and text[end:first].strip():
            # A normaliser made one character of both sides, as of e and an accent; its tokens count from the first.
            joined = spans[place - 1]
            while place and spans[place - 1] == joined:
                place -= 1
            first = joined[0]
        return Boundary(place, first < end)

    def _by_text(self, prompt: str, text: str) -> Boundary:
        own, whole = self.ids(prompt), self.ids(text)
        shorter = min(len(own), len(whole))
        differ = np.flatnonzero(own[:shorter] != whole[:shorter])
        place = int(differ[0]) if len(differ) else shorter
        said = self._decoded(whole[:place])
        for count in range(place + 1, len(whole) + 1):
            more = self._decoded(whole[:count])
            if len(more) > len(prompt):
                break
            if prompt.startswith(more):  # half a character is no part of the prompt yet, but may become one
                place, said = count, more
        return Boundary(place, said != prompt)

    def _decoded(self, ids: Ids) -> str:
        text: str = self.tokenizer.decode(ids.tolist(), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text

    @cached_property
    def _plain(self) -> Any:
        """The tokenizer without what comes after tokenizing, which would trim the offsets; None if it has no offsets."""
        if not getattr(self.tokenizer, "is_fast", False):
            return None
        plain = copy.deepcopy(self.tokenizer.backend_tokenizer)
        plain.post_processor = NoProcessing([])
        plain.no_truncation()
        plain.no_padding()
        return plain


def start_token(tokenizer: Any) -> int | None:
    """A tokenizer's BOS, else its EOS, which parts texts in training; None where it has neither."""
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    found = eos if bos is None else bos
    return None if found is None else int(found)


def _both_ways(tokenizer: Any, text: str) -> tuple[list[int], list[int]]:
    return list(tokenizer.encode(text, add_special_tokens=False)), list(tokenizer.encode(text))


def added_tokens(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What a tokenizer puts before and behind every text."""
    for probe in PROBES:
        own, made = split_in_time(partial(_both_ways, tokenizer, probe), len(probe), type(tokenizer).__name__)
        places = [i for i in range(len(made) - len(own) + 1) if made[i : i + len(own)] == own]
        if own and len(places) == 1:
            return tuple(made[: places[0]]), tuple(made[places[0] + len(own) :])
    raise DataError(
        f"{type(tokenizer).__name__} makes other tokens of a text when it adds special ones",
        "use a model whose tokenizer puts special tokens before or behind a text only",
    )
