"""What a user should know of how examples became tokens."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gptfl.core import Example
from gptfl.training.splitting import Splitter

if TYPE_CHECKING:
    from gptfl.training.token_rows import Encoded, Marked


UNSPACED = frozenset(
    {"CJK", "HIRAGANA", "KATAKANA", "BOPOMOFO", "YI", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN", "JAVANESE"}
)
"""Scripts, as Unicode names their letters, that put no spaces between words."""
BEFORE_SPACE = ".,:;?!…)]}"
"""Punctuation that a space follows in running text."""
SHOWN = 12
"""Characters of either side that a note shows."""


@dataclass
class TokenCounts:
    """Counts examples of each kind that a note is about, and keeps the first of some."""

    examples: int = 0
    cut: int = 0
    lost: int = 0
    doubled: int = 0
    inside: int = 0
    inside_first: str = ""
    spaces: int = 0
    """Those of ``inside`` whose prompts end with white space."""
    joined: int = 0
    joined_first: str = ""
    unscored: int = 0
    ended: int = 0
    """Plain texts, and conversations of which all is learned, that lost their end, ``lost_ends`` tokens in all."""
    lost_ends: int = 0
    missed: int = 0
    """Conversations whose cut beginning holds tokens to learn."""

    def add_turns(self, example: Example, flag: str, found: "Marked") -> None:
        """Count one conversation."""
        self.examples += 1
        self.cut += found.lost > 0
        self.lost += found.lost
        self.missed += found.missed > 0
        self.ended += found.ending > 0
        self.lost_ends += found.ending
        if found.inside:
            self.inside_first = self.inside_first or f"{flag} {example.id!r}"
            self.inside += 1

    def add(self, example: Example, answers: Sequence[str], flag: str, found: "Encoded", splitter: Splitter) -> None:
        """Count one example.

        Args:
            example: whose texts are read.
            answers: texts that its target may be.
            flag: the option that it comes from, for messages.
            found: its tokens.
            splitter: made them.
        """
        ids, bos = splitter.ids(example.prompt), splitter.tokenizer.bos_token_id
        self.examples += 1
        self.cut += found.lost > 0
        self.lost += found.lost
        self.ended += found.ending > 0
        self.lost_ends += found.ending
        self.doubled += bool(bos is not None and bos in splitter.lead and len(ids) and ids[0] == bos)
        self.unscored += found.unscored
        if found.inside:
            self.inside_first = self.inside_first or _shown(example, example.target, flag)
            self.inside += 1
            self.spaces += example.prompt[-1:].isspace()
        runs_on = [answer for answer in answers if runs_together(example.prompt, answer)]
        if runs_on and not (len(ids) and int(ids[-1]) in splitter.special):
            self.joined_first = self.joined_first or _shown(example, runs_on[0], flag)
            self.joined += 1

    def notes(self, length: int, by_model: bool, tokenizer: Any) -> tuple[str, ...]:
        """A line for each kind that there is; ``length`` is the most tokens of an example."""
        of = f"of {self.examples} examples"
        notes = []
        if self.cut:
            most = ", all that the model reads," if by_model else ""
            notes.append(
                f"{_do_not_fit(self.cut, 'prompt')} into {length} tokens{most} and {_lose(self.cut)} beginning "
                f"({_tokens(self.lost)} in all)"
            )
        if self.ended:
            notes.append(
                f"{_do_not_fit(self.ended, 'text')} into {length} tokens and {_lose(self.ended)} end "
                f"({_tokens(self.lost_ends)} in all)"
            )
        if self.missed:
            are = "is a conversation that loses" if self.missed == 1 else "are conversations that lose"
            notes.append(f"{self.missed} of these {are} earlier answers, which are not learned")
        if self.inside:
            advice = "; better begin targets with the space that prompts end with" if self.spaces else ""
            notes.append(
                f"the prompt ends inside a token in {self.inside} {of} ({self.inside_first}): the target has that token"
                f"{advice}"
            )
        if self.doubled:
            notes.append(
                f"{self.doubled} {of} begin with {tokenizer.bos_token}, which the tokenizer adds, so that the model "
                "reads it twice: leave it out of the prompts"
            )
        if self.joined:
            notes.append(
                f"no space parts prompt and answer in {self.joined} {of} ({self.joined_first}): begin targets and "
                "choices with a space if a word should follow the prompt"
            )
        if self.unscored:
            notes.append(
                f"the first token of {self.unscored} {of} counts for nothing: they have no prompt, and the tokenizer no "
                "start token to stand before it"
            )
        return tuple(notes)


def _do_not_fit(count: int, noun: str) -> str:
    return f"1 {noun} does not fit" if count == 1 else f"{count} {noun}s do not fit"


def _lose(count: int) -> str:
    return "loses its" if count == 1 else "lose their"


def _tokens(count: int) -> str:
    return "1 token" if count == 1 else f"{count} tokens"


def runs_together(prompt: str, answer: str) -> bool:
    """Whether an answer begins a word right behind what a space should follow."""
    last, first = prompt[-1:], answer[:1]
    if not (last.isalnum() or (last and last in BEFORE_SPACE)) or not first.isalnum():
        return False
    return not any(unicodedata.name(one, "").split(" ")[0] in UNSPACED for one in (last, first))


def _shown(example: Example, answer: str, flag: str) -> str:
    return f"{flag} {example.id!r}: {example.prompt[-SHOWN:]!r} and {answer[:SHOWN]!r}"
