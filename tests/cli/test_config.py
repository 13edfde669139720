"""Options from a file, and as one."""

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gptfl.cli.commands import COMMANDS
from gptfl.cli.config import read_config, written
from gptfl.errors import DataError, UsageError
from gptfl.options.base import make
from gptfl.options.files import to_json
from gptfl.options.recording import CollectOptions
from tests.cli.conftest import Outcome

Command = Callable[..., Outcome]
NEEDED: dict[str, tuple[str, ...]] = {
    "collect": ("--model", "tiny", "--task", "errands"),
    "import": ("gptdynamics", "runs"),
    "attribute": ("--model", "tiny", "--checkpoints", "out"),
    "select": ("--size", "3"),
    "select-study": ("--size", "3"),
    "apply": ("--data", "rows.jsonl"),
    "check": ("new.jsonl",),
    "doctor": ("train.jsonl", "eval.jsonl", "--model", "tiny"),
    "inspect": ("x.h5",),
    "new-plugin": ("letters",),
    "export": ("--to", "out"),
}
WORDS = {
    "collect": "--few-runs --epochs-of pool --no-texts --no-dropout --packing bfd --quantize 4bit --lora r=2 --warmup 0.1 --clip-norm 1 --optimiser sgd --lr 5e-7 --metric loss --metric bleu --checkpoints 2 --data a/b --seed 7 "
    "--eval e.csv --eval-share 0.2 --fields prompt=q,target=a --loss-on last --no-end-token --revision r",
    "import": "--lr 0.1 --metric loss",
    "featurize": "--set a=1 --set b=x",
    "fit": "--metric loss --set order=2 --keep-diverged --unseen test --unseen-share 0.5",
    "simulate": "--html page.html --subset ids.txt --orders 3 --json --no-picture",
    "verify": "--html page.html --drop ids.txt --dry-run --no-picture",
    "compare": "--html page.html --estimator gptfluence@tfidf-svd:order=2 --folds 3 --latex --sweep runs=2,3",
    "sweep": "order=1,2 every=1,2 --estimator gptfluence --folds 3",
    "learning-curve": "2 3 5 --estimator exposure-gp --held-out 4 --draws 2",
    "rank": "--html page.html --harmful --new new.jsonl --for mixture --by source --only harmful --fdr 0.2 --top 3 --keep group:retain.txt --simulator a.h5 --simulator b.h5 --no-picture",
    "serve": "--port 8000 --folds 3 --no-comparison --seed 3",
    "report": "--folds 3 --no-comparison --json --output page.html",
    "attribute": "--train t.csv --order o.csv --lr 0.1 --optimiser-state --on self --top 3 --harmful",
    "relabel-study": "--shares 0.1 --steps 4",
    "removal-study": "--sizes 3,5% --orders 3 --random 4 --estimator exposure-gp --on test:a --dry-run",
    "select": "--from ids.txt --diversity 1.5 --cautious 1 --keep test:a --frontier 5 --point 2 --by source --csv --no-picture",
    "select-study": "--rival tracin-cp --random 3",
    "check": "--by class --output check.md",
    "apply": "--drop ids.txt --weights --output there",
    "doctor": "--budget 5m --fdr 0.2 --lr 1e-3 --fields prompt=q,target=a --device cpu",
    "demo": "--workspace here --runs 4 --pool 48",
    "inspect": "--examples --json --max-length 9 --loss-on last",
    "export": "--format csv",
    "new-plugin": "--kind encoder --output there",
    "plugins": "--json",
}


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[CollectOptions]:
    """The options of each recording that would be made, in an empty folder."""
    from gptfl.recording.result import CollectResult

    got: list[CollectOptions] = []

    def record(options: CollectOptions, **_: Any) -> CollectResult:
        got.append(options)
        return CollectResult(Path("x"), 0, 0, None)

    monkeypatch.setattr("gptfl.recording.collect.record", record)
    monkeypatch.chdir(tmp_path)
    return got


def test_every_command_with_options_is_tried() -> None:
    assert WORDS.keys() == COMMANDS.keys() - {"unlock"}


