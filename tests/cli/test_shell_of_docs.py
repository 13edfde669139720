"""The shell snippets of the pages are run, with the built-in model and on a smaller scale; what isn't run says why."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from gptfl.estimators.gptfluence.estimator import GPTfluence
from gptfl.store.recordings import read_dynamics
from tests.cli.conftest import Outcome

ROOT = Path(__file__).parents[2]
SIZES = {"--pool": 24, "--test": 6, "--subset-size": 8, "--steps": 8, "--record-every": 2, "--runs": 6}
"""How large a recording is here, whatever the page says."""
SMALLER = (
    (r"--size \d+", "--size 6"),
    (r"learning-curve 2 3 5 10 20", "learning-curve 2 3"),
    (r"--held-out 10 --draws 3", "--held-out 2 --draws 1"),
    (r"--random 10 --repeats 5", "--random 2 --repeats 2"),
    (r"select-study(?!.* (--random|--dry-run))", "select-study --random 2"),
    (r"--shares 0.2,0.4,0.6", "--shares 0.2"),
    (r"--sizes 3,6,12 --orders 2 --random 2", "--sizes 3 --orders 1 --random 1"),
    (r"\.mean\.32\.", ".mean.6."),
    (r"sst2-smollm2-135m-instruct-q4", "errands-tiny"),
    (r"MINE\.dynamics", "gptfl-work/errands-tiny.dynamics"),
    (r"FILE", "rows.jsonl"),
    (r"--by source", "--by class"),
    (r"runs/rte --train-texts rte-train.json --test-texts rte-test.json", "rte-runs"),
)
"""Numbers that a smaller recording has no room for, and names that stand for the reader's own."""
OTHERS = re.compile(r"--model (?!tiny)|\bDIR\b|\bBASE\b|model=pythia|--processes|python |pip |\. \.venv|make ")
"""What needs another model, data that must be downloaded, or several processes; or is no command of gptfl."""


@dataclass(frozen=True)
class Road:
    """Sections of a page, run from top to bottom.

    One that is ``alone`` begins with nothing, any other goes on from the tutorial's recording. ``before`` is what the
    page supposes besides.
    """

    page: str
    sections: tuple[str, ...]
    alone: bool = False
    before: tuple[str, ...] = ()


