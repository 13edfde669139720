"""Measures what adding one more run to a recording takes, from the first runs to the last, and what the merge takes.

The recording is made up. Bytes are those that the process hands to the system (/proc/self/io, where there is one),
seconds are of processor time. The last line tells what appending by writing the whole recording anew, run by run,
would have written.

Run by hand: python benchmarks/append.py
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from gptfl.core import Curriculum, Dynamics, Example, MetricInfo, Run
from gptfl.store.recordings import append_run, merge_runs, read_dynamics, write_dynamics

IO = Path("/proc/self/io")


def written() -> int:
    """Bytes that this process has written so far; 0 where the system doesn't tell."""
    if not IO.exists():
        return 0
    return int(dict(line.split(": ") for line in IO.read_text().splitlines())["wchar"])


def make(arguments: argparse.Namespace) -> Dynamics:
    """A recording of one run."""
    random = np.random.default_rng(0)
    pool, test = (
        tuple(Example(f"{side}{i}", f"{side} text {i}", " yes") for i in range(count))
        for side, count in (("p", arguments.pool), ("t", arguments.test))
    )
    batches = random.integers(0, arguments.pool, (arguments.steps, 4))
    curriculum = Curriculum(batches, np.full(arguments.steps, 1e-4))
    losses = random.random((arguments.steps + 1, arguments.test), dtype=np.float32)
    run = Run(0, 0, "fit", curriculum, np.arange(arguments.steps + 1), {"loss": losses})
    return Dynamics(pool, test, {"loss": MetricInfo("loss", False)}, (run,), {"task": "made up"})


def main() -> None:
    """Append the runs, merge them and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("runs", 400), ("steps", 60), ("test", 200), ("pool", 1000), ("group", 20)):
        parser.add_argument(f"--{name}", type=int, default=value)
    arguments = parser.parse_args()
    dynamics = make(arguments)
    shape = f"{arguments.steps} steps x {arguments.test} test examples, {arguments.pool} in the pool"
    print(f"{arguments.runs} runs of {shape}\n")
    print("| | bytes written | ratio | milliseconds | ratio |\n| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.dynamics.h5"
        write_dynamics(path, dynamics)
        alone, one = path.stat().st_size, dynamics.runs[0]
        taken = []
        for index in range(1, arguments.runs + 1):
            sent, began = written(), time.process_time()
            append_run(path, replace(one, index=index))
            taken.append((written() - sent, 1e3 * (time.process_time() - began)))
        groups = [taken[start : start + arguments.group] for start in (3, arguments.runs - arguments.group)]
        middles = [[statistics.median(column) for column in zip(*group, strict=True)] for group in groups]
        for number, (sent, spent) in zip((4, arguments.runs - arguments.group + 1), middles, strict=True):
            label = f"runs {number} to {number + arguments.group - 1}, the median"
            print(
                f"| {label} | {sent:,.0f} | {_ratio(sent, middles[0][0])} | {spent:.1f} | {spent / middles[0][1]:.2f} |"
            )
        sent, began = written(), time.process_time()
        merge_runs(path)
        spent = 1e3 * (time.process_time() - began)
        sent = written() - sent
        print(f"| the merge of all, a run | {sent / arguments.runs:,.0f} | | {spent / arguments.runs:.1f} | |")
        assert len(read_dynamics(path).runs) == arguments.runs + 1
        whole = path.stat().st_size
    all_sent = sum(one for one, _ in taken) + sent
    anew = sum(alone + (whole - alone) * index // arguments.runs for index in range(1, arguments.runs + 1))
    print(f"\n{all_sent:,} bytes written for a file of {whole:,}: {_ratio(all_sent, whole)} times it")
    print(f"written anew for every run: {anew:,}, {anew / whole:.0f} times it")


def _ratio(one: float, other: float) -> str:
    return f"{one / other:.2f}" if other else "not told"


if __name__ == "__main__":
    main()
