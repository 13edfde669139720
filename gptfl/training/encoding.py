"""From examples to token rows: which tokens go in, and which log-probabilities are asked for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Int

from gptfl.errors import DataError
from gptfl.records import Example


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One sequence to feed, and the tokens whose log-probability is asked for at its positions.

    The last token of a target is asked for but never fed: nothing depends on what follows it.
    ``segments`` says, for each asked token, which sum its log-probability belongs to.
    """

    input_ids: tuple[int, ...]
    positions: Int[np.ndarray, " asked"]
    tokens: Int[np.ndarray, " asked"]
    segments: Int[np.ndarray, " asked"]


@dataclass
class Tokenizer:
    """Tokenizes prompts and targets, and counts what it had to cut.

    A prompt that is too long loses its far end (its beginning); a target or choice is never cut.
    """

    tokenizer: Any
    max_length: int
    cut_examples: int = 0
    cut_tokens: int = 0
    _prompts: dict[str, list[int]] = field(default_factory=dict)

    def pairs(self, example: Example, flag: str, choices: bool = False) -> tuple[list[int], dict[str, list[int]]]:
        """Token ids of the prompt, and of the target and with ``choices`` of each choice by its text.

        The prompt is cut once, so that it fits with the longest of them into ``max_length``: choices are
        only comparable after the same prompt.
        """
        asked = dict.fromkeys((example.target, *(example.choices if choices else ())))
        answers = {text: list(self.tokenizer.encode(text, add_special_tokens=False)) for text in asked}
        for text, ids in answers.items():
            what = "target" if text == example.target else f"choice {text!r}"
            if not ids:
                raise DataError(f"{flag} example {example.id!r} has a {what} without tokens", "give it some text")
            if len(ids) >= self.max_length:
                raise DataError(
                    f"the {what} of {flag} example {example.id!r} has {len(ids)} tokens and --max-length is "
                    f"{self.max_length}",
                    "raise --max-length, or leave the example out",
                )
        return self._prompt(example.prompt)[-(self.max_length - max(map(len, answers.values()))) :], answers

    def count_cuts(self, examples: Sequence[Example], flag: str, choices: bool = False) -> None:
        """Count the prompts that ``pairs`` cuts and their lost tokens."""
        for example in examples:
            lost = len(self._prompt(example.prompt)) - len(self.pairs(example, flag, choices)[0])
            if lost > 0:
                self.cut_examples += 1
                self.cut_tokens += lost

    def _prompt(self, prompt: str) -> list[int]:
        if prompt not in self._prompts:
            ids = list(self.tokenizer.encode(prompt))
            end = self.tokenizer.eos_token_id
            if len(ids) > 1 and ids[-1] == end:  # tokenizers that close every text would end the prompt too
                ids = ids[:-1]
            if not ids:
                start = self.tokenizer.bos_token_id if self.tokenizer.bos_token_id is not None else end
                ids = [start if start is not None else 0]
            self._prompts[prompt] = ids
        return self._prompts[prompt]


def training_rows(
    tokenizer: Tokenizer, examples: Sequence[Example], flag: str = "pool", choices: bool = False
) -> list[TokenRow]:
    """One row an example: its target's tokens, all in segment 0; prompts as ``Tokenizer.pairs`` cuts them."""
    rows = []
    for example in examples:
        prompt, answers = tokenizer.pairs(example, flag, choices)
        rows.append(_row(prompt, answers[example.target], 0))
    return rows


def _row(prompt: list[int], target: list[int], segment: int) -> TokenRow:
    positions = np.arange(len(prompt) - 1, len(prompt) + len(target) - 1)
    return TokenRow((*prompt, *target[:-1]), positions, np.array(target), np.full(len(target), segment))


@dataclass(frozen=True, slots=True)
class EvaluationRows:
    """The rows that answer for every test example, and how their sums are to be read.

    Segment e < ``len(examples)`` is the target of test example e; ``choice_segments[e]`` are the
    segments of its choices. Choices that share all fed tokens with the target (single-token
    answers) share its row, and so cost nothing more.
    """

    rows: tuple[TokenRow, ...]
    segments: int
    target_tokens: Int[np.ndarray, " test"]
    choice_segments: tuple[Int[np.ndarray, " choice"], ...] | None


def evaluation_rows(tokenizer: Tokenizer, test: Sequence[Example], choices: bool) -> EvaluationRows:
    """Lay out targets, and choices if asked, with as few rows as there are different inputs."""
    asked: dict[tuple[int, ...], list[tuple[int, int, int]]] = {}
    target_tokens = np.zeros(len(test), dtype=np.int64)
    segment = len(test)
    choice_segments = []

    def ask(prompt: list[int], target: list[int], which: int) -> None:
        queries = asked.setdefault((*prompt, *target[:-1]), [])
        queries.extend((len(prompt) - 1 + i, token, which) for i, token in enumerate(target))

    for index, example in enumerate(test):
        prompt, answers = tokenizer.pairs(example, "test", choices)
        target_tokens[index] = len(answers[example.target])
        ask(prompt, answers[example.target], index)
        if choices:
            mine = []
            for choice in example.choices:
                if choice == example.target:
                    mine.append(index)
                    continue
                ask(prompt, answers[choice], segment)
                mine.append(segment)
                segment += 1
            choice_segments.append(np.array(mine))
    rows = [
        TokenRow(ids, *(np.array(column) for column in zip(*queries, strict=True))) for ids, queries in asked.items()
    ]
    return EvaluationRows(tuple(rows), segment, target_tokens, tuple(choice_segments) if choices else None)
