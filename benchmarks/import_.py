"""Times ``gptfl import`` and ``gptfl export`` on a made-up recording of the released size, and takes their peak memory.

The default is the size of the RTE recording: 25 runs of 96 steps, 277 test examples, in JSON lines. Each command runs in a
process of its own; its peak memory is told beside that of the same process when it has only loaded gptfl. The
time is the stage's own, without starting Python. With --sketches, an archive of sketches at so many points is imported with
it, and exposure-gp is fitted to what comes of that.

Run by hand: python benchmarks/import_.py
"""

import argparse
import json
import multiprocessing
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

CHILD = """
import resource, sys, time
from pathlib import Path
from gptfl.api.simulator import fit
from gptfl.interchange.export_recording import export
from gptfl.interchange.import_recording import import_
import gptfl.interchange.tables
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
began = time.perf_counter()
{call}
seconds = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(seconds, before / 1024, peak / 1024)
"""


def write(folder: Path, arguments: argparse.Namespace) -> int:
    """Write the recording; returns its size in bytes."""
    random = np.random.default_rng(0)
    for name, count in (("train", arguments.pool), ("test", arguments.test)):
        lines = (json.dumps({"id": i, "input": f"{name} text {i} yes", "target": "yes"}) for i in range(count))
        (folder / f"{name}_texts.json").write_text("\n".join(lines), encoding="utf-8")
    for seed in range(1, arguments.runs + 1):
        run = folder / f"output_rte_bs-4_seed-{seed}"
        run.mkdir()
        with (run / "train_samples_id.json").open("w", encoding="utf-8") as file:
            for step in range(1, arguments.steps + 1):
                batch = random.integers(0, arguments.pool, size=arguments.batch).tolist()
                file.write(json.dumps({"step": step, "samples_id": batch}) + "\n")
        with (run / "all_loss_trajectory.out").open("w", encoding="utf-8") as file:
            for test in range(arguments.test):
                scores = random.uniform(0, 4, size=arguments.steps).tolist()
                entries = [{"step": step, "loss": score} for step, score in enumerate(scores, 1)]
                file.write(json.dumps({"id": test, "loss_trajectory": entries}) + "\n")
    if arguments.sketches:
        np.savez(folder / "sketches.npz", **sketched(random, arguments))
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def sketched(random: np.random.Generator, arguments: argparse.Namespace) -> dict[str, np.ndarray]:
    """Sketches at points spread over the run; the pool's are there divided as well, at all but the first."""
    arrays = {}
    for place, step in enumerate(np.linspace(0, arguments.steps, arguments.sketches).astype(int)):
        sides = {"tr": arguments.pool, "te": arguments.test} | ({"trp": arguments.pool} if place else {})
        for side, count in sides.items():
            arrays[f"{side}{step}"] = random.standard_normal((count, arguments.width), np.float32).astype(np.float16)
    return arrays


def main() -> None:
    """Make the recording and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("runs", 25), ("steps", 96), ("test", 277), ("pool", 200), ("batch", 4)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--sketches", type=int, default=0, help="points that have sketches")
    parser.add_argument("--width", type=int, default=64, help="numbers of a sketch")
    parser.add_argument("--only", nargs="*", help="such as 'import gptdynamics'")
    parser.add_argument("--keep", type=Path, help="folder to make it in, or where it is already")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        root = Path(arguments.keep or place)
        if not (root / "rte").exists():
            (root / "rte").mkdir(parents=True)
            # In another process: what a command's process is told to have held at most begins with what this one holds.
            with multiprocessing.get_context("fork").Pool(1) as maker:
                size = maker.apply(write, (root / "rte", arguments))
            print(
                f"{arguments.runs} runs x {arguments.steps} steps x {arguments.test} test examples, {size / 1e6:.1f} MB"
            )
        print("\n| | seconds | peak memory | of it, loading gptfl |\n| --- | --- | --- | --- |")
        recording = f'dynamics=r"{root}/ws/rte.dynamics.h5"'
        given = f', sketches=r"{root}/rte/sketches.npz"' if arguments.sketches else ""
        calls = {
            "import gptdynamics": f'import_("gptdynamics", r"{root}/rte", lr=1e-3, workspace=r"{root}/ws"{given})',
            **({"fit exposure-gp": f'fit("exposure-gp", {recording}, workspace=r"{root}/ws")'} if given else {}),
            "export gptdynamics": f'export(r"{root}/out", {recording})',
            "export parquet": f'export(r"{root}/tables", format="parquet", {recording})',
            "export csv": f'export(r"{root}/csv", format="csv", {recording})',
        }
        for name, call in calls.items():
            if arguments.only and name not in arguments.only:
                continue
            done = subprocess.run(
                [sys.executable, "-c", CHILD.format(call=call)], capture_output=True, text=True, check=True
            )
            seconds, before, peak = map(float, done.stdout.split())
            print(f"| {name} | {seconds:.2f} | {peak:.0f} MiB | {before:.0f} MiB |")


if __name__ == "__main__":
    main()
