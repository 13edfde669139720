"""Metrics of generated text from the command line: what it shows, and what it refuses in one line."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Outcome
from tests.cli.test_errors import refuses

Command = Callable[..., Outcome]
SMALL = ("--runs", "2", "--pool", "6", "--test", "3", "--subset-size", "4", "--batch-size", "2", "--steps", "4")


@pytest.fixture
def writing(tmp_path: Path) -> tuple[str, ...]:
    """The options that choose a task of free text."""
    for name, count in (("train", 6), ("test", 3)):
        rows = [{"prompt": f"who sees the sun {i} ?", "target": f" the moon {i}"} for i in range(count)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return ("--task", "jsonl", "--data", str(tmp_path), "--workspace", str(tmp_path))


def test_the_plan_tells_of_generation(gptfl: Command, neox: Path, writing: tuple[str, ...]) -> None:
    metrics = ("--metric", "bleu", "--metric", "rougeL", "--record-every", "2", "--generate-every", "4")
    plan = gptfl("collect", "--model", str(neox), *writing, *SMALL, *metrics, "--generate-tokens", "5", "--dry-run")
    assert plan.code == 0
    assert "2 times a run, at most 5 tokens for each test example" in " ".join(plan.out.split())
    assert "measured 3 times" in plan.out
    without = gptfl("collect", "--model", str(neox), *writing, *SMALL, "--dry-run")
    assert "generating" not in without.out


def test_text_metrics_are_recorded_and_told(gptfl: Command, neox: Path, writing: tuple[str, ...]) -> None:
    outcome = gptfl("collect", "--model", str(neox), *writing, *SMALL, "--metric", "bleu", "--decode", "nucleus")
    assert outcome.code == 0
    assert re.search(r"^bleu [\d.e-]+ → [\d.e-]+, mean of all runs", outcome.out, re.MULTILINE)
    assert "nan" not in outcome.out


@pytest.mark.parametrize("name", ["bleu", "rougeL"])
def test_a_metric_that_a_task_can_not_have(gptfl: Command, tmp_path: Path, name: str) -> None:
    row = {"prompt": "a dull film . The film is", "choices": [" negative", " positive"]}
    for split in ("train", "test"):
        lines = [json.dumps(row | {"target": row["choices"][i % 2]}) for i in range(6)]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    options = ("--task", "jsonl", "--data", str(tmp_path), "--workspace", str(tmp_path), "--metric", name)
    outcome = gptfl("collect", "--model", "tiny", *options, *SMALL)
    refuses(outcome, 3, f"--metric {name}: test example", "has choices to tell apart", "use --metric accuracy or loss")
    assert not list(tmp_path.glob("*.h5"))


@pytest.mark.parametrize(
    ("options", "pieces"),
    [
        (("--metric", "bleu", "--decode", "foo"), ("--decode 'foo' is unknown", "use greedy or nucleus")),
        (
            ("--metric", "bleu", "--record-every", "2", "--generate-every", "3"),
            ("--generate-every 3 is no multiple of --record-every 2", "give 4"),
        ),
        (("--metric", "bleu", "--generate-every", "0"), ("--generate-every is 0", "give at least 1")),
        (("--metric", "bleu", "--generate-tokens", "0"), ("--generate-tokens is 0", "give at least 1")),
        (("--generate-every", "2"), ("--generate-every 2 changes nothing", "add --metric bleu or --metric rougeL")),
        (("--decode", "nucleus"), ("--decode nucleus changes nothing",)),
    ],
)
def test_options_that_make_no_sense(
    gptfl: Command, writing: tuple[str, ...], tmp_path: Path, options: tuple[str, ...], pieces: tuple[str, ...]
) -> None:
    refuses(gptfl("collect", "--model", "tiny", *writing, *SMALL, *options), 2, *pieces)
    assert not list(tmp_path.glob("*.h5"))


def test_text_is_predicted_by_way_of_the_loss(
    gptfl: Command, neox: Path, writing: tuple[str, ...], tmp_path: Path
) -> None:
    size = ("--runs", "8", "--pool", "6", "--test", "3", "--subset-size", "3", "--batch-size", "2", "--steps", "6")
    metrics = (
        "--metric",
        "loss",
        "--metric",
        "rougeL",
        "--record-every",
        "3",
        "--generate-every",
        "3",
        "--generate-tokens",
        "4",
    )
    record = (
        "collect",
        "--design",
        "contrast",
        "--sketches",
        "--model",
        str(neox),
        *writing,
        *size,
        *metrics,
        "--lr",
        "1e-2",
    )
    assert gptfl(*record).code == 0
    work = ("--workspace", str(tmp_path))
    assert gptfl("featurize", *work).code == 0
    fitted = gptfl("fit", "--metric", "rougeL", *work)
    assert fitted.code == 0
    assert "fits through-loss, since rougeL is of generated text and the loss was recorded beside it" in fitted.err
    ranked = gptfl("rank", "--metric", "rougeL", "--on", "mean", "--how", "closed-form", *work)
    assert ranked.code == 0
    assert "by through-loss (--how closed-form, rougeL at step 6)" in " ".join(ranked.out.split())
    (tmp_path / "ids.txt").write_text("\n".join(_pool(gptfl, tmp_path)[:2]) + "\n")
    simulated = gptfl("simulate", "--metric", "rougeL", "--drop", str(tmp_path / "ids.txt"), "--no-picture", *work)
    assert simulated.code == 0
    assert "by through-loss, rougeL at step 6" in " ".join(simulated.out.split())
    table = gptfl("compare", "--metric", "rougeL", "--folds", "4", "--estimator", "through-loss", "--no-picture", *work)
    assert table.code == 0
    assert "through-loss" in table.out
    of_loss = gptfl("compare", "--metric", "loss", "--folds", "4", "--no-picture", "--estimator", "mean-run", *work)
    assert "through-loss" not in of_loss.out + of_loss.err


def _pool(gptfl: Command, workspace: Path) -> list[str]:
    (recording,) = workspace.glob("*.dynamics.h5")
    rows = gptfl("inspect", str(recording), "--examples").out.splitlines()
    return [row.split("\t")[0] for row in rows if row.split("\t")[1] == "pool"]
