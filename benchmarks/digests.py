"""Measures what the digests of a recording cost: reading and writing it with and without them, in turn.

The recording is made up, with texts. Without digests, they are neither taken nor looked at, and the digests of the
examples' texts are not held against the texts. Times are of processor time, medians of several turns.

Run by hand: python benchmarks/digests.py
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np

from gptfl.core import Curriculum, Dynamics, Example, MetricInfo, Run
from gptfl.store import digests, examples
from gptfl.store.checked import Contents
from gptfl.store.recordings import read_dynamics, write_dynamics


def make(arguments: argparse.Namespace) -> Dynamics:
    """The recording."""
    random = np.random.default_rng(0)
    pool, test = (
        tuple(Example(f"{side}{i}", f"{side} text {i} " * 40, " yes") for i in range(count))
        for side, count in (("p", arguments.pool), ("t", arguments.test))
    )
    batches = random.integers(0, arguments.pool, (arguments.steps, 4))
    curriculum = Curriculum(batches, np.full(arguments.steps, 1e-4))
    start = random.random(arguments.test) * 3
    runs = []
    for index in range(arguments.runs):
        # Losses fall and jitter: random numbers alone would pack worse than recorded ones.
        course = start * np.exp(-np.arange(arguments.steps + 1)[:, None] / 50)
        losses = (course + 0.01 * random.standard_normal(course.shape)).astype(np.float32)
        runs.append(Run(index, index, "fit", curriculum, np.arange(arguments.steps + 1), {"loss": losses}))
    return Dynamics(pool, test, {"loss": MetricInfo("loss", False)}, tuple(runs), {"task": "made up"})


@contextmanager
def without() -> Iterator[None]:
    """Neither take digests nor look at them."""
    replaced = {
        "put": lambda owner, digest: None,
        "of_array": lambda array: "",
        "kept": lambda owner: None,
        "seal": lambda group: None,
        "seal_new": lambda group: None,
        "look": lambda group: (True, Contents()),
    }
    with mock.patch.multiple(digests, **replaced), mock.patch.object(examples, "check_digest"):
        yield


def seconds(call: Callable[[], object]) -> float:
    """Processor time of one call."""
    began = time.process_time()
    call()
    return time.process_time() - began


def main() -> None:
    """Write and read in turn, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sizes = (("runs", 100), ("steps", 96), ("test", 200), ("pool", 1000), ("turns", 7))
    for name, value in sizes:
        parser.add_argument(f"--{name}", type=int, default=value)
    arguments = parser.parse_args()
    dynamics = make(arguments)
    print(f"{arguments.runs} runs of {arguments.steps} steps x {arguments.test} test examples\n")
    print("| | with digests | without | ratio |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        paths = {True: Path(folder) / "with.h5", False: Path(folder) / "without.h5"}
        # Whole recordings, and the many small arrays of short ones.
        for label, recording in (("", dynamics), (", runs of one step", _short(dynamics))):
            times: dict[tuple[str, bool], list[float]] = {}
            for _ in range(arguments.turns):
                for kept, path in paths.items():
                    with nullcontext() if kept else without():
                        writing = seconds(partial(write_dynamics, path, recording))
                        times.setdefault(("writing", kept), []).append(writing)
                        times.setdefault(("reading", kept), []).append(seconds(partial(read_dynamics, path)))
            for what in ("writing", "reading"):
                one, other = (statistics.median(times[what, kept]) for kept in (True, False))
                print(f"| {what}{label} | {one:.3f} s | {other:.3f} s | {one / other:.2f} |")
            one, other = (path.stat().st_size for path in paths.values())
            print(f"| bytes{label} | {one:,} | {other:,} | {one / other:.3f} |")


def _short(dynamics: Dynamics) -> Dynamics:
    """The same runs after a single step."""
    runs = tuple(
        replace(
            run,
            curriculum=Curriculum(run.curriculum.batches[:1], run.curriculum.learning_rates[:1]),
            steps=run.steps[:2],
            metrics={name: values[:2] for name, values in run.metrics.items()},
        )
        for run in dynamics.runs
    )
    return replace(dynamics, runs=runs)


if __name__ == "__main__":
    main()
