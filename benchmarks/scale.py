"""Times fit, rank, simulate, select and compare on a large made-up pool, each in a process of its own, and takes its peak memory.

64 runs of 100 steps in batches of 64, every step recorded, with sketches of 512 dimensions in 7 sets, and seven classes
that move nothing. With --products exact gradient products at two points are recorded, too, which tracin-cp needs. Seconds
are of the clock and of the processor, from starting Python; memory is the greatest that the process held.

Run by hand: python benchmarks/scale.py --pool 50000 --test 500
"""

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from gptfl.core import Curriculum, Dynamics, Example, Features, FeatureSet, GradientProducts, MetricInfo, Run, role_of
from gptfl.core.blocked_rows import BlockedRows
from gptfl.core.curriculum import linear_decay
from gptfl.store.features import write_features
from gptfl.store.recordings import write_dynamics

POINTS = ("raw-0", "raw-50", "raw-100", "split-0", "split-50", "split-100", "preconditioned-100")
LATENT = 8
ANSWERS = tuple(f" answer {i}" for i in range(7))
SELECTED = 2048


class MadeUp(BlockedRows):
    """Vectors that are made when they are asked for: a few directions in common, and noise."""

    def __init__(self, pool: int, width: int, seed: int) -> None:
        self.shape, self.dtype, self.seed = (pool, width), np.dtype(np.float16), seed
        self.turn = np.random.default_rng(seed).normal(size=(LATENT, width)).astype(np.float32)

    def read(self, start: int, stop: int) -> np.ndarray:
        noise = np.random.default_rng((self.seed, start)).standard_normal((stop - start, self.shape[1]), np.float32)
        return (latent(start, stop) @ self.turn + 2 * noise).astype(np.float16)

    def take(self, places: np.ndarray) -> np.ndarray:
        raise NotImplementedError


def latent(start: int, stop: int) -> np.ndarray:
    """What of each example moves losses."""
    return np.random.default_rng((7, start)).standard_normal((stop - start, LATENT), np.float32)


