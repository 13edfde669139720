"""The road of docs/chat.md on a small random model: chats with planted wrong answers, a trainer's recipe, and back to the rows."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from tests.cli.conftest import Outcome
from tests.models import save_small

ROOT = Path(__file__).parents[2]
TEMPLATE = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
RECIPE = """
learning_rate: 3.0e-2
lr_scheduler_type: cosine
warmup_ratio: 0.1
max_grad_norm: 1.0
per_device_train_batch_size: 4
gradient_accumulation_steps: 2
num_train_epochs: 2
max_length: 512
use_peft: true
lora_r: 8
lora_alpha: 4
lora_dropout: 0.05
lora_target_modules: all-linear
"""


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    """tools/support_chats.py."""
    spec = importlib.util.spec_from_file_location("support_chats", ROOT / "tools" / "support_chats.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["support_chats"] = module  # where dataclasses look for its names
    spec.loader.exec_module(module)
    return module


def early(ranked: list[str], planted: set[str]) -> float:
    """The share of pairs of a planted and another row in which the planted one is first."""
    seen = right = 0
    for one in ranked:
        seen += one in planted
        right += 0 if one in planted else seen
    return right / (len(planted) * (len(ranked) - len(planted)))


def test_the_chats_are_what_the_page_says(maker: ModuleType) -> None:
    train, test, planted = maker.chats()
    assert (len(train), len(test), len(planted)) == (120, 24, 12)
    assert len({json.dumps(row["messages"]) for row in (*train, *test)}) == 144
    olds = [topic.old for topic in maker.TOPICS if topic.old]
    stale = {
        row["id"] for row in train if any(old.split("{lamp}")[1] in row["messages"][-1]["content"] for old in olds)
    }
    assert stale == set(planted)
    assert maker.chats() == (train, test, planted)
    assert maker.chats(1)[0] != train


def test_a_chat_file_leads_to_its_wrong_answers(
    maker: ModuleType, gptfl: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    maker.write(Path("data"))
    rows = [json.loads(line) for line in Path("data/support.jsonl").read_text(encoding="utf-8").splitlines()]
    planted = set(Path("data/planted.txt").read_text(encoding="utf-8").split())
    words = " ".join(message["content"] for row in rows for message in row["messages"])
    model = save_small(Path("chatty"), "llama", words=words)
    (model / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    Path("sft.yaml").write_text(RECIPE, encoding="utf-8")
    data = ("--train", "data/support.jsonl", "--eval", "data/checked.jsonl")

    shown = gptfl("inspect", *data, "--model", "chatty")
    assert (shown.code, "120 examples" in shown.out, "⟦" in shown.out) == (0, True, True)
    made = gptfl(
        "collect", "--few-runs", "--model", "chatty", *data, "--train-layers", "1", "--recipe", "sft.yaml",
        "--record-every", "15", "--sketch-points", "3", "--sketch-dimensions", "512",
    )  # fmt: skip
    assert made.code == 0, made.err
    # The recipe's own 30 steps, and not two passes over the 60 rows of a run.
    assert "30 steps of 8, 60 of 120 examples" in made.out
    for words in (("featurize",), ("fit",)):
        assert gptfl(*words).code == 0
    compared = gptfl("compare", "--folds", "2", "--estimator", "exposure-gp", "--no-picture")
    assert (compared.code, "exposure-gp" in compared.out) == (0, True)
    document = json.loads(gptfl("rank", "--on", "mean", "--harmful", "--json").out)
    ranked = [row["id"] for row in document["rankings"][0]["examples"]]
    assert len(ranked) == 120
    # Chance is 0.5, and its standard deviation 0.09. What SmolLM2 comes to is on the page.
    assert early(ranked, planted) > 0.65
    verified = gptfl(
        "verify", "--drop", "data/planted.txt", "--orders", "1", "--model", "chatty", "--json", "--no-picture"
    )
    assert verified.code == 0, verified.err
    found = json.loads(verified.out)
    assert found["figure"] is None
    assert found["recorded"] > 0
    assert (found["paired"]["against"], found["paired"]["verdict"]) == ("the whole pool (120 examples)", "one pair")
