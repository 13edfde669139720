"""Times gptfl featurize on made-up pools of short rows, each in a process of its own, and takes its peak memory.

The encoder is a cheap one that adds up a vector for each word, so that what is measured is gptfl's own work: reading examples, cutting them
into blocks, keeping these and writing the file. Seconds are of the clock and of the processor, from starting Python; memory is
the greatest that the process held, beside what reading the recording alone takes.

Run by hand: python benchmarks/featurize.py --pool 5000 50000
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gptfl.core import Dynamics, Example, FeatureSet, MetricInfo
from gptfl.plugins import EncoderTags
from gptfl.store.recordings import write_dynamics

WORDS = [
    "river",
    "stone",
    "paper",
    "window",
    "garden",
    "metal",
    "coffee",
    "letter",
    "winter",
    "yellow",
    "engine",
    "corner",
    "market",
    "silver",
    "bridge",
    "candle",
]


class Hashed:
    """Sums of random vectors, one for each hashed word: ``dims`` numbers an example."""

    name = "hashed"
    tags = EncoderTags(per_example=True)

    def __init__(self, dims: int = 384) -> None:
        self.dims = int(dims)
        self.table = np.random.default_rng(0).standard_normal((1024, self.dims), np.float32)

    def identity(self) -> Mapping[str, Any]:
        return {"encoder": self.name, "dims": self.dims}

    def encode(self, pool: Sequence[Example], test: Sequence[Example]) -> Mapping[str, FeatureSet]:
        return {"text": FeatureSet(self.vectors(pool), self.vectors(test))}

    def vectors(self, examples: Sequence[Example]) -> np.ndarray:
        found = np.zeros((len(examples), self.dims), dtype=np.float32)
        for row, example in enumerate(examples):
            found[row] = self.table[[zlib.crc32(word.encode()) % 1024 for word in example.text.split()]].sum(axis=0)
        return found


def make(folder: Path, pool: int) -> None:
    """Write a recording of short rows and no runs."""
    random = np.random.default_rng(0)
    words = np.array(WORDS)

    def rows(side: str, count: int) -> tuple[Example, ...]:
        texts = words[random.integers(0, len(words), size=(count, 12))]
        return tuple(Example(f"{side}-{i}", " ".join(text), f" answer {i % 7}") for i, text in enumerate(texts))

    metrics = {"loss": MetricInfo("loss", False, low=0.0)}
    write_dynamics(folder / "big.dynamics.h5", Dynamics(rows("train", pool), rows("test", 200), metrics, ()))


def embed(folder: Path) -> None:
    """What is measured."""
    from gptfl.features.featurize import featurize
    from gptfl.plugins.registry import get_registry

    registry = get_registry()
    part = replace(registry.find("encoder", "tfidf-svd"), name="hashed", factory=Hashed)
    registry.parts["encoder", "hashed"] = [part]
    featurize("hashed", workspace=folder)


def measured(folder: Path, part: str) -> tuple[float, float, float]:
    """Seconds of the clock and of the processor, and peak memory in MiB, of this script in a process of its own."""
    began = time.perf_counter()
    child = subprocess.Popen([sys.executable, __file__, "--run", part, "--folder", str(folder)])
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{part} failed with {status}")
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**10


def read(folder: Path) -> None:
    """Read the recording alone: what its examples take."""
    from gptfl.store.recordings import read_dynamics

    read_dynamics(folder / "big.dynamics.h5")


def main() -> None:
    """Make the pools and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pool", type=int, nargs="+", default=[5_000, 50_000])
    parser.add_argument("--run", choices=("read", "embed"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        {"read": read, "embed": embed}[arguments.run](arguments.folder)
        return
    print("| rows | seconds | of processor | peak memory, MiB | of reading the recording alone | file, MiB |")
    print("| --- | --- | --- | --- | --- | --- |")
    for pool in arguments.pool:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            make(folder, pool)
            _, _, recording = measured(folder, "read")
            seconds, processor, memory = measured(folder, "embed")
            size = (folder / "big.hashed.features.h5").stat().st_size / 2**20
            print(
                f"| {pool:,} | {seconds:.1f} | {processor:.1f} | {memory:.0f} | {recording:.0f} | {size:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
