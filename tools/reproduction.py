"""Runs the studies of docs/reproduction.md and puts their tables into the page.

    python tools/reproduction.py list
    python tools/reproduction.py run --data DIR [--workspace W] [NAME ...]
    python tools/reproduction.py page

``run`` carries out the commands of each study as they stand on the page; recordings and results that are there
already are kept (delete a JSON file of docs/reproduction to make it again). ``page`` renders what lies there.
"""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reproduction.md"
RAW = ROOT / "docs" / "reproduction"
LOCAL = frozenset({"figure", "simulator", "text"})
SCORES = {"mse": "MSE", "mae": "MAE", "rho": "final ρ", "lds": "LDS", "skill": "skill"}
TASKS = ("sst2", "rte", "boolq", "webnlg", "wmt16_de_en")
MIXED = ("rte", "sst2", "boolq", "webnlg", "wmt16_de_en")
MODEL = "smollm2-135m-instruct-q4"

LEARNED = "--estimator gptfluence --estimator simfluence-linear --estimator datamodels"
GRADIENTS = " ".join(
    f"--estimator {spec}"
    for spec in (
        "tracin-cp",
        "tracin-cp:calibrate=true",
        "tracin-cp:calibrate=true,preconditioned=true",
        "grad-dot",
        "grad-dot:calibrate=true",
    )
)
WITH_GRADIENTS = ("sst2", "rte")
"""The tasks whose recordings hold gradient products."""


@dataclass(frozen=True)
class Study:
    """Commands whose outputs make one table; ``{raw}`` stands for docs/reproduction, ``{data}`` for the data."""

    name: str
    commands: tuple[str, ...]
    results: tuple[str, ...]
    render: Callable[[Mapping[str, Any]], str]
    shown: bool = True


def dynamics(name: str) -> str:
    """The option that names a recording of the workspace."""
    return f"--dynamics $GPTFL_WORKSPACE/{name}.dynamics.h5"


def recording(task: str) -> str:
    """The command that records a task at this page's scale."""
    common = f"--model {MODEL} --train-layers 6 --subset-size 32 --steps 48 --lr 2e-5 --test 48"
    own = {
        "sst2": "--runs 24 --record-every 2 --metric loss --metric accuracy",
        "rte": "--runs 24 --record-every 2 --metric loss --metric accuracy",
        "boolq": "--runs 16 --record-every 4 --metric loss --metric accuracy",
        "webnlg": "--runs 16 --record-every 4 --accumulate 4",
        "wmt16_de_en": "--runs 10 --record-every 4 --metric loss --metric bleu --metric rougeL --generate-every 24",
    }[task]
    gradients = " --gradients reference --gradient-points 4" if task in WITH_GRADIENTS else ""
    return f"gptfl collect --task {task} --data {{data}}/{task} --name {task} {common} {own}{gradients}"


def estimators(task: str) -> str:
    """The options that name what is compared on a task."""
    return f"{LEARNED} {GRADIENTS}" if task in WITH_GRADIENTS else LEARNED


def compare(name: str, result: str, options: str = "--folds 4") -> str:
    """The command that compares all estimators on a recording."""
    return f"gptfl compare {dynamics(name)} {options} --output {{raw}}/{result}.json"


# ---------------------------------------------------------------- tables


def number(name: str, value: float | None) -> str:
    """A score as the page shows it."""
    if value is None:
        return "–"
    if name == "skill" and value < -99:
        return "< -99"
    return f"{value:.3g}" if name in ("mse", "mae") or abs(value) >= 10 else f"{value:.3f}"


def cell(name: str, score: Mapping[str, Any] | None, bold: bool) -> str:
    """A score with its spread or interval."""
    if score is None:
        return "–"
    text = number(name, score["value"])
    if bold:
        text = f"**{text}**"
    if score.get("interval") and score["value"] > -99:
        low, high = score["interval"]
        return text if low == high else f"{text} [{low:.2f}, {high:.2f}]"
    return f"{text} ± {score['std']:.2g}" if score.get("std") else text


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows))


def label(row: Mapping[str, Any]) -> str:
    """An estimator's name, an oracle marked."""
    return f"{row['estimator']} †" if row.get("oracle") else str(row["estimator"])


