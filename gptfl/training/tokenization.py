"""From examples to token rows: which tokens go in, and which log-probabilities are asked for."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from gptfl.core import Example
from gptfl.errors import DataError
from gptfl.training.chat import ChatTemplate
from gptfl.training.splitting import Splitter
from gptfl.training.token_notes import TokenCounts
from gptfl.training.token_rows import Encoded, Rows, TokenRow
from gptfl.training.turn_tokens import TurnTokens


class Tokenizer:
    """Tokenizes prompts and targets, each pair as one text, and counts what a user should know of it.

    A prompt that is too long loses its beginning, but not the tokens that every text starts with; a target or choice
    is never cut, but a plain text, which has no prompt, loses its end. ``limit`` is the most tokens of both, as ``option`` sets it, and ``model`` what the model can read.
    Conversations are tokenized as their chat template renders them, ``template`` or the tokenizer's own. ``end_token``
    says whether the token that ends an answer is a part of the target; None: of conversations. ``name`` is what messages
    call the model, and ``files`` where the examples of a side are from.
    """

    def __init__(
        self,
        tokenizer: Any,
        limit: int,
        model: int | None = None,
        option: str = "--max-length",
        *,
        end_token: bool | None = None,
        template: str | None = None,
        name: str = "the model",
        files: Mapping[str, str] | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.max_length = limit if model is None else min(limit, model)
        self.by_model = model == self.max_length
        self.option, self.files = option, files or {}
        self.splitter = Splitter(tokenizer)
        self.counts = TokenCounts()
        self.ends = bool(end_token)
        if self.ends and tokenizer.eos_token_id is None:
            raise DataError(f"--end-token: the tokenizer of {name} has no token that ends a text", "leave it out")
        chat = ChatTemplate(tokenizer, template, end_token is not False, name)
        self.turns = TurnTokens(self.splitter, chat, self.max_length, self._too_long)

    def read(self, examples: Sequence[Example], flag: str, choices: bool = False) -> None:
        """Tokenize these examples all at once, and count what ``notes`` tells of them."""
        for example in examples:
            if example.turns:
                self.counts.add_turns(example, flag, self.turns.marked(example, flag))
        answers_of_each = [(example, _answers(example, choices)) for example in examples if not example.turns]
        self.splitter.read(
            text for e, answers in answers_of_each for text in (e.prompt, *(e.prompt + a for a in answers))
        )
        for example, answers in answers_of_each:
            self.counts.add(example, answers, flag, self.encoded(example, flag, choices), self.splitter)

    def forget(self) -> None:
        """Let go of the tokens of all examples that were read, but not of what was counted."""
        self.splitter.forget()
        self.turns.forget()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of the examples that were read."""
        return self.counts.notes(self.max_length, self.by_model, self.tokenizer)

    def encoded(self, example: Example, flag: str, choices: bool = False, ended: bool = True) -> Encoded:
        """Tokens of the prompt, and of the target and of each choice by its text.

        The prompt is cut once, so that it fits with the longest of them into ``max_length``: choices are only
        comparable after the same prompt.

        Args:
            example: with texts.
            flag: what messages call it.
            choices: whether the answers to choose from are read, too.
            ended: whether targets keep the token that ends them, where they are to have one.

        Raises ``DataError`` where one of them doesn't fit or has no tokens.
        """
        lead, prompt = self.splitter.lead, example.prompt
        ends = {answer: self.splitter.boundary(prompt, answer) for answer in _answers(example, choices)}
        bodies = {answer: self.splitter.ids(prompt + answer).tolist() for answer in ends}
        for answer, body in bodies.items():
            if len(body) == ends[answer].tokens:
                what = _named(example, answer)
                raise DataError(f"{flag} example {example.id!r} has a {what} without tokens", "give it some text")
        shared = _common([body[: ends[answer].tokens] for answer, body in bodies.items()])
        answers = {answer: self._ended(body[len(shared) :], ended) for answer, body in bodies.items()}
        skipped = ends[example.target].tokens - len(shared)
        before = [*lead, *shared]
        if not before and self.splitter.start is not None:
            before = [self.splitter.start]
        unscored = not before
        if unscored:
            before, answers = self._unscored(example, flag, answers)
            skipped = max(0, skipped - 1)
        answers, ending = self._fitting(example, answers, len(before))
        kept = self._cut(before, self._room(example, flag, answers))
        inside = any(end.inside for end in ends.values())
        return Encoded(kept, answers, skipped, len(before) - len(kept), inside, unscored, ending)

    def _fitting(
        self, example: Example, answers: dict[str, list[int]], before: int
    ) -> tuple[dict[str, list[int]], int]:
        """A plain text without the end that doesn't fit, and how many tokens that is; others as they are."""
        ids, room = answers[example.target], self.max_length - before
        if example.prompt or len(answers) > 1 or not 0 < room < len(ids):
            return answers, 0
        return {example.target: ids[:room]}, len(ids) - room

    def prompt(self, example: Example, flag: str, choices: bool = False) -> list[int]:
        """The tokens that text is generated after: the prompt by itself, cut as ``encoded`` cuts it."""
        if example.turns:
            return self.turns.prompt(example, flag)
        alone = [*self.splitter.lead, *self.splitter.ids(example.prompt).tolist()]
        if not alone and self.splitter.start is None:
            raise DataError(
                f"{flag} example {example.id!r} has no prompt to generate text after, and the tokenizer no start token",
                "give it a prompt, or leave the metric of generated text out",
            )
        answers = self.encoded(example, flag, choices).answers
        return self._cut(alone or [int(self.splitter.start or 0)], self._room(example, flag, answers))

    def _unscored(
        self, example: Example, flag: str, answers: dict[str, list[int]]
    ) -> tuple[list[int], dict[str, list[int]]]:
        """With nothing to stand before it, the first token is fed and isn't asked for."""
        firsts = {ids[0] for ids in answers.values()}
        if len(firsts) > 1 or any(len(ids) < 2 for ids in answers.values()):
            raise DataError(
                f"{flag} example {example.id!r} has no prompt, and the tokenizer no start token to stand before its "
                f"{_named(example, min(answers, key=lambda answer: len(answers[answer])))}",
                "give it a prompt",
            )
        return list(firsts), {answer: ids[1:] for answer, ids in answers.items()}

    def _room(self, example: Example, flag: str, answers: dict[str, list[int]]) -> int:
        """How many tokens the prompt may have. Raises ``DataError`` where an answer leaves too few."""
        answer = max(answers, key=lambda answer: len(answers[answer]))
        room = self.max_length - len(answers[answer])
        least = max(1, len(self.splitter.lead))
        if room >= least:
            return room
        raise self._too_long(f"{flag} example {example.id!r}", len(answers[answer]), least, _named(example, answer))

    def _too_long(self, what: str, tokens: int, least: int, named: str = "last answer") -> DataError:
        file = self.files.get(what.partition(" ")[0])
        source = "" if file is None else f" of {file}"
        after = f", after {least} that the tokenizer begins every text with," if least > 1 else ""
        limit = f"the model reads at most {self.max_length}"
        remedy = "leave the example out, or use a model that reads longer texts"
        if not self.by_model:
            limit, remedy = f"{self.option} is {self.max_length}", f"raise {self.option}, or leave the example out"
        return DataError(f"the {named} of {what}{source} has {tokens} tokens{after} and {limit}", remedy)

    def _ended(self, ids: list[int], ended: bool) -> list[int]:
        eos = self.tokenizer.eos_token_id
        return [*ids, eos] if self.ends and ended and ids and ids[-1] != eos else ids

    def _cut(self, prompt: list[int], room: int) -> list[int]:
        """The prompt without what doesn't fit of its beginning; a start token stays, whoever put it there."""
        if len(prompt) <= room:
            return prompt
        head = len(self.splitter.lead)
        head += prompt[head] == self.tokenizer.bos_token_id
        head = min(head, room)
        return prompt[:head] + prompt[len(prompt) - room + head :]

    def differing(self, examples: Sequence[Example], choices: bool = False) -> tuple[str, ...]:
        """The ids of those whose tokens were others when prompt and answers were tokenized apart."""
        answers_of_each = [(example, _answers(example, choices)) for example in examples if not example.turns]
        self.splitter.read(text for example, answers in answers_of_each for text in (example.prompt, *answers))
        return tuple(
            e.id for e, answers in answers_of_each if self.rows_apart(e, answers) != self._together(e, choices)
        )

    def _together(self, example: Example, choices: bool) -> Rows | None:
        try:
            found = self.encoded(example, "", choices, ended=False)
        except DataError:
            return None
        rows = [((*found.prompt, *ids), len(ids)) for ids in found.answers.values()]
        return None if found.skipped else rows

    def rows_apart(self, example: Example, answers: Sequence[str]) -> Rows:
        """Rows as recordings before the setting ``tokenization`` had them."""
        eos, ids = self.tokenizer.eos_token_id, self.splitter.ids
        prompt = [*self.splitter.lead, *ids(example.prompt).tolist(), *self.splitter.closing]
        if len(prompt) > 1 and prompt[-1] == eos:
            prompt.pop()
        prompt = prompt or [self.splitter.start or 0]
        tokens = [ids(answer).tolist() for answer in answers]
        room = self.max_length - max(map(len, tokens))
        return [((*prompt[-room:], *own), len(own)) for own in tokens]


