"""Examples as token rows."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

Rows = list[tuple[tuple[int, ...], int]]
"""Token ids, and how many of the last are asked for."""


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


@dataclass(frozen=True, slots=True)
class Marked:
    """The tokens of a conversation, up to the last of its ``targets``; the first is never one.

    ``last`` is where the last target begins. ``lost`` tokens were cut out of the beginning, ``missed`` of them targets; one of
    which all is a target lost ``ending`` tokens at its end.
    """

    ids: list[int]
    targets: Bool[np.ndarray, " token"]
    last: int
    lost: int = 0
    missed: int = 0
    inside: bool = False
    ending: int = 0

    def row(self, segment: int = 0) -> TokenRow:
        """The conversation as one row."""
        places = np.flatnonzero(self.targets)
        return TokenRow(tuple(self.ids[:-1]), places - 1, np.array(self.ids)[places], np.full(len(places), segment))


@dataclass(frozen=True, slots=True)
class Encoded:
    """The tokens of an example: what is fed before any answer, and each answer's tokens after that.

    The ``prompt`` is the same for all answers, as comparing them asks for. Where it ends inside a token for one of them,
    the others begin with tokens of the prompt; ``skipped`` of the target's are such, and aren't the target's own.
    ``lost`` tokens were cut out of the prompt, and ``inside`` says whether it ends inside a token for any of them.
    Where nothing is there to stand before the text, ``unscored``, its first token takes the prompt's place.
    """

    prompt: list[int]
    answers: dict[str, list[int]]
    skipped: int = 0
    lost: int = 0
    inside: bool = False
    unscored: bool = False
    ending: int = 0
    """Tokens that a plain text lost at its end."""
