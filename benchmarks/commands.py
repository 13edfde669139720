"""How long commands take from the prompt to the prompt: `gptfl --help`, and `gptfl simulate` on a fitted simulator.

Each is run several times in a process of its own; medians are printed, beside a bare `python -c pass` of the same
interpreter in the same minute, so that machines can be told apart.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import gptfl
from gptfl.core import Curriculum, Dynamics, Example, Features, FeatureSet, MetricInfo, Run, role_of
from gptfl.core.curriculum import draw_subset, fill_batches, linear_decay, run_seed
from gptfl.store.features import write_features
from gptfl.store.recordings import write_dynamics

RUNS, STEPS, TESTS, POOL, SUBSET, WIDTH = 40, 48, 64, 200, 32, 64


def record(folder: Path) -> Path:
    """A recording whose examples pull the test examples by their vectors, and its features."""
    random = np.random.default_rng(0)
    train, test = (random.standard_normal((count, WIDTH)) / WIDTH**0.5 for count in (POOL, TESTS))
    pull = train @ test.T
    runs = []
    for index in range(RUNS):
        seed = run_seed(7, index)
        batches = fill_batches(draw_subset(POOL, SUBSET, seed), 4, STEPS, seed)
        rates = linear_decay(1e-3, STEPS)
        moved = np.cumsum(rates[:, None] * pull[batches].mean(axis=1), axis=0) * 50
        noise = random.normal(0, 1e-3, (STEPS, TESTS))
        # All runs begin with the same weights, and so with the same scores.
        values = 3.0 - np.concatenate([np.zeros((1, TESTS)), moved + noise])
        curriculum = Curriculum(batches, rates)
        runs.append(
            Run(index, seed, role_of(index), curriculum, np.arange(STEPS + 1), {"loss": values.astype(np.float32)})
        )
    pool = tuple(Example(f"p{i}", f"Question {i}", " yes") for i in range(POOL))
    tests = tuple(Example(f"t{i}", f"Test {i}", " yes") for i in range(TESTS))
    dynamics = Dynamics(pool, tests, {"loss": MetricInfo("loss", False, 0.0)}, tuple(runs), {"task": "made", "seed": 7})
    path = folder / "made.dynamics.h5"
    write_dynamics(path, dynamics)
    sets = {"vectors": FeatureSet(train.astype(np.float32), test.astype(np.float32))}
    features = Features("made", {}, dynamics.examples, sets)
    write_features(folder / "made.made.features.h5", features, [e.id for e in pool], [e.id for e in tests])
    return path


def seconds(repeats: int, *command: str) -> float:
    """The median over so many processes."""
    found = []
    for _ in range(repeats):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ))
        found.append(time.perf_counter() - started)
    return statistics.median(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    command = (sys.executable, "-m", "gptfl")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = record(folder)
        fitted = {
            estimator: gptfl.fit(estimator, dynamics=path, settings=settings).path
            for estimator, settings in (("exposure-gp", {}), ("gptfluence", {"epochs": 20}))
        }
        ids = folder / "ids.txt"
        ids.write_text("\n".join(f"p{i}" for i in range(SUBSET)) + "\n")
        print(f"python -c pass               {seconds(arguments.repeats, sys.executable, '-c', 'pass'):.2f} s")
        print(f"gptfl --help                 {seconds(arguments.repeats, *command, '--help'):.2f} s")
        for estimator, simulator in fitted.items():
            simulate = (*command, "simulate", "--simulator", str(simulator), "--subset", str(ids))
            took = seconds(arguments.repeats, *simulate)
            print(f"gptfl simulate, {estimator:12s} {took:.2f} s")


if __name__ == "__main__":
    main()
