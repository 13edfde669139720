"""Runs chosen by ``collect --next`` against as many more of the design: ``python benchmarks/next_runs.py 1 2 3``

Each seed has a long recording of the contrast design. Its first 6 runs are the beginning, its 7th to 18th the design's
continuation, and the rest are what both are held against: the influences that a fit to them finds, and their own
losses, which no fit to the others has seen. All runs are to fit, so that equal numbers of runs are of equal cost. Runs are
chosen by the command itself, six at a time, with a fit between. The result is JSON, one object a seed.
"""

import argparse
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import gptfl
from gptfl.core import FIT, Dynamics
from gptfl.scores.detection import detect
from gptfl.simulation.run_predictions import predict_trajectories
from gptfl.simulation.simulator import open_fitted
from gptfl.store.recordings import read_dynamics, write_dynamics

FIRST, MORE, LONG = 6, 6, 48
SIZES: Mapping[str, Any] = {
    "model": "tiny",
    "few_runs": True,
    "subset_size": 16,
    "steps": 64,
    "record_every": 32,
    "sketch_points": 2,
    "sketch_dimensions": 2048,
    "name": "next",
}


def recording(seed: int) -> dict[str, Any]:
    """What is recorded: the options of ``gptfl.collect``."""
    return {**SIZES, "task": "errands", "pool": 100, "test": 40, "flip_labels": 0.2, "lr": 1e-3, "seed": seed}


def with_runs(long: Dynamics, runs: slice) -> Dynamics:
    """The recording with some of its runs alone, all of them to fit."""
    return replace(long, runs=tuple(replace(run, role=FIT) for run in long.runs[runs]))


def placed(folder: Path, dynamics: Dynamics, features: Path) -> Path:
    """A workspace with the recording and its features."""
    folder.mkdir()
    write_dynamics(folder / "next.dynamics.h5", dynamics)
    shutil.copy(features, folder / features.name)
    return folder


def told(folder: Path, held: Dynamics) -> dict[str, Any]:
    """What a fit to a workspace's recording says: influences, verdicts, and its error on the runs held out."""
    gptfl.fit("exposure-gp", workspace=folder)
    ranking = gptfl.rank(workspace=folder).rankings[0]
    source = open_fitted(None, folder / "next.dynamics.h5", folder, "exposure-gp", None)
    predicted = np.stack([one[-1] for one in predict_trajectories(source.named, held.runs, source.metric)])
    recorded = np.stack([run.metrics[source.metric.name][-1] for run in held.runs])
    apart = recorded - recorded.mean(axis=0)
    return {
        "influence": ranking.influence,
        "decided": ranking.verdicts.decided,
        "skill": 1.0 - float(((predicted - recorded) ** 2).sum() / (apart**2).sum()),
    }


def compared(seed: int, folder: Path, keep: Path | None) -> dict[str, Any]:
    """The scores of both ways on one seed; the long recording is kept, where there is a folder for it."""
    options = recording(seed)
    space = folder / "long" if keep is None else keep / f"errands-{seed}"
    gptfl.collect(**options, runs=FIRST + 2 * MORE + LONG, workspace=space)
    features = Path(gptfl.featurize("gradients", workspace=space).path)
    long = read_dynamics(space / "next.dynamics.h5")
    held = with_runs(long, slice(-LONG, None))
    truth = told(placed(folder / "held", held, features), held)
    found: dict[str, Any] = {"seed": seed, "pool": len(long.pool)}
    bad = np.array([example.is_flipped for example in long.pool])

    def score(name: str, where: Path) -> None:
        one = told(where, held)
        decided, signs = one["decided"], np.sign(one["influence"]) == np.sign(truth["influence"])
        found[name] = {
            "decided": int(decided.sum()),
            "agreeing": int((decided & signs).sum()),
            "correlation": float(np.corrcoef(one["influence"], truth["influence"])[0, 1]),
            "skill": one["skill"],
            "found": float(detect(-one["influence"], bad).area),
            "loss": float(
                np.mean([run.metrics["loss"][-1].mean() for run in read_dynamics(where / "next.dynamics.h5").runs])
            ),
        }

    own = placed(folder / "chosen", with_runs(long, slice(FIRST)), features)
    score("6", own)
    for more in (MORE, 2 * MORE):
        score(
            f"{FIRST + more} of the design",
            placed(folder / f"design-{more}", with_runs(long, slice(FIRST + more)), features),
        )
        gptfl.collect(**options, next=MORE, workspace=own)
        score(f"{FIRST + more}, {more} chosen", own)
    found["held"] = {
        "decided": int(truth["decided"].sum()),
        "skill": truth["skill"],
        "found": float(detect(-truth["influence"], bad).area),
    }
    return found


def table(found: list[dict[str, Any]]) -> str:
    """The means over the seeds, and how far these lie apart, as Markdown."""
    columns = ("decided", "agreeing", "correlation", "found", "skill", "loss")
    names = [name for name, one in found[0].items() if isinstance(one, dict) and "loss" in one]
    lines = ["| runs | " + " | ".join(columns) + " |", "|" + " --- |" * (len(columns) + 1)]
    for name in names:
        cells = []
        for column in columns:
            values = np.array([one[name][column] for one in found], dtype=np.float64)
            digits = 0 if column in ("decided", "agreeing") else 2
            cells.append(f"{values.mean():.{digits}f} ({', '.join(f'{value:.{digits}f}' for value in values)})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("seeds", nargs="+", type=int)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--keep", type=Path, help="put the recordings here, and use those that are there")
    given = parser.parse_args()
    found = []
    for seed in given.seeds:
        with tempfile.TemporaryDirectory() as folder:
            found.append(compared(seed, Path(folder), given.keep))
        print(json.dumps(found[-1], indent=1), flush=True)
    if given.output is not None:
        given.output.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