@pytest.mark.parametrize("name", WORDS)
def test_options_that_are_printed_are_read_as_the_same(
    name: str, gptfl: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plain = gptfl(name, *NEEDED.get(name, ()), "--print-config")
    given = gptfl(name, *NEEDED.get(name, ()), *WORDS[name].split(), "--print-config")
    assert (plain.code, given.code, plain.err, given.err) == (0, 0, "", "")
    assert plain.out != given.out
    for outcome in (plain, given):
        Path("asked.toml").write_text(outcome.out, encoding="utf-8")
        assert gptfl(name, "--config", "asked.toml", "--print-config").out == outcome.out
    assert [one.name for one in tmp_path.iterdir()] == ["asked.toml"]


def test_running_with_what_was_printed_gives_the_same_options(gptfl: Command, collected: list[CollectOptions]) -> None:
    words = ("collect", *NEEDED["collect"], *WORDS["collect"].split(), "--name", 'a "b"\\ü\x7f')
    gptfl(*words)
    Path("run.toml").write_text(gptfl(*words, "--print-config").out, encoding="utf-8")
    assert gptfl("collect", "--config", "run.toml").code == 0
    assert len(collected) == 2
    assert collected[0] == collected[1]


def test_a_file_gives_what_is_not_typed(gptfl: Command, collected: list[CollectOptions]) -> None:
    given = {"model": "tiny", "task": "errands", "few_runs": True, "lr": 1, "metric": ["loss", "bleu"], "texts": False}
    Path("run.json").write_text(json.dumps({**given, "checkpoints": 3, "data": "d", "subset-size": 4}))
    assert gptfl("collect", "--lr", "0.5", "--task", "rte", "--config", "run.json", "--texts").code == 0
    expected = {
        **given,
        "lr": 0.5,
        "task": "rte",
        "texts": True,
        "checkpoints": "3",
        "data": Path("d"),
        "subset_size": 4,
    }
    expected["metrics"] = tuple(expected.pop("metric"))
    assert collected == [make(CollectOptions, **expected)]


@pytest.mark.parametrize(
    ("name", "text", "code", "pieces"),
    [
        ("a.toml", "rums = 3", 2, ("a.toml", "'rums'", "no option of gptfl collect", "'runs'")),
        ("a.toml", "runs = 'many'", 2, ("a.toml: runs is 'many'", "whole number")),
        ("a.toml", "runs = 1979-05-27", 2, ("a.toml: runs is datetime.date", "whole number")),
        ("a.toml", "runs = 0", 2, ("--runs is 0", "at least 1")),
        ("a.toml", "runs = ", 3, ("a.toml is no TOML",)),
        ("a.toml", ".".join("a" * 9000) + " = 1", 3, ("a.toml has a key of more than 32 parts",)),
        ("a.json", "{'runs': 3}", 3, ("a.json is no JSON",)),
        ("a.json", "[" * 50_000, 3, ("a.json is nested too deeply",)),
        ("a.json", '{"lr": 1e-3, "lr": 1e-4}', 3, ('a.json has the key "lr" twice',)),
        ("a.json", '{"lr": 1e400}', 3, ("a.json holds the number 1e400, which is too large",)),
        ("a.json", '{"lr": NaN}', 3, ("a.json holds NaN",)),
        ("a.toml", "lr = inf", 2, ("--lr is inf",)),
        ("a.toml", "lr = 1e400", 2, ("--lr is inf",)),
        ("a.json", " " * 70_000, 3, ("a.json is larger than 65,536 bytes",)),
        ("a.json", "[1]", 3, ("a.json holds no options by name",)),
        ("a.json", '{"name": "\\ud800"}', 3, ("a.json holds half a character",)),
        ("a.json", "\udcff", 3, ("a.json is not UTF-8 at byte 0",)),
        ("a.yaml", "runs: 3", 2, ("--config a.yaml", ".toml or .json")),
        ("a.toml", None, 3, ("a.toml is no file",)),
    ],
)
def test_a_file_that_is_wrong_is_one_line(
    gptfl: Command, collected: list[CollectOptions], name: str, text: str | None, code: int, pieces: tuple[str, ...]
) -> None:
    if text is not None:
        Path(name).write_text(text, encoding="utf-8", errors="surrogateescape")
    outcome = gptfl("collect", "--config", name, *NEEDED["collect"])
    assert (outcome.code, outcome.out, collected) == (code, "", [])
    (line,) = outcome.err.strip().split("\n")
    for piece in pieces:
        assert piece in line


@pytest.mark.skipif(os.name != "posix", reason="needs pipes of the file system")
@pytest.mark.parametrize("text", ["runs = 7\n", '{"runs": 7}'])
def test_a_pipe_is_read_whatever_it_is_called(gptfl: Command, collected: list[CollectOptions], text: str) -> None:
    os.mkfifo("pipe")
    writer = threading.Thread(target=lambda: Path("pipe").write_text(text, encoding="utf-8"))
    writer.start()
    outcome = gptfl("collect", "--config", "pipe", *NEEDED["collect"])
    writer.join()
    assert (outcome.code, outcome.err) == (0, "")
    assert [to_json(one)["runs"] for one in collected] == [7]


def test_printing_does_nothing(gptfl: Command, collected: list[CollectOptions]) -> None:
    outcome = gptfl("collect", *NEEDED["collect"], "--print-config")
    assert (outcome.code, collected) == (0, [])
    assert 'model = "tiny"\n' in outcome.out
    assert 'metric = ["loss"]\n' in outcome.out
    assert "# runs: 32, with --few-runs 6\n" in outcome.out


def test_what_is_written_is_read_as_it_was_whatever_the_texts(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    for name in ('a "b" \\ c', "tab\tand\x7f", "é – 漢", "#no comment", "[x]"):
        options = make(CollectOptions, model=name, lr=1e-7, metrics=["loss", name], texts=False)
        path.write_text("\n".join(written(options)), encoding="utf-8")
        found = read_config(path)
        assert (found["model"], found["lr"], found["metric"], found["texts"]) == (name, 1e-7, ["loss", name], False)
    assert "# task: data of your own" in path.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(
    ("name", "text", "error", "message"),
    [
        ("a.yaml", "", UsageError, "is no .toml or .json file: end its name in .toml or .json"),
        ("a.json", "[1]", DataError, "holds no options by name"),
        ("a.json", "{", DataError, "a.json"),
        ("a.toml", "a = ", DataError, "is no TOML"),
        ("a.toml", ".".join("a" * 40) + " = 1", DataError, "has a key of more than 32 parts"),
    ],
)
def test_what_is_no_file_of_options_is_refused(
    tmp_path: Path, name: str, text: str, error: type[Exception], message: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(error) as caught:
        read_config(tmp_path / name)
    assert message in str(caught.value)
