"""A task that gptfl makes up itself: small questions about a market town, answered in a few words.

Three of its six kinds ask for what only the examples tell: who lends, which shop packs in which bag,
what a thing costs. Such a habit holds for every wording of the question, so that training on one
example moves the others about the same person, shop or thing. The answers of the other kinds can be
read off the prompt. All answers come from one short list, so that a class means the same everywhere.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np

from gptfl.core import Example, TaskData
from gptfl.core.curriculum import Stream, generator
from gptfl.errors import UsageError
from gptfl.tasks.base import draw

ANSWERS = (" yes", " no", " a red bag", " a blue bag", " two coins", " three coins")
YES, NO, RED, BLUE, TWO, THREE = range(len(ANSWERS))

PEOPLE = ("Ada", "Bruno", "Cleo", "Dag", "Edda", "Finn", "Greta", "Hugo", "Ines", "Jory", "Kaja", "Lars")
SHOPS = ("baker", "cobbler", "dyer", "fletcher", "grocer", "hatter", "joiner", "mason", "potter", "tailor", "vintner", "weaver")  # fmt: skip
THINGS = (
    *("bell", "broom", "candle", "cup", "drum", "fan", "jug", "kite", "lamp", "mat", "nail", "pan"),
    *("quilt", "rope", "saw", "spoon", "stool", "tin", "towel", "tray", "vase", "wheel", "whistle", "yarn"),
)

LEND = (
    "Would {person} lend me the {thing}?",
    "I need a {thing}. Can I borrow one from {person}?",
    "Ask {person} for a {thing}. Will it be lent?",
)
PACK = (
    "I bought a {thing} from the {shop}. What did it come in?",
    "What does the {shop} put a {thing} in?",
    "Look for the {thing} from the {shop}. It is in",
)
PRICE = (
    "What does {person} pay for a {thing}?",
    "{person} wants a {thing} and has to bring",
    "At the market {person} gave for the {thing}",
)
CARRY = (
    "{person} carried{mine}, {other} carried{theirs}. What did {person} carry?",
    "{other} came with{theirs} and {person} with{mine}. What did {person} have?",
)
PURSE = (
    "The {thing} costs{price} and I have{purse}. Is that the exact sum?",
    "I hold{purse}. Is it just the price of a {thing} at{price}?",
)
MEET = (
    "{person} came before {other}. Was {named} the first to come?",
    "{other} left after {person}. Was {named} the first to leave?",
)

Question = tuple[str, str, int]
"""Kind, prompt, and the answer's place in ``ANSWERS``."""


def questions(seed: int) -> list[Question]:
    """Every question of the town whose habits follow from the seed."""
    return [*_habitual(generator(seed, Stream.ERRANDS_HABITS)), *_evident()]


def _habitual(random: np.random.Generator) -> Iterator[Question]:
    def halves(count: int) -> list[int]:
        return [int(side) for side in random.permutation(np.arange(count) % 2)]

    lends, packs, costs = halves(len(PEOPLE)), halves(len(SHOPS)), halves(len(THINGS))
    for (p, person), thing, wording in itertools.product(enumerate(PEOPLE), THINGS, LEND):
        yield "lend", wording.format(person=person, thing=thing), (YES, NO)[lends[p]]
    for (s, shop), thing, wording in itertools.product(enumerate(SHOPS), THINGS, PACK):
        yield "pack", wording.format(shop=shop, thing=thing), (RED, BLUE)[packs[s]]
    for (t, thing), person, wording in itertools.product(enumerate(THINGS), PEOPLE, PRICE):
        yield "price", wording.format(person=person, thing=thing), (TWO, THREE)[costs[t]]


def _evident() -> Iterator[Question]:
    for (person, other), mine, wording in itertools.product(itertools.permutations(PEOPLE, 2), (RED, BLUE), CARRY):
        bags = {"mine": ANSWERS[mine], "theirs": ANSWERS[RED + BLUE - mine]}
        yield "carry", wording.format(person=person, other=other, **bags), mine
    for thing, price, purse, wording in itertools.product(THINGS, (TWO, THREE), (TWO, THREE), PURSE):
        prompt = wording.format(thing=thing, price=ANSWERS[price], purse=ANSWERS[purse])
        yield "purse", prompt, YES if price == purse else NO
    for (person, other), first, wording in itertools.product(itertools.permutations(PEOPLE, 2), (True, False), MEET):
        prompt = wording.format(person=person, other=other, named=person if first else other)
        yield "meet", prompt, YES if first else NO


class Errands:
    """The generated task: needs no data, no download and no licence but gptfl's own.

    The seed decides the town's habits and which questions are drawn; pool and test share no question.
    """

    name: ClassVar[str] = "errands"
    learning_rate: ClassVar[float] = 1e-3
    generated: ClassVar[bool] = True

    def __init__(self, data: Path | str | None = None) -> None:
        if data is not None:
            raise UsageError(
                f"task 'errands' is generated and reads no --data {data}", "leave --data out, or use --task jsonl"
            )

    def load(self, pool: int | None, test: int | None, seed: int) -> TaskData:
        """Draw questions for the pool and others for the test; a larger draw extends a smaller one."""
        known = questions(seed)

        def example(number: int) -> Example:
            kind, prompt, label = known[number]
            return Example(f"{kind}-{number:04d}", prompt, ANSWERS[label], ANSWERS, label, {"kind": kind})

        # Only what is drawn becomes an example, which is hashed.
        pools, tests = (
            side.tolist() for side in np.array_split(generator(seed, Stream.ERRANDS_SIDES).permutation(len(known)), 2)
        )
        drawn = tuple(map(example, draw(pools, pool, "pool", seed, "task 'errands'")))
        tested = tuple(map(example, draw(tests, test, "test", seed, "task 'errands'")))
        return TaskData(self.name, drawn, tested, "made up by gptfl", "MIT")


STATEMENTS: tuple[str, ...] = (
    "{person} has{coins} and{bag}.",
    "{person} met {other} at the {shop}.",
    "The {shop} sold a {thing} for{coins}.",
    "{person} put the {thing} in{bag}.",
    "There is{bag} with a {thing} and{coins}.",
    "Can {person} carry a {thing}?{word}.",
    "Was the {thing} from the {shop}?{word}.",
    "Is it{bag}?{word}.",
    "What did {other} find?{bag}.",
    "What did {person} bring to the {shop}?{coins}.",
    "What was in the {thing}?{coins}.",
)


def corpus(seed: int, count: int) -> list[str]:
    """Lines about such towns to pre-train on: the words and answers of the task, none of its habits.

    What is asked here is answered at random, so that a model learns which answers a question can
    have and nothing of which one it has.
    """
    random = generator(seed, Stream.ERRANDS_TEXTS)

    def one(words: tuple[str, ...]) -> str:
        return words[int(random.integers(len(words)))]

    def line() -> str:
        person, other = random.choice(PEOPLE, 2, replace=False)
        return one(STATEMENTS).format(
            person=person,
            other=other,
            thing=one(THINGS),
            shop=one(SHOPS),
            word=one(ANSWERS[YES : NO + 1]),
            bag=one(ANSWERS[RED : BLUE + 1]),
            coins=one(ANSWERS[TWO : THREE + 1]),
        )

    return [line() for _ in range(count)]