def _answers(example: Example, choices: bool) -> tuple[str, ...]:
    return tuple(dict.fromkeys((example.target, *(example.choices if choices else ()))))


def _named(example: Example, answer: str) -> str:
    return "target" if answer == example.target else f"choice {answer!r}"


def _common(lists: Sequence[list[int]]) -> list[int]:
    """What all begin with."""
    first = min(lists, key=len)
    same = (len(set(column)) == 1 for column in zip(*lists, strict=False))
    return first[: sum(itertools.takewhile(bool, same))]


def training_rows(
    tokenizer: Tokenizer, examples: Sequence[Example], flag: str = "pool", choices: bool = False
) -> list[TokenRow]:
    """One row an example: its target's tokens, all in segment 0; prompts as ``Tokenizer.encoded`` cuts them.

    Args:
        tokenizer: the model's.
        examples: to train on, or to measure.
        flag: what messages call them.
        choices: whether the answers to choose from are read, too.
    """
    rows = []
    for example in examples:
        if example.turns:
            rows.append(tokenizer.turns.marked(example, flag).row())
            continue
        found = tokenizer.encoded(example, flag, choices)
        answer = found.answers[example.target]
        rows.append(_row(found.prompt + answer[: found.skipped], answer[found.skipped :], 0))
    return rows


