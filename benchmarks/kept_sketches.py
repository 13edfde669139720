"""Peak memory and processor seconds of adding made-up sketches of a large pool to a recording, each way in a process of its own.

`kept` is what gptfl collect --sketches does: sketches are kept in files of some examples as they are made, and written from
there. `at once` holds all of them, as sketches along a run of one's own are. Making the numbers up is in both.

Run by hand: python benchmarks/kept_sketches.py --pool 20000 --dimensions 8192
"""

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gptfl.core import Curriculum, Dynamics, Example, GradientSketches, MetricInfo, Run, SketchPoint, role_of
from gptfl.core.curriculum import linear_decay
from gptfl.store.feature_blocks import FeatureBlocks
from gptfl.store.recordings import append_sketches, write_dynamics
from gptfl.training.gradient_sketches import LEAST, TOGETHER
from gptfl.training.kept_rows import POOL, TEST, KeptRows
from gptfl.training.kept_sketches import ARRAYS, EXAMPLES, KeptPoints

STEPS = 48


def drawn(rows: int, arguments: argparse.Namespace, *seed: int) -> np.ndarray:
    """Sketches of so many examples."""
    return np.random.default_rng(seed).standard_normal((rows, arguments.dimensions), np.float32)


def recording(path: Path, arguments: argparse.Namespace) -> np.ndarray:
    """Write a recording of one run; its step sizes."""
    pool = tuple(Example(f"train-{i}", f"Question {i}:", " yes") for i in range(arguments.pool))
    test = tuple(Example(f"test-{i}", f"Test {i}:", " yes") for i in range(arguments.test))
    rates = linear_decay(1e-3, STEPS)
    order = np.random.default_rng(0).integers(0, arguments.pool, (STEPS, 4)).astype(np.int32)
    values = np.ones((2, arguments.test), np.float32)
    run = Run(0, 0, role_of(0), Curriculum(order, rates), np.array([0, STEPS]), {"loss": values})
    write_dynamics(path, Dynamics(pool, test, {"loss": MetricInfo("loss", False, low=0.0)}, (run,)))
    return rates


def kinds(place: int, side: int) -> int:
    """How many kinds of sketches there are: only plain ones at the start."""
    return len(ARRAYS[side]) if place else 1


def kept(path: Path, arguments: argparse.Namespace) -> list[SketchPoint] | KeptPoints:
    """Keep sketches in files, and read them from there."""
    width = max(LEAST, TOGETHER // arguments.dimensions)
    counts = arguments.pool, arguments.test
    spans = [[range(start, min(start + width, count)) for start in range(0, count, width)] for count in counts]
    rows = KeptRows(FeatureBlocks(path, "gradients", {}, "0" * 16, packed=False), arguments.points, spans, False)
    for place in range(arguments.points):
        for side in (TEST, POOL):
            for span in spans[side]:
                for start in range(span.start, span.stop, EXAMPLES):
                    some = range(start, min(start + EXAMPLES, span.stop))
                    sets = {
                        f"0 {k}": drawn(len(some), arguments, place, side, k, start) for k in range(kinds(place, side))
                    }
                    rows.keep(place, side, some, sets, 0.0)
    return KeptPoints(rows, steps(arguments), arguments.dimensions, None)


def at_once(path: Path, arguments: argparse.Namespace) -> list[SketchPoint] | KeptPoints:
    """Hold all sketches."""
    found = []
    for place, step in enumerate(steps(arguments)):
        parts: dict[str, np.ndarray | None] = {"preconditioned": None}
        for side, count in ((POOL, arguments.pool), (TEST, arguments.test)):
            for k in range(kinds(place, side)):
                parts[ARRAYS[side][k]] = drawn(count, arguments, place, side, k)
        found.append(SketchPoint(step, **parts))  # type: ignore[arg-type]
    return found


def steps(arguments: argparse.Namespace) -> list[int]:
    """The points of the run."""
    return np.linspace(0, STEPS, arguments.points).astype(int).tolist()


def add(path: Path, way: Callable[..., list[SketchPoint] | KeptPoints], arguments: argparse.Namespace) -> None:
    """Make sketches and add them; prints what that took."""
    began = time.perf_counter()
    rates = recording(path, arguments)
    points = way(path, arguments)
    made = time.process_time()
    at = np.array(steps(arguments), dtype=np.int64)
    append_sketches(path, GradientSketches(0, at, rates, arguments.dimensions, None, points))
    total, peak = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    if isinstance(points, KeptPoints):
        points.rows.kept.remove()
    size = path.stat().st_size / 1e9
    line = f"| {way.__name__.replace('_', ' ')} | {made:.0f} | {total - made:.0f} | {time.perf_counter() - began:.0f}"
    print(f"{line} | {peak:.2f} | {size:.2f} |", flush=True)
    os._exit(0)  # giving memory back takes time that is nobody's


def main() -> None:
    """Add made-up sketches in each way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("pool", 20_000), ("test", 200), ("dimensions", 8192), ("points", 4)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--only", choices=["kept", "at once"])
    parser.add_argument("--folder", type=Path, help="where to put the files")
    arguments = parser.parse_args()
    print("| way | processor, made and kept, s | processor, added, s | seconds | peak memory, GB | file, GB |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    for way in (kept, at_once):
        if arguments.only in (None, way.__name__.replace("_", " ")):
            with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
                given = Path(folder) / "a.dynamics.h5", way, arguments
                child = multiprocessing.get_context("spawn").Process(target=add, args=given)
                child.start()
                child.join()
                if child.exitcode:
                    sys.exit(child.exitcode)


if __name__ == "__main__":
    main()