READING = ("gptfl featurize --encoder minilm", "gptfl fit --estimator exposure-gp --encoder minilm")
"""What gives vectors to examples that weren't recorded: the recorded gradients don't."""
ROADS = (
    Road("README.md", ("The five stages",)),
    Road(
        "docs/tutorial.md",
        (
            "3. Compare before you believe",
            "4. Ask about a training set that was never run",
            "5. Check it",
            "6. Which examples matter",
        ),
    ),
    Road("docs/tutorial.md", ("Your own data",), alone=True),
    Road("docs/baselines.md", ("Simfluence", "Datamodels", "Scores of other tools")),
    Road("docs/baselines.md", ("Two kinds of TracIn", "Calibration"), alone=True),
    Road("docs/data.md", ("Data written back",)),
    Road("docs/importing.md", ("Exporting", "Importing and exporting recordings")),
    Road(
        "docs/ranking.md",
        ("Verdicts", "Two sides", "Groups of rows", "By token", "What is wrong with my data"),
    ),
    Road("docs/ranking.md", ("New rows",), before=READING),
    Road("docs/ranking.md", ("Flipped labels", "Retraining after correction"), alone=True),
    Road("docs/ranking.md", ("Is the ranking right?",)),
    Road("docs/report.md", ("A page to look at",), alone=True),
    Road("docs/report.md", ("Of one result alone",)),
    Road("docs/selecting.md", ("Selecting what to train on", "Two sides", "Mixtures", "Does it work?")),
    Road("docs/simulator.md", ("Encoders", "gptfluence", "Whose features", "Sweeps", "How many runs it takes", "Cost")),
    Road("docs/training.md", ("The recipe", "Checkpoints"), alone=True),
    Road("docs/trust.md", ("Calibration", "A run that was begun", "Carrying it out")),
    Road("docs/trust.md", ("Less a few rows",)),
    Road("docs/unseen.md", ("Setting examples aside",)),
    Road(
        "docs/unseen.md",
        ("Examples that were never recorded",),
        before=READING,
    ),
    Road("plugins/gptfl-simfluence/README.md", ("gptfl-simfluence",)),
)
STUDY = Road("docs/tutorial.md", ("1. Record six runs", "2. Make features and fit"), alone=True)
NOT_HERE = {
    "docs/chat.md": "tests/cli/test_chat_road.py goes that road",
    "docs/generated-text.md": "tests/cli/test_generating.py goes that road",
    "docs/doctor.md": "tests/cli/test_doctor.py goes that road",
    "docs/writing-plugins.md": "tests/test_docs_plugins.py runs it",
    "docs/gallery.md": "tests/test_site.py makes its live report; its pictures are other pages', and so are their commands",
    "docs/fidelity.md": "measured with SmolLM2 on data of the Hub",
    "docs/reproduction.md": "measured with SmolLM2 on data of the Hub",
    "docs/results.md": "measured with SmolLM2 on data of the Hub",
    "docs/designs.md": "of another model; the same commands as the tutorial's",
    "docs/exposure-gp.md": "of another model; the same commands as the tutorial's",
    "docs/gradients.md": "of another model; the same commands as the tutorial's",
    "docs/own-run.md": "of the reader's own training; tests/recorder runs its Python",
    "plugins/gptfl-datamodels/README.md": "the same line as in docs/baselines.md",
    "docs/clusters.md": "of clusters; tests/executors and the tests of gptfl-ray and gptfl-slurm record so",
    "plugins/gptfl-ray/README.md": "of a cluster, as docs/clusters.md",
    "plugins/gptfl-slurm/README.md": "of a cluster, as docs/clusters.md",
    "plugins/gptfl-scores/README.md": "the same lines as in docs/baselines.md and docs/trust.md",
    "plugins/gptfl-tracin/README.md": "the same commands as in docs/baselines.md",
}
"""Pages whose commands are run elsewhere, or can't be here."""
LINES_NOT_HERE = {
    "gptfl rank --estimator tracin-cp --estimator gptfluence --harmful": "of a recording with --gradients, as under Flipped labels",
    "gptfl serve": "tests/cli/test_serve.py starts and ends it",
    "gptfl serve --no-comparison --port 8765": "tests/cli/test_serve.py starts and ends it",
    "gptfl simulate --drop worst.csv": "tests/api/test_simulate.py leaves rows out, tests/store/test_id_tables.py reads the table",
    "gptfl verify --drop harmful.csv": "tests/evaluation/test_paired.py trains such pairs",
    "gptfl verify --subset mine.txt --against theirs.txt --orders 6": "tests/evaluation/test_paired.py trains such pairs",
}