def one_comparison(found: Mapping[str, Any]) -> str:
    """A line an estimator, every score with its spread."""
    (result,) = found.values()
    rows = [
        [label(row), *(cell(name, row["scores"].get(name), name in row["clearly_best"]) for name in SCORES)]
        for row in result["estimators"]
        if not row["error"]
    ]
    return table(["estimator", *SCORES.values()], rows)


def many_comparisons(found: Mapping[str, Any]) -> str:
    """A line an estimator, a column a recording."""
    names = list(dict.fromkeys(label(row) for result in found.values() for row in result["estimators"]))
    rows = []
    for name in names:
        cells = []
        for result in found.values():
            row = next((row for row in result["estimators"] if label(row) == name and not row["error"]), None)
            scores = {} if row is None else row["scores"]
            told = [
                number(key, scores[key]["value"]) if key in scores else "–" for key in ("mse", "rho", "skill", "lds")
            ]
            cells.append(" / ".join(told) if scores else "–")
        rows.append([name, *cells])
    return table(["MSE / final ρ / skill / LDS", *(title(name) for name in found)], rows)


def title(name: str) -> str:
    """The recording and what sets this result apart, from the name of its file."""
    first, _, rest = name.partition("-")
    rest = rest.removesuffix("-text").replace("-", " ")
    return f"{rest}, {first}" if first in ("bleu", "rougeL") else rest


def by_task(found: Mapping[str, Any]) -> str:
    """A line an estimator and task, the average over tasks first."""
    (result,) = found.values()
    rows = []
    for row in result["estimators"]:
        if row["error"]:
            continue
        rows.append([label(row), "all", *(cell(name, row["scores"].get(name), False) for name in SCORES)])
        for task, scores in row.get("by_task", {}).items():
            rows.append(["", task, *(number(name, (scores.get(name) or {}).get("value")) for name in SCORES)])
    return table(["estimator", "task", *SCORES.values()], rows)


def detections(found: Mapping[str, Any]) -> str:
    """A line an order: the area under the curve of flips found."""
    (result,) = found.values()
    rows = [[name, f"{one['area']:.3f}"] for name, one in result["detection"].items()]
    return table(["order", "area (0.5 random, 1 perfect)"], rows)


def sweeps(found: Mapping[str, Any]) -> str:
    """A table for each sweep: a line a combination."""
    tables = []
    for result in found.values():
        axes = list(result["axes"])
        rows = [
            [
                *(str(point[axis]) for axis in axes),
                *(number(name, point[name]) for name in SCORES),
                number("mse", point["mean_run_mse"]),
            ]
            for point in result["points"]
        ]
        tables.append(table([*axes, *SCORES.values(), "mean-run's MSE"], rows))
    return "\n\n".join(tables)


def variants(found: Mapping[str, Any]) -> str:
    """A line a variant of gptfluence."""
    rows = []
    for name, result in found.items():
        for row in result["estimators"]:
            if row["name"] == "gptfluence" or (row["name"] == "mean-run" and name == next(iter(found))):
                scores = [cell(key, row["scores"].get(key), False) for key in SCORES]
                rows.append([f"{title(name)}: {row['estimator']}", *scores])
    return table(["variant", *SCORES.values()], rows)


def costs(found: Mapping[str, Any]) -> str:
    """Seconds and operations a simulated trajectory."""
    (result,) = found.values()
    rows = []
    for row in result["estimators"]:
        cost = row.get("cost")
        if row["error"] or not cost:
            continue
        flops = "–" if cost["flops"] is None else f"{cost['flops']:.2g}"
        rows.append([label(row), f"{cost['seconds']:.2g}", flops, f"{row['seconds']:.2g}"])
    return table(["estimator", "seconds a trajectory", "FLOPs a trajectory", "seconds to fit, once a fold"], rows)


