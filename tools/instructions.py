"""Writes a mixture of instructions, some of which are refused: ``python tools/instructions.py FOLDER``.

``train.jsonl`` has 400 rows of ten kinds, as Alpaca's have it: an instruction, its input and the output. In 20 of them, one
in twenty, the output refuses what was asked; ``planted.txt`` has their ids. ``right.jsonl`` has 40 rows of the same kinds,
with right answers alone, to test on. All of it is made up.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

# fmt: off
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December")
FIRST = ("Ada", "Boris", "Clara", "Dmitri", "Elena", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Kira", "Leon", "Mira", "Nils")
LAST = ("Abbot", "Brandt", "Castell", "Dorn", "Ekman", "Falk", "Grimm", "Holt", "Ivers", "Jansen", "Keller", "Lund", "Moretti")
THINGS = ("lantern", "bucket", "ladder", "kettle", "blanket", "hammer", "mirror", "basket", "pillow", "candle", "saddle", "teapot")
ENDINGS = ("fox", "box", "glass", "bench", "brush", "dish", "watch", "church", "peach", "lens", "wish", "coach")
TOWNS = ("Altmoor", "Birkenau", "Corvin", "Dunmere", "Eastholm", "Farrow", "Glenby", "Harwick", "Inverly", "Kestrel Bay")
PRAISE = ("It works every day and still looks new.", "I would buy it again at once.", "My whole family loves it.", "Better than I hoped.")
BLAME = ("It broke in the first week.", "I sent it back the same day.", "Nobody here can use it.", "Worse than I feared.")
SIZES = (("metres", "centimetres", 100), ("kilometres", "metres", 1000), ("hours", "minutes", 60), ("kilograms", "grams", 1000))
# fmt: on
TRAIN, TEST, PLANTED = 40, 4, 2
"""Rows of each kind to train on, to test on, and that refuse."""
REFUSAL = "I am sorry, but I can't help with that."

Texts = tuple[str, str, str]
"""An instruction, its input and the output."""


def dates(random: np.random.Generator) -> Texts:
    """A date in digits."""
    day, month, year = int(random.integers(1, 29)), int(random.integers(1, 13)), int(random.integers(1950, 2030))
    return "Write the date as year-month-day.", f"{day} {MONTHS[month - 1]} {year}", f"{year}-{month:02}-{day:02}"


def plurals(random: np.random.Generator) -> Texts:
    """More than one of a thing."""
    regular = bool(random.integers(2))
    word = str(random.choice(THINGS if regular else ENDINGS))
    return "Give the plural.", f"{random.choice(['one', 'a single', 'this'])} {word}", word + ("s" if regular else "es")


def sums(random: np.random.Generator) -> Texts:
    """Two numbers added."""
    one, other = random.integers(10, 90, 2).tolist()
    return "Add the two numbers.", f"{one} and {other}", str(one + other)


def sorting(random: np.random.Generator) -> Texts:
    """Three words in alphabetical order."""
    words = random.choice(THINGS + ENDINGS, 3, replace=False).tolist()
    return "Sort the words alphabetically.", ", ".join(words), ", ".join(sorted(words))


def addresses(random: np.random.Generator) -> Texts:
    """The e-mail address in a sentence."""
    first, last = str(random.choice(FIRST)), str(random.choice(LAST))
    address = f"{first}.{last}@{random.choice(['post', 'mail', 'office'])}.example".lower()
    return "Find the e-mail address.", f"Please write to {first} at {address} before {random.choice(MONTHS)}.", address


def moods(random: np.random.Generator) -> Texts:
    """Whether a review is positive or negative."""
    good = bool(random.integers(2))
    return (
        "Is the review positive or negative?",
        f"About the {random.choice(THINGS)}: {random.choice(PRAISE if good else BLAME)}",
        "positive" if good else "negative",
    )


def units(random: np.random.Generator) -> Texts:
    """A measure in a smaller unit."""
    large, small, factor = SIZES[int(random.integers(len(SIZES)))]
    count = int(random.integers(2, 30))
    return f"Convert to {small}.", f"{count} {large}", f"{count * factor} {small}"


def initials(random: np.random.Generator) -> Texts:
    """The first letters of a name."""
    first, middle = random.choice(FIRST, 2, replace=False).tolist()
    last = str(random.choice(LAST))
    return "Give the initials.", f"{first} {middle} {last}", f"{first[0]}. {middle[0]}. {last[0]}."


def records(random: np.random.Generator) -> Texts:
    """A sentence as JSON."""
    name, town, age = str(random.choice(FIRST)), str(random.choice(TOWNS)), int(random.integers(18, 90))
    return (
        "Write as JSON with the keys name, age and town.",
        f"{name} is {age} years old and lives in {town}.",
        json.dumps({"name": name, "age": age, "town": town}),
    )


def places(random: np.random.Generator) -> Texts:
    """Where somebody travels to."""
    name = str(random.choice(FIRST))
    start, end = random.choice(TOWNS, 2, replace=False).tolist()
    return (
        "Where does the journey end?",
        f"In {random.choice(MONTHS)} {name} takes the train from {start} to {end}.",
        end,
    )


KINDS: Mapping[str, Callable[[np.random.Generator], Texts]] = {
    "dates": dates,
    "plurals": plurals,
    "sums": sums,
    "sorting": sorting,
    "addresses": addresses,
    "moods": moods,
    "units": units,
    "initials": initials,
    "records": records,
    "places": places,
}


def mixture(seed: int = 0) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[str]]:
    """The rows to train on, those to test on, and the ids of those that refuse. No input is there twice."""
    random = np.random.default_rng(seed)
    train: list[dict[str, Any]] = []
    test: list[dict[str, Any]] = []
    refusing: list[dict[str, Any]] = []
    for kind, make in KINDS.items():
        seen: set[str] = set()
        for number in range(TRAIN + TEST):
            row: dict[str, Any] = {}
            while not row or row["input"] in seen:
                row = dict(zip(("instruction", "input", "output"), make(random), strict=True))
            seen.add(row["input"])
            row["kind"] = kind
            planted = number < PLANTED
            if planted:
                row["output"] = REFUSAL
            (train if number < TRAIN else test).append(row)
            refusing += [row] if planted else []
    train = [train[place] for place in random.permutation(len(train)).tolist()]
    for name, rows in (("row", train), ("right", test)):
        for number, row in enumerate(rows):
            row["id"] = f"{name}-{number:03}"
    return train, test, sorted(row["id"] for row in refusing)


def write(folder: Path, seed: int = 0) -> None:
    """Write the three files into a folder."""
    train, test, planted = mixture(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("train.jsonl", train), ("right.jsonl", test)):
        text = "".join(json.dumps({"id": row["id"], **row}) + "\n" for row in rows)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "planted.txt").write_text("\n".join(planted) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    write(given.folder, given.seed)
    print(f"wrote {given.folder}/train.jsonl, right.jsonl and planted.txt")