def shell(page: str) -> Iterator[tuple[str, str]]:
    """Heading and line of everything in a page's blocks of shell."""
    heading, language = "", None
    for line in (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        if line.startswith("```"):
            language = line[3:] if language is None else None
        elif language is None and line.startswith("#"):
            heading = line.lstrip("# ")
        elif language in ("", "sh", "bash", "console") and line.strip():
            yield heading, re.split(r" {3,}#", line)[0].removeprefix("$ ").strip()


def runnable(page: str, heading: str) -> list[str]:
    """The lines of a section that can be run here: none of another model, nor what goes on from its recording."""
    found = []
    for where, line in shell(page):
        if where != heading or line in LINES_NOT_HERE or not re.match("gptfl |awk ", line):
            continue
        if OTHERS.search(line):
            if line.startswith("gptfl collect") and "--dry-run" not in line:
                break
            continue
        found.append(line)
    return found


def lines(road: Road) -> list[str]:
    """What a road runs, as the page has it."""
    return [line for name in road.sections for line in runnable(road.page, name)]


def smaller(line: str) -> str:
    """A line on the scale of this test."""
    for pattern, instead in SMALLER:
        line = re.sub(pattern, instead, line)
    words = line.split()
    if words[:2] != ["gptfl", "collect"]:
        return line
    sizes = {name: value for name, value in SIZES.items() if not (name == "--subset-size" and "leave-small" in line)}
    if "--data" in words:
        sizes = {"--subset-size": 6, "--steps": 8}
    for name in SIZES:
        if name in words:
            del words[words.index(name) : words.index(name) + 2]
    narrow = ["--sketch-dimensions", "256"] if {"--few-runs", "--sketches"} & {*words} else []
    return " ".join([*words, *(f"{name} {value}" for name, value in sizes.items()), *narrow])


Run = Callable[[str], str]


@pytest.fixture
def run(gptfl: Callable[..., Outcome], quick_tiny: None, monkeypatch: pytest.MonkeyPatch) -> Run:
    """What a line of a page prints; a file that it leads to gets it. Fits of gptfluence end after a few epochs."""
    assert GPTfluence.__init__.__kwdefaults__ is not None
    monkeypatch.setitem(GPTfluence.__init__.__kwdefaults__, "epochs", 20)

    def carry_out(line: str) -> str:
        if not line.startswith("gptfl "):
            return subprocess.run(["sh", "-c", line], check=True, capture_output=True, text=True).stdout
        command, _, target = line.partition(" > ")
        outcome = gptfl(*shlex.split(command)[1:])
        # `check` exits by what it finds, too.
        assert outcome.code in ((0, 1, 6) if line.startswith("gptfl check ") else (0,)), f"{line}\n{outcome.err}"
        if target:
            Path(target).write_text(outcome.out, encoding="utf-8")
        return outcome.out

    return carry_out


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The tutorial's recording, once it is made."""
    return {"folder": tmp_path_factory.mktemp("tutorial")}


def prepared(studies: dict[str, Path], run: Run, folder: Path) -> str:
    """Make a copy of the tutorial's study, and the files that pages suppose; returns the id of a test example."""
    made = studies["folder"]
    if not (made / "gptfl-work").exists():
        with chdir(made):
            for line in lines(STUDY):
                run(smaller(line))
    shutil.copytree(made, folder, dirs_exist_ok=True)
    dynamics = read_dynamics(folder / "gptfl-work" / "errands-tiny.dynamics.h5")
    pool, test = [one.id for one in dynamics.pool], [one.id for one in dynamics.test]
    rows = [{"id": one.id, "prompt": one.prompt, "target": one.target} for one in dynamics.pool]
    new = [{"id": f"new-{n}", "prompt": row["prompt"], "target": row["target"]} for n, row in enumerate(rows[:4])]
    observed = [{"step": step, "id": name, "value": 2 - 0.1 * step} for step in (0, 4) for name in test]
    for name, found in {"train": rows, "new": new, "more": new, "scores": observed}.items():
        text = "".join(json.dumps(row) + "\n" for row in found)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    named = {"ids": pool[:8], "hard": test[:3], "target": test[:2], "retain": test[3:]}
    for name, ids in named.items():
        (folder / f"{name}.txt").write_text("\n".join(ids) + "\n", encoding="utf-8")
    scores = np.random.default_rng(0).normal(size=(len(pool), len(test)))
    np.savez(folder / "ekfac.npz", scores=scores, train_ids=np.array(pool), test_ids=np.array(test))
    return test[0]


@pytest.mark.parametrize("road", ROADS, ids=lambda road: f"{road.page}-{road.sections[0]}")
def test_the_shell_of_a_page_runs(
    road: Road, run: Run, studies: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"prompt": f"The {n} bell rings", "target": f" at {n % 3} o'clock"} for n in range(40)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    known = "" if road.alone else prepared(studies, run, tmp_path)
    chosen = [*road.before, *lines(road)]
    if any(line.endswith("--output ids.txt") for line in chosen):
        Path("ids.txt").unlink()
    for line in chosen:
        if known and line.startswith("gptfl collect") and not re.search(" --few-runs | --name ", line):
            Path("another").mkdir()  # an example of its own, and not one of the study
            monkeypatch.chdir("another")
        run(re.sub(r"test:[\w-]+", f"test:{known}", smaller(line)))


def test_every_line_of_the_pages_is_run_or_says_why_not() -> None:
    ran = {(road.page, name) for road in (STUDY, *ROADS) for name in road.sections}
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md"), *ROOT.glob("plugins/*/*.md")]
    shown = {
        (page, heading)
        for page in (path.relative_to(ROOT).as_posix() for path in pages)
        for heading, line in shell(page)
        if line.startswith("gptfl ")
    }
    assert ran <= shown
    left = {(page, heading) for page, heading in shown - ran if page not in NOT_HERE and runnable(page, heading)}
    assert left == set(), "run these sections, or say in NOT_HERE why not"
    assert NOT_HERE.keys() <= {page for page, _ in shown}
    assert sum(len(lines(road)) for road in (STUDY, *ROADS)) > 60
