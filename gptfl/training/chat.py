"""What a chat template makes of a conversation, and which part of the text each answer is."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from gptfl.core import Example
from gptfl.core.turns import Turn
from gptfl.errors import DataError
from gptfl.training.confined import CallError, Confined, ExceededError
from gptfl.training.weight_files import printable

REMEDY = "give another one with --chat-template FILE"


@dataclass(frozen=True, slots=True)
class Rendered:
    """The text of a conversation, and where in it each target begins and ends.

    ``ended`` says whether a token that ends the answer follows the last target in the template.
    """

    text: str
    targets: tuple[tuple[int, int], ...]
    ended: bool = True


class ChatTemplate:
    """Renders conversations with a tokenizer's own chat template, or another one.

    With ``end_token``, what the template ends an answer with is a part of it.
    """

    def __init__(self, tokenizer: Any, template: str | None, end_token: bool, model: str) -> None:
        self.tokenizer, self.template = tokenizer, template
        self.end_token = end_token
        self.model = model
        self._confined = Confined(self._apply)

    def rendered(self, example: Example, flag: str) -> Rendered:
        """A conversation as text.

        Raises ``DataError`` where there is no template, it can't render the turns, or doesn't show an answer.
        """
        if self.template is None and not getattr(self.tokenizer, "chat_template", None):
            raise DataError(
                f"{self.model} has no chat template, and {flag} example {example.id!r} is a conversation",
                "give one with --chat-template FILE, or take a model that was made for chat, such as "
                "smollm2-135m-instruct",
            )
        turns, tools = example.turns, example.tools
        where = f"the chat template can't render {flag} example {example.id!r}"
        with _refused(where):
            text = self._render(turns, tools)
        if all(turn.target for turn in turns):
            return Rendered(text, ((0, len(text)),))
        targets, ended, seen = [], True, 0
        for place, turn in enumerate(turns):
            start, end, ended = self._answer(text, turns, place, tools, seen)
            if turn.target and start is None:
                raise DataError(
                    f"the chat template doesn't show message {place + 1} of {flag} example {example.id!r} as it is",
                    REMEDY,
                )
            if start is not None:
                seen = end
                if turn.target:
                    targets.append((start, end))
        return Rendered(text, tuple(targets), ended)

    def prompt(self, example: Example, flag: str) -> str:
        """What a text is generated after: all before the last target, and the template's opening of an answer."""
        last = max(place for place, turn in enumerate(example.turns) if turn.target)
        with _refused(f"the chat template can't render {flag} example {example.id!r}"):
            return self._render(example.turns[:last], example.tools, opening=True)

    def _answer(
        self, text: str, turns: Sequence[Turn], place: int, tools: Any, seen: int
    ) -> tuple[int | None, int, bool]:
        """Where a turn's own text begins and ends in the whole, and whether the template ends it with a token.

        That is what the whole has more than what is rendered of the turns before, with the opening of an answer. Where a
        template renders these otherwise, the words of the turn are looked for behind the turn before.
        """
        turn = turns[place]
        words = turn.content.strip()
        if not turn.target:
            at = text.find(words, seen)
            return (None, seen, True) if at < 0 else (at, at + len(words), True)
        before, after = self._try(turns[:place], tools, True), self._try(turns[: place + 1], tools, False)
        start = len(before) if before is not None and seen <= len(before) and text.startswith(before) else None
        at = text.find(words, seen if start is None else start)
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
        return self._confined([turn.message for turn in turns], tools, opening)

    def _apply(self, messages: list[Mapping[str, Any]], tools: Any, opening: bool) -> str:
        text: str = self.tokenizer.apply_chat_template(
            messages, tools=tools, chat_template=self.template, add_generation_prompt=opening, tokenize=False
        )
        return text


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
