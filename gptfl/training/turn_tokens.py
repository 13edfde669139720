"""From conversations to tokens: the whole text tokenized once, and which of its tokens are asked for."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from gptfl.core import Example
from gptfl.errors import DataError
from gptfl.training.chat import ChatTemplate
from gptfl.training.splitting import Splitter
from gptfl.training.token_rows import Marked


class TurnTokens:
    """Tokenizes conversations as their chat template renders them.

    What is too long loses its beginning, as far as the last target leaves room, or its end where all of it is a target, as a plain
    text does; ``refuse`` makes the error of a target
    that leaves none, of what it is called, its tokens and how many come before it at least.
    """

    def __init__(
        self,
        splitter: Splitter,
        template: ChatTemplate,
        length: int,
        refuse: Callable[[str, int, int], DataError],
    ) -> None:
        self.splitter, self.template, self.length = splitter, template, length
        self.refuse = refuse
        self.tokenizer: Any = splitter.tokenizer
        self._marked: dict[str, Marked] = {}

    def marked(self, example: Example, flag: str) -> Marked:
        """The tokens of a conversation.

        Raises ``DataError`` as ``ChatTemplate.rendered``, and where a target has no tokens or doesn't fit.
        """
        # The digest stands for all that is rendered.
        if example.digest not in self._marked:
            self._marked[example.digest] = self._cut(self._whole(example, flag), f"{flag} example {example.id!r}")
        return self._marked[example.digest]

    def forget(self) -> None:
        """Let go of all conversations."""
        self._marked.clear()

    def prompt(self, example: Example, flag: str) -> list[int]:
        """The tokens that text is generated after."""
        found = self.marked(example, flag)
        ids = self.splitter.ids(self.template.prompt(example, flag)).tolist()
        return self._shortened(ids, self.length - (len(found.ids) - found.last))

    def _whole(self, example: Example, flag: str) -> Marked:
        rendered = self.template.rendered(example, flag)
        text = rendered.text
        ids = self.splitter.ids(text).tolist()
        targets = np.zeros(len(ids) + 1, dtype=bool)
        inside, first = False, 0
        for start, end in rendered.targets:
            begins = self.splitter.boundary(text[:start], text[start:])
            ends = self.splitter.boundary(text[:end], text[end:])
            first = begins.tokens
            targets[first : ends.tokens + ends.inside] = True
            inside |= begins.inside
        last = int(np.flatnonzero(targets).max(initial=-1))
        eos = self.tokenizer.eos_token_id
        if not rendered.ended and self.template.end_token and eos is not None and last >= 0 and ids[last] != eos:
            last += 1
            ids[last:], targets[last] = [eos], True
        targets[0] = False  # nothing stands before it that could predict it
        if not targets[: last + 1].any():
            raise DataError(f"{flag} example {example.id!r} has a target without tokens", "give it some text")
        return Marked(ids[: last + 1], targets[: last + 1], max(first, 1), inside=inside)

    def _cut(self, whole: Marked, what: str) -> Marked:
        if len(whole.ids) <= self.length:
            return whole
        if whole.targets[1:].all():
            ending = len(whole.ids) - self.length
            if self.length < 2:
                raise self.refuse(what, len(whole.ids) - 1, 1)
            return replace(whole, ids=whole.ids[: self.length], targets=whole.targets[: self.length], ending=ending)
        target = len(whole.ids) - whole.last
        head = self._head(whole.ids)
        if self.length - target < max(1, head):
            raise self.refuse(what, target, head)
        lost = len(whole.ids) - self.length
        kept = np.concatenate([np.arange(head), np.arange(head + lost, len(whole.ids))])
        targets = whole.targets[kept]
        targets[0] = False
        missed = int(whole.targets.sum() - targets.sum())
        return Marked([whole.ids[i] for i in kept], targets, whole.last - lost, lost, missed, whole.inside)

    def _shortened(self, ids: list[int], room: int) -> list[int]:
        if len(ids) <= room:
            return ids
        head = min(self._head(ids), room)
        return ids[:head] + ids[len(ids) - room + head :]

    def _head(self, ids: list[int]) -> int:
        """How many tokens at the beginning are never cut: a start token."""
        return int(bool(ids) and ids[0] == self.tokenizer.bos_token_id)
