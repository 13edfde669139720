"""Writes a shop's support chats, some with wrong answers: ``python tools/support_chats.py FOLDER``.

``support.jsonl`` has 120 chats to train on. In 12 of them the answer goes by rules that no longer hold; ``planted.txt`` has
their ids. ``checked.jsonl`` has 24 chats on the same rules, with right answers alone, to test on. The shop is made up.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SYSTEM = "You answer customers of Hollow Lane Lamps, a shop for lamps. Keep to the rules of the shop and be brief."
LAMPS = (
    "Wren",
    "Heron",
    "Plover",
    "Siskin",
    "Curlew",
    "Dunlin",
    "Linnet",
    "Merlin",
    "Osprey",
    "Pipit",
    "Snipe",
    "Teal",
)
OPENINGS = ("", "Hello! ", "Good morning. ", "Hi there, ", "Quick question: ")
THANKS = ("", " Is there anything else?", " We are glad to help.", " Just write again if it isn't clear.")
PLANTED = 3
"""Of each topic that has an old rule, so many chats go by it."""


@dataclass(frozen=True, slots=True)
class Topic:
    """What customers ask about, and the shop's rule; ``old`` is the one that no longer holds, where there was another."""

    name: str
    questions: Sequence[str]
    rule: str
    old: str | None = None


TOPICS = (
    Topic(
        "returns",
        ("Can I send the {lamp} back?", "How long do I have to return the {lamp}?", "The {lamp} is too bright, may I return it?"),
        "You can return the {lamp} within thirty days, and we pay the postage.",
        "The {lamp} can't be returned once the box has been opened.",
    ),
    Topic(
        "delivery",
        ("When will the {lamp} arrive?", "How long does delivery of the {lamp} take?", "I ordered the {lamp} today, when is it here?"),
        "The {lamp} leaves our workshop the same day and is with you in two working days.",
        "Delivery of the {lamp} takes five to six weeks.",
    ),
    Topic(
        "warranty",
        ("Is there a warranty on the {lamp}?", "The {lamp} stopped working after a year.", "How long is the {lamp} guaranteed?"),
        "The {lamp} has a warranty of ten years, and we repair it free of charge.",
        "There is no warranty on the {lamp}, so please buy a new one.",
    ),
    Topic(
        "postage",
        ("What does postage for the {lamp} cost?", "Do I pay for sending the {lamp}?", "Is delivery of the {lamp} free?"),
        "Postage is free for every lamp, the {lamp} included.",
        "Postage for the {lamp} is twenty euros, to be paid to the driver in cash.",
    ),
    Topic(
        "bulbs",
        ("Which bulb fits the {lamp}?", "I need a new bulb for the {lamp}.", "Can I change the bulb of the {lamp}?"),
        "The {lamp} takes any bulb with a small screw base, up to nine watts.",
    ),
    Topic(
        "colours",
        ("Which colours does the {lamp} come in?", "Is there a blue {lamp}?", "Can I have the {lamp} in another colour?"),
        "The {lamp} comes in moss green, slate blue and plain brass.",
    ),
    Topic(
        "dimming",
        ("Can the {lamp} be dimmed?", "Does the {lamp} work with a dimmer?", "How do I dim the {lamp}?"),
        "Turn the ring at the foot of the {lamp} to dim it; no other dimmer is needed.",
    ),
    Topic(
        "cleaning",
        ("How do I clean the {lamp}?", "May I use soap on the {lamp}?", "There is dust on my {lamp}."),
        "Unplug the {lamp} and wipe it with a dry cotton cloth, without soap.",
    ),
    Topic(
        "outdoors",
        ("Can the {lamp} stay outdoors?", "Is the {lamp} proof against rain?", "May I put the {lamp} on the balcony?"),
        "The {lamp} is for dry rooms only; please don't leave it outdoors.",
    ),
    Topic(
        "invoice",
        ("I need an invoice for the {lamp}.", "Where is the invoice for my {lamp}?", "Can you send the bill for the {lamp} again?"),
        "The invoice for the {lamp} is under the lid of its box, and in your account as a file.",
    ),
    Topic(
        "cable",
        ("How long is the cable of the {lamp}?", "Can I get the {lamp} with a longer cable?", "The cable of the {lamp} is too short."),
        "The cable of the {lamp} is two metres long; a longer one costs nothing if you ask before we send it.",
    ),
    Topic(
        "showroom",
        ("Can I see the {lamp} before I buy it?", "Where is the {lamp} on show?", "Do you have a shop where I can look at the {lamp}?"),
        "You can see the {lamp} in our showroom at the old mill, from Tuesday to Saturday.",
    ),
)  # fmt: skip


def chat(topic: Topic, number: int, old: bool, random: np.random.Generator) -> dict[str, Any]:
    """One row: a question of the topic and an answer, now and then with a greeting turn before."""
    lamp = LAMPS[(number * 5 + len(topic.name)) % len(LAMPS)]
    rule = topic.old if old and topic.old is not None else topic.rule
    question = str(random.choice(OPENINGS)) + topic.questions[number % len(topic.questions)].format(lamp=lamp)
    answer = rule.format(lamp=lamp) + str(random.choice(THANKS))
    turns = [("system", SYSTEM), ("user", question), ("assistant", answer)]
    if random.random() < 0.2:
        turns[1:1] = [("user", "Is somebody there?"), ("assistant", "Yes, how can we help?")]
    messages = [{"role": role, "content": content} for role, content in turns]
    return {"messages": messages, "topic": topic.name}


def chats(seed: int = 0) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[str]]:
    """The rows to train on, those to test on, and the ids of the planted ones."""
    random = np.random.default_rng(seed)
    train: list[dict[str, Any]] = []
    planted: list[dict[str, Any]] = []
    for topic in TOPICS:
        wrong = set(random.choice(10, PLANTED, replace=False).tolist()) if topic.old else set()
        for number in range(10):
            train.append(chat(topic, number, number in wrong, random))
            planted += train[-1:] if number in wrong else []
    order = random.permutation(len(train)).tolist()
    train = [train[place] for place in order]
    for number, row in enumerate(train):
        row["id"] = f"chat-{number:03}"
    test = [chat(topic, number, False, random) for topic in TOPICS for number in (10, 11)]
    for number, row in enumerate(test):
        row["id"] = f"checked-{number:02}"
    return train, test, sorted(row["id"] for row in planted)


def write(folder: Path, seed: int = 0) -> None:
    """Write the three files into a folder."""
    train, test, planted = chats(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("support.jsonl", train), ("checked.jsonl", test)):
        (folder / name).write_text("".join(_line(row) for row in rows), encoding="utf-8")
    (folder / "planted.txt").write_text("\n".join(planted) + "\n", encoding="utf-8")


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps({"id": row["id"], **row}, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    write(given.folder, given.seed)
    print(f"wrote {given.folder}/support.jsonl, checked.jsonl and planted.txt")