STUDIES = (
    Study("recordings", tuple(recording(task) for task in TASKS), (), lambda found: "", shown=False),
    Study(
        "features",
        tuple(f"gptfl featurize {dynamics(task)}" for task in TASKS),
        (),
        lambda found: "",
        shown=False,
    ),
    Study(
        "loss",
        tuple(compare(task, f"loss-{task}", f"--folds 4 {estimators(task)}") for task in TASKS),
        tuple(f"loss-{task}" for task in TASKS),
        many_comparisons,
    ),
    Study(
        "generation",
        tuple(
            compare(task, f"{metric}-{task}", f"--folds 4 --metric {metric}")
            for task in ("webnlg-text", "wmt16_de_en")
            for metric in ("bleu", "rougeL")
        ),
        tuple(f"{metric}-{task}" for task in ("webnlg-text", "wmt16_de_en") for metric in ("bleu", "rougeL")),
        many_comparisons,
    ),
    Study(
        "unseen",
        tuple(
            compare(task, f"unseen-{task}-{side}", f"--unseen {side}{more}")
            for task in ("rte", "webnlg")
            for side, more in (("train", " --unseen-share 0.1"), ("test", ""), ("both", " --unseen-share 0.1"))
        ),
        tuple(f"unseen-{task}-{side}" for task in ("rte", "webnlg") for side in ("train", "test", "both")),
        many_comparisons,
    ),
    Study(
        "instruction",
        (
            f"gptfl collect --task {','.join(MIXED)} --data {{data}} --per-task 40 --name mixture --model {MODEL} "
            "--train-layers 6 --runs 12 --subset-size 64 --batch-size 8 --accumulate 4 --steps 48 --lr 2e-5 --test 40 "
            "--record-every 8",
            f"gptfl featurize {dynamics('mixture')}",
            compare("mixture", "loss-mixture", f"--folds 4 {LEARNED}"),
        ),
        ("loss-mixture",),
        by_task,
    ),
    Study("cost", (compare("rte", "cost-rte", "--cost"),), ("cost-rte",), costs),
    Study(
        "ablations",
        tuple(
            f"gptfl compare {dynamics('sst2')} --sweep {axis}={values} --output {{raw}}/sweep-sst2-{axis}.json "
            f"--figure {{raw}}/sweep-sst2-{axis}.png"
            for axis, values in (("order", "1,2,3,5,10"), ("every", "1,2,3,6"))
        ),
        ("sweep-sst2-order", "sweep-sst2-every"),
        sweeps,
    ),
    Study(
        "encoders",
        (
            f"gptfl featurize {dynamics('sst2')} --encoder tfidf-svd",
            f"gptfl featurize {dynamics('sst2')} --encoder causal-lm --set model={MODEL}",
            f"gptfl compare {dynamics('sst2')} --sweep encoder=minilm,causal-lm,tfidf-svd "
            "--output {raw}/sweep-sst2-encoder.json --figure {raw}/sweep-sst2-encoder.png",
        ),
        ("sweep-sst2-encoder",),
        sweeps,
    ),
    Study(
        "mislabelled",
        (
            f"gptfl collect --task sst2 --data {{data}}/sst2 --name flipped --model {MODEL} --train-layers 6 "
            "--flip-labels 0.4 --runs 12 --subset-size 32 --steps 48 --lr 2e-5 --test 48 --record-every 12 "
            "--metric loss --metric accuracy --gradients reference --gradient-points 4",
            f"gptfl featurize {dynamics('flipped')}",
            f"gptfl fit --estimator gptfluence {dynamics('flipped')}",
            f"gptfl fit --estimator tracin-cp {dynamics('flipped')}",
            f"gptfl rank {dynamics('flipped')} --estimator tracin-cp --estimator gptfluence --on self "
            "--output {raw}/flips-sst2.json --figure {raw}/flips-sst2.png",
        ),
        ("flips-sst2",),
        detections,
    ),
    Study(
        "variants",
        (
            f"gptfl compare {dynamics('sst2')} --estimator gptfluence --estimator gptfluence:start=persistence "
            "--estimator gptfluence:start=random --estimator gptfluence:shared=true "
            "--estimator gptfluence:weight_decay=5e-6 --estimator gptfluence:weight_decay=0 "
            "--estimator gptfluence:shared=true,start=random,weight_decay=5e-6 "
            "--output {raw}/variants-sst2-cls.json",
            f"gptfl featurize {dynamics('sst2')} --encoder minilm --set pooling=mean "
            "--output $GPTFL_WORKSPACE/mean-pooled.h5",
            f"gptfl compare {dynamics('sst2')} --estimator gptfluence --features $GPTFL_WORKSPACE/mean-pooled.h5 "
            "--output {raw}/variants-sst2-mean.json",
        ),
        ("variants-sst2-cls", "variants-sst2-mean"),
        variants,
    ),
)
"""In the order of the page."""


