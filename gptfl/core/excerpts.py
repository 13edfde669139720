"""Short pieces of examples that tell them apart: where the question ends, and the target."""

from collections.abc import Sequence

from gptfl.core.examples import Example
from gptfl.core.many_examples import ManyExamples
from gptfl.core.texts import shown_line
from gptfl.core.turns import USER

ROOM = 60
"""Characters of a piece."""
ARROW = " → "
LEAST = 16
"""Characters that all questions must share at an end for them to be left out there."""


def excerpts(examples: Sequence[Example], room: int = ROOM) -> list[str]:
    """A line for each example: all of its text where that is short, else what differs of it.

    That is the end of what was asked, the last message of the user in a conversation and the prompt elsewhere, then the
    target. What the questions of all examples of a task begin and end with is left out.
    """
    by_task: dict[str, list[int]] = {}
    for place, example in enumerate(examples):
        by_task.setdefault(example.task or "", []).append(place)
    found = [""] * len(examples)
    for places in by_task.values():
        questions = _differing([_question(examples[place]) for place in places])
        for place, question in zip(places, questions, strict=True):
            found[place] = _excerpt(examples[place], question, room)
    return found


def excerpts_at(examples: Sequence[Example], places: Sequence[int]) -> dict[int, str]:
    """The lines of some examples by their places: what differs among all, or where these are many, among those."""
    if isinstance(examples, ManyExamples):
        return dict(zip(places, excerpts([examples[place] for place in places]), strict=True))
    found = excerpts(examples)
    return {place: found[place] for place in places}


def _question(example: Example) -> str:
    user_turns = [turn.content for turn in example.turns[: _last_target(example)] if turn.role == USER]
    return shown_line(user_turns[-1] if user_turns else example.prompt)


def _last_target(example: Example) -> int:
    return max((place for place, turn in enumerate(example.turns) if turn.target), default=0)


def _differing(texts: Sequence[str]) -> list[str]:
    """The texts without the words that all begin with, and those that all end with."""
    if len(set(texts)) < 2:
        return list(texts)
    start = texts[0].rfind(" ", 0, _shared(texts)) + 1
    start = start if start >= LEAST else 0
    rest = [text[start:] for text in texts]
    backwards = [text[::-1] for text in rest]
    cut = backwards[0].rfind(" ", 0, _shared(backwards))
    return [text[: len(text) - cut].rstrip() if cut >= LEAST else text for text in rest]


def _shared(texts: Sequence[str]) -> int:
    """How many characters all begin with."""
    first, last = min(texts), max(texts)
    return next(
        (place for place, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last))
    )


def _excerpt(example: Example, question: str, room: int) -> str:
    whole = shown_line(example.text)
    if len(whole) <= room:
        return whole
    target = shown_line(example.target)
    if not question:
        return _begin(target, room)
    left = room - len(ARROW)
    least = left // 2
    answer = _begin(target, max(least, left - len(question)))
    return f"{_end(question, left - len(answer))}{ARROW}{answer}"


def _begin(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: room - 1].rstrip()}…"


def _end(text: str, room: int) -> str:
    """The end of a text, from where a word begins if one does."""
    if len(text) <= room:
        return text
    kept = text[len(text) - room + 1 :]
    whole = kept if text[len(text) - room] == " " else kept.partition(" ")[2]
    return f"…{(whole or kept).lstrip()}"
