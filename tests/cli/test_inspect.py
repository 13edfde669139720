"""``gptfl inspect --data``."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Outcome

Command = Callable[..., Outcome]


def test_the_command_prints_it(gptfl: Command, tmp_path: Path) -> None:
    data = tmp_path / "t.csv"
    data.write_text("question,answer\n" + "".join(f'"is it {i}?",yes\n' for i in range(12)))
    words = ("inspect", "--data", str(data), "--fields", "prompt=question,target=answer")
    shown = gptfl(*words)
    assert shown.code == 0
    assert "what is learned stands in ⟦ ⟧" in shown.out
    assert "?⟦yes⟧" in shown.out
    assert "kept to test on" in shown.err
    found = json.loads(gptfl(*words, "--json").out)
    assert found["shape"] == "prompt and target"
    assert found["examples"][0]["parts"][1] == {"text": "yes", "learned": True}


@pytest.mark.parametrize(
    ("words", "piece"),
    [
        ((), "nothing to inspect"),
        (("x.h5", "--data", "y.jsonl"), "were given together"),
        (("--data", "y.jsonl", "--examples"), "are of files that gptfl made"),
        (("--data", "y.jsonl", "--split", "a"), "is of a data set of the Hub"),
    ],
)
def test_what_does_not_go_together(gptfl: Command, words: tuple[str, ...], piece: str) -> None:
    refused = gptfl("inspect", *words)
    assert (refused.code, refused.out) == (2, "")
    assert piece in refused.err
