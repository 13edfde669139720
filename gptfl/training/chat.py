"""What a chat template makes of a conversation, and which part of the text each answer is."""

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from gptfl.core import Example
from gptfl.core.turns import ASSISTANT, Turn
from gptfl.errors import DataError
from gptfl.training.confined import CallError, Confined, ExceededError
from gptfl.training.weight_files import printable

REMEDY = "give another one with --chat-template FILE"
MARKER = re.compile(r"\{%[-+]?\s*generation\s*[-+]?%\}")
"""Opens what a template marks as said by the assistant, for the masks of transformers."""
PROBE = "gptfl"
"""Stands for an answer."""
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Rendered:
    """The text of a conversation, and where in it each target begins and ends.

    ``ended`` says whether a token that ends the answer follows the last target in the template.
    """

    text: str
    targets: tuple[Span, ...]
    ended: bool = True


class ChatTemplate:
    """Renders conversations with a tokenizer's own chat template, or another one.

    What a template marks with ``{% generation %}`` are the answers, as in transformers' masks of the assistant's tokens.
    Of other templates an answer is found by the opening that ``add_generation_prompt`` adds. With ``end_token``, what the
    template ends an answer with is a part of it.
    """

    def __init__(self, tokenizer: Any, template: str | None, end_token: bool, model: str) -> None:
        self.tokenizer, self.template = tokenizer, template
        self.end_token = end_token
        self.model = model
        self._confined = Confined(self._apply)

    def rendered(self, example: Example, flag: str) -> Rendered:
        """A conversation as text.

        Raises ``DataError`` where there is no template, it can't render the turns, doesn't show an answer, or doesn't tell
        where one begins.
        """
        if self.template is None and not getattr(self.tokenizer, "chat_template", None):
            raise DataError(
                f"{self.model} has no chat template, and {flag} example {example.id!r} is a conversation",
                "give one with --chat-template FILE (of what was imported: as chat_template.jinja in the model's folder), or take "
                "a model that was made for chat, such as smollm2-135m-instruct",
            )
        turns, tools = example.turns, example.tools
        where = f"the chat template can't render {flag} example {example.id!r}"
        with _refused(where):
            text, spans = self._marked(turns, tools)
        if all(turn.target for turn in turns):
            return Rendered(text, ((0, len(text)),))
        what = f"{flag} example {example.id!r}"
        marked = self._by_turn(text, spans, turns, tools, what) if spans else {}
        targets: list[Span] = []
        ended, seen = True, 0
        for place, turn in enumerate(turns):
            if place in marked:
                targets += self._said(text, turn, marked[place]) if turn.target else ()
                seen, ended = max([seen, *(end for _, end in marked[place])]), True
                continue
            start, end, ended = self._answer(text, turns, place, tools, seen, by_words=bool(spans))
            if turn.target and start is None:
                raise DataError(
                    f"the chat template doesn't show message {place + 1} of {flag} example {example.id!r} as it is",
                    REMEDY,
                )
            if start is not None:
                seen = end
                if turn.target:
                    targets.append((start, end))
        if not targets:
            raise DataError(f"the chat template marks nothing of the answers of {what}", REMEDY)
        return Rendered(text, tuple(targets), ended)

    def prompt(self, example: Example, flag: str) -> str:
        """What a text is generated after: all before the last target, and the template's opening of an answer.

        Raises as ``rendered``.
        """
        turns, tools = example.turns, example.tools
        last = max(place for place, turn in enumerate(turns) if turn.target)
        with _refused(f"the chat template can't render {flag} example {example.id!r}"):
            text = self._render(turns[:last], tools, opening=True)
        header = self._unopened(turns, last, tools, text)
        if header is None:
            return text
        if not self._marks(tools):
            raise _unknown_beginning(header)
        return text + header

    def _marks(self, tools: Any) -> bool:
        """Whether the template marks what the assistant says."""
        try:
            return MARKER.search(self.tokenizer.get_chat_template(self.template, tools)) is not None
        except ValueError:  # of several templates none is for this, which rendering reports
            return False

    def _marked(self, turns: Sequence[Turn], tools: Any) -> tuple[str, list[Span]]:
        """A conversation as text, and what of it is marked as said by the assistant."""
        if not self._marks(tools):
            return self._render(turns, tools), []
        marks, _, text = self._confined([turn.message for turn in turns], tools, False, True).partition("\n")
        return text, [(start, end) for start, end in json.loads(marks) if start < end]

    def _by_turn(
        self, text: str, spans: list[Span], turns: Sequence[Turn], tools: Any, what: str
    ) -> dict[int, list[Span]]:
        """The marked parts of a text by the places of the assistant's messages.

        They are one each, or as many as there are more when a message follows those before it. Raises ``DataError`` where
        neither tells, unless all answers are asked for anyway.
        """
        answers = [place for place, turn in enumerate(turns) if turn.role == ASSISTANT]
        if len(spans) == len(answers):
            return {place: [span] for place, span in zip(answers, spans, strict=True)}
        counts = [0]
        for place in range(1, len(turns)):
            counts.append(self._count(turns[:place], tools, counts[-1]))
        counts.append(len(spans))
        found = {place: spans[counts[place] : counts[place + 1]] for place in answers}
        if all(0 <= one <= other for one, other in itertools.pairwise(counts)) and all(
            _shows(text, turns[place], some) for place, some in found.items()
        ):
            return found
        if answers and all(turns[place].target for place in answers):
            return {**{place: [] for place in answers}, answers[-1]: spans}
        raise DataError(
            f"the chat template marks {len(spans)} parts of {what}, which has {len(answers)} answers, so that those of "
            "each aren't known",
            "take --loss-on assistant, or give a template that marks each answer once with --chat-template FILE",
        )

    def _count(self, turns: Sequence[Turn], tools: Any, before: int) -> int:
        """How many parts are marked of the first turns, -1 where the template takes none but whole conversations.

        A message that isn't the assistant's adds none.
        """
        if turns[-1].role != ASSISTANT:
            return before
        try:
            with _refused("the chat template can't render a part of a conversation"):
                return len(self._marked(turns, tools)[1])
        except _TemplateError:
            return -1

    def _said(self, text: str, turn: Turn, spans: list[Span]) -> list[Span]:
        """The marked parts of an answer, without what ends it where that isn't wanted."""
        if self.end_token or turn.more.get("tool_calls") or not spans:
            return spans
        (start, end), words = spans[-1], turn.content.strip()
        at = text.find(words, start, end)
        said = (
            at + len(words) + (len(_tail(turn.content)) if text.startswith(_tail(turn.content), at + len(words)) else 0)
        )
        return spans if at < 0 else [*spans[:-1], (start, min(said, end))]

    def _unopened(self, turns: Sequence[Turn], place: int, tools: Any, before: str) -> str | None:
        """What the template puts in front of an answer though it didn't when it was asked to open one; None for nothing.

        ``before`` is what it renders of the turns before ``place`` with the opening of an answer.
        """
        if self._try(turns[:place], tools, False) != before:
            return None
        # What else a message has, thoughts and calls, would stand in front, too.
        bare = Turn(turns[place].role, PROBE)
        whole = self._try([*turns[:place], bare], tools, False)
        if whole is None or not whole.startswith(before):
            return None
        header, found, _ = whole[len(before) :].partition(PROBE)
        return header if found and header.strip() else None

    def _answer(
        self, text: str, turns: Sequence[Turn], place: int, tools: Any, seen: int, by_words: bool
    ) -> tuple[int | None, int, bool]:
        """Where a turn's own text begins and ends in the whole, and whether the template ends it with a token.

        That is what the whole has more than what is rendered of the turns before, with the opening of an answer. Where a
        template renders these otherwise, or it is asked ``by_words``, the words of the turn are looked for behind the turn
        before.
        """
        turn = turns[place]
        words = turn.content.strip()
        if not turn.target:
            at = text.find(words, seen)
            return (None, seen, True) if at < 0 else (at, at + len(words), True)
        before = None if by_words else self._try(turns[:place], tools, True)
        after = None if by_words else self._try(turns[: place + 1], tools, False)
        start = len(before) if before is not None and seen <= len(before) and text.startswith(before) else None
        at = text.find(words, seen if start is None else start)
        if start is not None and before is not None and (text[start:at].strip() or not words):
            header = self._unopened(turns, place, tools, before)
            if header is not None:
                raise _unknown_beginning(header)
        if at < 0 or (start is None and not words):
            return None, seen, True
        said = at + len(words)
        said += len(_tail(turn.content)) if text.startswith(_tail(turn.content), said) else 0
        start = at if start is None else start
        end = len(after) if after is not None and len(after) >= said and text.startswith(after) else None
        tail = text[said : said + len(text)] if end is None else text[said:end]
        closed = self._closing(tail, whole=end is not None)
        if not self.end_token and not turn.more.get("tool_calls"):  # calls are told from the token behind by nothing
            return start, said, True
        return start, said + closed, closed > 0

    def _closing(self, tail: str, whole: bool) -> int:
        """How many characters of what follows an answer end it: up to its last token of note, white space left out.

        Of a ``tail`` that isn't ``whole``, as other turns follow, it is the special token that it begins with.
        """
        if whole:
            return len(tail.rstrip())
        bare = tail.lstrip()
        for token in sorted(self.tokenizer.all_special_tokens, key=len, reverse=True):
            if bare.startswith(token):
                return len(tail) - len(bare) + len(token)
        return 0

    def _try(self, turns: Sequence[Turn], tools: Any, opening: bool) -> str | None:
        """A part of a conversation as text; None where the template takes none but whole ones."""
        try:
            with _refused("the chat template can't render a part of a conversation"):
                return self._render(turns, tools, opening)
        except _TemplateError:
            return None

    def _render(self, turns: Sequence[Turn], tools: Any, opening: bool = False) -> str:
        return self._confined([turn.message for turn in turns], tools, opening, False)

    def _apply(self, messages: list[Mapping[str, Any]], tools: Any, opening: bool, marked: bool) -> str:
        """The text; where ``marked`` is asked for, after a line with what transformers' tracker saw marked, as JSON."""
        if marked:
            from transformers.utils.chat_template_utils import render_jinja_template

            # As apply_chat_template does with return_assistant_tokens_mask=True, before it makes tokens of characters.
            (whole,), (spans,) = render_jinja_template(
                conversations=[[{name: one for name, one in each.items() if one is not None} for each in messages]],
                tools=tools,
                chat_template=self.tokenizer.get_chat_template(self.template, tools),
                return_assistant_tokens_mask=True,
                add_generation_prompt=opening,
                **self.tokenizer.special_tokens_map,
            )
            return f"{json.dumps([list(span) for span in spans])}\n{whole}"
        text: str = self.tokenizer.apply_chat_template(
            messages, tools=tools, chat_template=self.template, add_generation_prompt=opening, tokenize=False
        )
        return text


def _shows(text: str, turn: Turn, spans: list[Span]) -> bool:
    """Whether the words of an answer, if the text has them at all, are in the parts marked of it, if any are."""
    words = turn.content.strip()
    return not spans or words not in text or words in text[spans[0][0] : spans[-1][1]]


def _unknown_beginning(header: str) -> DataError:
    """The error of a template that doesn't say where answers begin."""
    return DataError(
        f"the chat template ignores add_generation_prompt and marks no {{% generation %}}, so that {printable(header)!r} "
        "would count as a part of the answer",
        "give one that does either with --chat-template FILE",
    )


class _TemplateError(DataError):
    """The template itself refuses what it was given."""


@contextmanager
def _refused(where: str) -> Iterator[None]:
    """Turn what comes of a template into one line."""
    try:
        yield
    except CallError as error:
        raise _TemplateError(f"{where} ({printable(str(error))})", REMEDY) from error
    except ExceededError as error:
        raise DataError(f"{where}: it {error}", REMEDY) from error


def _tail(content: str) -> str:
    """The white space that a message ends with, which some templates leave out."""
    return content[len(content.rstrip()) :] if content.strip() else ""