def _row(prompt: list[int], target: list[int], segment: int) -> TokenRow:
    positions = np.arange(len(prompt) - 1, len(prompt) + len(target) - 1)
    return TokenRow((*prompt, *target[:-1]), positions, np.array(target), np.full(len(target), segment))


@dataclass(frozen=True, slots=True)
class EvaluationRows:
    """The rows that answer for every test example, and how their sums are to be read.

    Segment e < ``len(examples)`` is the target of test example e; ``choice_segments[e]`` are the
    segments of its choices, each from the last token that all of them come after. Choices that share all fed
    tokens with the target (single-token answers) share its row, and so cost nothing more.
    """

    rows: tuple[TokenRow, ...]
    segments: int
    target_tokens: Int[np.ndarray, " test"]
    choice_segments: tuple[Int[np.ndarray, " choice"], ...] | None


def evaluation_rows(tokenizer: Tokenizer, test: Sequence[Example], choices: bool) -> EvaluationRows:
    """Lay out targets, and choices if asked, with as few rows as there are different inputs."""
    queries_of: dict[tuple[int, ...], list[tuple[int, int, int]]] = {}
    target_tokens = np.zeros(len(test), dtype=np.int64)
    segment = len(test)
    choice_segments = []

    def add(found: Encoded, answer: str, skipped: int, which: int) -> None:
        ids = found.answers[answer]
        queries = queries_of.setdefault((*found.prompt, *ids[:-1]), [])
        first = len(found.prompt) - 1
        queries.extend((first + i, token, which) for i, token in enumerate(ids) if i >= skipped)

    for index, example in enumerate(test):
        if example.turns:
            row = tokenizer.turns.marked(example, "test").row(index)
            queries = queries_of.setdefault(row.input_ids, [])
            queries.extend(zip(row.positions.tolist(), row.tokens.tolist(), row.segments.tolist(), strict=True))
            target_tokens[index] = len(row.tokens)
            choice_segments.append(np.zeros(0, dtype=np.int64))
            continue
        found = tokenizer.encoded(example, "test", choices)
        target_tokens[index] = len(found.answers[example.target]) - found.skipped
        add(found, example.target, found.skipped, index)
        if choices:
            mine = []
            for choice in example.choices:
                if choice == example.target and not found.skipped:
                    mine.append(index)
                    continue
                add(found, choice, 0, segment)
                mine.append(segment)
                segment += 1
            choice_segments.append(np.array(mine))
    rows = [
        TokenRow(ids, *(np.array(column) for column in zip(*queries, strict=True)))
        for ids, queries in queries_of.items()
    ]
    return EvaluationRows(tuple(rows), segment, target_tokens, tuple(choice_segments) if choices else None)