def make(folder: Path, arguments: argparse.Namespace) -> None:
    """Write the recording and its features."""
    random = np.random.default_rng(0)
    pool = tuple(Example(f"train-{i}", f"Question {i}:", ANSWERS[i % 7], ANSWERS, i % 7) for i in range(arguments.pool))
    test = tuple(Example(f"test-{i}", f"Test {i}:", ANSWERS[i % 7], ANSWERS, i % 7) for i in range(arguments.test))
    tests = random.standard_normal((arguments.test, LATENT), np.float32)
    rates = linear_decay(1e-3, arguments.steps)
    blocks = MadeUp(arguments.pool, arguments.width, 0)
    known = np.concatenate([latent(start, start + len(block)) for start, block in blocks.blocks()])
    effects = known @ tests.T
    runs = []
    for index in range(arguments.runs):
        batches = random.permutation(arguments.pool)[: arguments.steps * arguments.batch]
        batches = np.resize(batches, (arguments.steps, arguments.batch))
        moved = np.cumsum(rates[:, None] * effects[batches].mean(axis=1), axis=0) / rates.sum()
        noise = 0.02 * random.standard_normal((arguments.steps, arguments.test)).cumsum(axis=0) / arguments.steps**0.5
        line = np.linspace(1, 0.5, arguments.steps)[:, None] - 0.5 * moved + noise
        values = np.exp(np.concatenate([np.ones((1, arguments.test)), line])).astype(np.float32)
        run = Curriculum(batches.astype(np.int32), rates)
        steps = np.arange(arguments.steps + 1)
        runs.append(Run(index, index, role_of(index), run, steps, {"loss": values}))
    dynamics = Dynamics(pool, test, {"loss": MetricInfo("loss", False, low=0.0)}, tuple(runs))
    if arguments.products:
        dynamics = replace(dynamics, gradients=products(effects, known, rates))
    write_dynamics(folder / "big.dynamics.h5", dynamics)
    sets = {}
    for seed, name in enumerate(POINTS):
        rows = MadeUp(arguments.pool, arguments.width, seed)
        of_test = tests @ rows.turn + 2 * random.standard_normal((arguments.test, arguments.width), np.float32)
        sets[name] = FeatureSet(rows, of_test.astype(np.float16), "gradient")
    features = Features("gradients", {"encoder": "gradients"}, dynamics.examples, sets)
    write_features(folder / "big.gradients.features.h5", features)
    chosen = random.permutation(arguments.pool)[: min(10_000, arguments.pool // 2)]
    (folder / "ids.txt").write_text("".join(f"train-{i}\n" for i in chosen), encoding="utf-8")


def products(effects: np.ndarray, known: np.ndarray, rates: np.ndarray) -> GradientProducts:
    """What the examples move, at the beginning and half way; none are preconditioned."""
    raw = np.stack([effects, 0.8 * effects]).astype(np.float32)
    itself = np.stack([(known**2).sum(axis=1)] * 2).astype(np.float32)
    steps = np.array([0, len(rates) // 2])
    return GradientProducts(0, steps, rates, raw, np.full_like(raw, np.nan), itself, np.full_like(itself, np.nan))


def timed(folder: Path, *words: str) -> tuple[float, float, float, str]:
    """Seconds of the clock and of the processor, peak memory in GB, and what was printed last."""
    environment = dict(os.environ, GPTFL_WORKSPACE=str(folder))
    began = time.perf_counter()
    with (folder / "log.txt").open("w") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "gptfl", *words], stdout=log, stderr=subprocess.STDOUT, env=environment
        )
        _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - began
    said = (folder / "log.txt").read_text().strip().splitlines()
    if status:
        print("\n".join(said[-8:]), file=sys.stderr)
        return float("nan"), float("nan"), usage.ru_maxrss / 2**20, f"failed with {status}"
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20, said[-1] if said else ""


def main() -> None:
    """Make the pool and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("pool", 50_000), ("test", 500), ("runs", 64), ("steps", 100), ("batch", 64), ("width", 512)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--keep", type=Path, help="folder to make it in, or where it is already")
    parser.add_argument(
        "--only", help="one of fit, rank, rank --output, simulate, select --search 0, select, compare --folds 4"
    )
    parser.add_argument(
        "--products", action="store_true", help="record gradient products, and compare tracin-cp as well"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(arguments.keep or place)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "ids.txt").exists():
            began = time.perf_counter()
            # In another process: what a command's process is told to have held at most begins with what this one holds.
            maker = multiprocessing.get_context("fork").Process(target=make, args=(folder, arguments))
            maker.start()
            maker.join()
            if maker.exitcode:
                sys.exit(maker.exitcode)
            size = sum(path.stat().st_size for path in folder.iterdir()) / 1e9
            print(f"made {size:.2f} GB in {time.perf_counter() - began:.0f} s\n")
        print("| | seconds | of processor | peak memory, GB |\n| --- | --- | --- | --- |")
        # mean-run and class-share are in every table.
        compared = ["--estimator", "exposure-gp", *(["--estimator", "tracin-cp"] if arguments.products else [])]
        commands = {
            "fit": ("fit", "--estimator", "exposure-gp"),
            "rank": ("rank", "--on", "mean", "--top", "10"),
            "rank --output": ("rank", "--on", "mean", "--output", str(folder / "rows.parquet")),
            "simulate": ("simulate", "--subset", str(folder / "ids.txt"), "--no-picture"),
            "select --search 0": (
                "select",
                "--size",
                str(SELECTED),
                "--search",
                "0",
                "--output",
                str(folder / "selected.txt"),
            ),
            "select": ("select", "--size", str(SELECTED), "--output", str(folder / "selected.txt")),
            "compare --folds 4": ("compare", "--folds", "4", "--no-picture", *compared),
        }
        for name, words in commands.items():
            if arguments.only in (None, name):
                seconds, processor, memory, _ = timed(folder, *words)
                print(f"| `gptfl {name}` | {seconds:.1f} | {processor:.1f} | {memory:.2f} |", flush=True)


if __name__ == "__main__":
    main()
