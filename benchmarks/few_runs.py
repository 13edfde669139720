"""What six runs tell of two questions, by how many rows each has seen: ``python benchmarks/few_runs.py 1 2 3``

On one pool of errands and the built-in model. The questions are what leaving a tenth of the pool out does
(``leave-small:10%``, 50 runs), and how trainings on a sixth of it end (``contrast``, 24 runs). Each seed records six runs of
every design and gradient sketches along one more, by the same recipe, and is held against both. The result is JSON, one
object a seed and design.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import gptfl

RECIPE: Mapping[str, Any] = {"model": "tiny", "steps": 45, "batch_size": 4, "lr": 1e-3, "metrics": ("loss",)}
POOL, TEST = 60, 12
DESIGNS: Mapping[str, Mapping[str, Any]] = {
    "contrast, 10 of 60": {"design": "contrast", "subset_size": 10},
    "contrast, 20 of 60": {"design": "contrast", "subset_size": 20},
    "contrast, 30 of 60": {"design": "contrast"},
    "uniform, 40 of 60": {"design": "uniform", "subset_size": 40},
    "leave-small:25%": {"design": "leave-small:25%"},
}
"""``--few-runs`` with these options."""
TRUTHS: Mapping[str, Mapping[str, Any]] = {
    "less": {"design": "leave-small:10%", "runs": 50},
    "subsets": {"design": "contrast", "subset_size": 10, "runs": 24},
}
ESTIMATOR = "exposure-gp"


def write_rows(folder: Path) -> tuple[Path, Path]:
    """The errands as files, which every seed then trains and tests on."""
    first = gptfl.collect(**RECIPE, task="errands", pool=POOL, test=TEST, runs=1, seed=5, workspace=folder / "rows")
    paths = folder / "train.jsonl", folder / "eval.jsonl"
    for path, examples in zip(paths, (first.pool, first.test), strict=True):
        rows = ({"id": one.id, "prompt": one.prompt, "target": one.target} for one in examples)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return paths


def scores(mine: Path, truth: Path, space: Path) -> dict[str, Any]:
    """How well a fit to all runs of one recording predicts all runs of another."""
    comparison = space / "comparison.json"
    gptfl.compare(dynamics=mine, truth=truth, estimators=[ESTIMATOR], workspace=space, output=comparison, figure=False)
    row = next(one for one in json.loads(comparison.read_text())["estimators"] if one["estimator"] == ESTIMATOR)
    return {
        "skill": row["scores"]["skill"]["value"],
        "lds": row["scores"]["lds"]["value"],
        "coverage": {level: one["share"] for level, one in row["coverage"].items()},
        **({"removals": row["removals"]} if row.get("removals") else {}),
    }


def measured(seed: int, rows: tuple[Path, Path], truths: Mapping[str, Path], folder: Path) -> list[dict[str, Any]]:
    """All designs with one seed."""
    found = []
    for number, (name, options) in enumerate(DESIGNS.items()):
        space = folder / f"{seed}-{number}"
        made = gptfl.collect(
            **RECIPE, few_runs=True, **options, train=rows[0], eval=rows[1], seed=seed, workspace=space
        )
        gptfl.featurize("gradients", workspace=space)
        each = {question: scores(Path(made.path), path, space) for question, path in truths.items()}
        found.append({"seed": seed, "design": name, **each})
        print(json.dumps(found[-1]), flush=True)
    return found


def table(found: list[dict[str, Any]]) -> str:
    """Means over the seeds, and each, as Markdown."""
    heads = ("slope", "error", "LDS", "inside 90 %", "skill on subsets")
    lines = ["| 6 runs | " + " | ".join(heads) + " |", "|" + " --- |" * (len(heads) + 1)]
    for name in DESIGNS:
        own = [one for one in found if one["design"] == name]
        columns = [
            [one["less"]["removals"]["slope"] for one in own],
            [one["less"]["removals"]["error"] for one in own],
            [one["less"]["removals"]["lds"] for one in own],
            [one["less"]["coverage"]["0.9"] for one in own],
            [one["subsets"]["skill"] for one in own],
        ]
        cells = [f"{np.mean(values):.2f} ({', '.join(f'{value:.2f}' for value in values)})" for values in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("seeds", nargs="+", type=int)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        rows = write_rows(folder)
        truths = {
            name: Path(
                gptfl.collect(**RECIPE, **one, train=rows[0], eval=rows[1], seed=99, workspace=folder / name).path
            )
            for name, one in TRUTHS.items()
        }
        found = [one for seed in given.seeds for one in measured(seed, rows, truths, folder)]
    if given.output is not None:
        given.output.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