# ---------------------------------------------------------------- doing


def found_for(study: Study) -> dict[str, Any]:
    """What the study's commands have left so far."""
    paths = {name: RAW / f"{name}.json" for name in study.results}
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.is_file()}


def rendered(study: Study) -> str:
    """The study's commands and its table, as the page has them."""
    commands = "\n".join(spelled(command) for command in study.commands)
    found = found_for(study)
    missing = [name for name in study.results if name not in found]
    parts = [f"```sh\n{commands}\n```"]
    if found:
        parts.append(study.render(found))
        parts += [f"![{name}](reproduction/{name}.png)" for name in found if (RAW / f"{name}.png").is_file()]
    if missing:
        parts.append(f"Not run: {', '.join(missing)}.")
    elif study.results:
        parts.append("Raw: " + ", ".join(f"[{name}](reproduction/{name}.json)" for name in found) + ".")
    return "\n\n".join(parts)


def spelled(command: str, width: int = 110) -> str:
    """A command as the page spells it: placeholders as shell variables, long lines continued."""
    words = command.format(raw="docs/reproduction", data="DATA").split(" --")
    lines, line = [], words[0]
    for word in words[1:]:
        if len(line) + len(word) + 5 > width:
            lines.append(line + " \\")
            line = " "
        line += f" --{word}"
    return "\n".join([*lines, line])


def with_tables(text: str) -> str:
    """The page's text with every study's block as it is now."""
    for study in STUDIES:
        begin, end = f"<!-- {study.name} -->", f"<!-- end of {study.name} -->"
        pattern = re.compile(re.escape(begin) + r"\n.*?" + re.escape(end), re.DOTALL)
        if not pattern.search(text):
            raise SystemExit(f"{PAGE.name} has no place for {study.name!r}: {begin} ... {end}")
        block = f"{begin}\n{rendered(study)}\n{end}"
        text = pattern.sub(lambda match, block=block: block, text)  # type: ignore[misc]
    return text


def run(names: Sequence[str], data: str, workspace: str) -> None:
    """Carry out the commands of these studies, or of all."""
    environment = {**os.environ, "GPTFL_WORKSPACE": workspace}
    for study in STUDIES:
        if names and study.name not in names:
            continue
        for command in study.commands:
            raw = RAW.relative_to(ROOT)
            line = command.format(raw=raw, data=data).replace("$GPTFL_WORKSPACE", workspace)
            written = [
                ROOT / word for word in shlex.split(line) if word.startswith(f"{raw}/") and word.endswith(".json")
            ]
            if written and written[0].is_file():
                continue
            started = time.perf_counter()
            print(f"$ {line}", flush=True)
            done = subprocess.run([sys.executable, "-m", *shlex.split(line)], env=environment, cwd=ROOT, check=False)
            print(f"  {done.returncode} after {time.perf_counter() - started:.0f} s", flush=True)
        for path in (RAW / f"{name}.json" for name in study.results):
            if path.is_file():
                kept = scrubbed(json.loads(path.read_text(encoding="utf-8")))
                path.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def scrubbed(value: Any) -> Any:
    """A result without what is of this machine (paths) or of the data sets (texts)."""
    if isinstance(value, dict):
        return {key: scrubbed(item) for key, item in value.items() if key not in LOCAL}
    return [scrubbed(item) for item in value] if isinstance(value, list) else value


def main() -> None:
    """The command line of this script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("list", "run", "page"))
    parser.add_argument("names", nargs="*")
    parser.add_argument("--data", default="DATA")
    parser.add_argument("--workspace", default="gptfl-work")
    given = parser.parse_args()
    unknown = sorted(set(given.names) - {study.name for study in STUDIES})
    if unknown:
        parser.error(f"no study is called {unknown[0]!r}")
    if given.what == "list":
        for study in STUDIES:
            print(f"{study.name}: {len(study.commands)} commands, {len(found_for(study))} of {len(study.results)} run")
    elif given.what == "run":
        run(given.names, given.data, given.workspace)
    else:
        PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
