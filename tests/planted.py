"""Chats with planted wrong answers, and a small random model that knows their words."""

import json
from pathlib import Path

from tests.models import save_small

TEMPLATE = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
THINGS = ("lamp", "chair", "table", "stool", "shelf", "clock", "bowl", "plate")
COLOURS = ("red", "blue", "green", "black")
WRONG = frozenset({3, 9, 14, 20, 27})


def chat(number: int, answer: str) -> dict[str, object]:
    """One question and its answer."""
    thing, colour = THINGS[number % 8], COLOURS[number // 8 % 4]
    asked = {"role": "user", "content": f"When does the {colour} {thing} come?"}
    said = {"role": "assistant", "content": f"The {thing} {answer}"}
    return {"id": f"chat-{number:02}", "messages": [asked, said]}


def plant(folder: Path) -> None:
    """Write ``train.jsonl`` with 32 chats, of which those in ``WRONG`` are wrong, ``eval.jsonl`` with eight, and a model."""
    train = [chat(one, "never comes at all" if one in WRONG else "comes in two days") for one in range(32)]
    test = [{**chat(one, "comes in two days"), "id": f"test-{one:02}"} for one in range(8)]
    for name, listed in (("train.jsonl", train), ("eval.jsonl", test)):
        (folder / name).write_text("".join(f"{json.dumps(one)}\n" for one in listed))
    words = " ".join(message["content"] for one in train for message in one["messages"])  # type: ignore[attr-defined]
    model = save_small(folder / "chatty", "llama", words=words)
    (model / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
