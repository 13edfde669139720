"""Flips one bit in every byte of a small file of each kind and reads it: python tools/flip_bits.py [--every 1 --offset 0] [KIND ...]

Each changed file must be refused in one line, or read as what it was: a flipped bit may lie in a gap, which nothing is
read from. Anything else (a traceback, several lines, other content) is a fault, and the script then exits 1.
"""

import argparse
import dataclasses
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gptfl.core import (
    Curriculum,
    Dynamics,
    Example,
    Features,
    FeatureSet,
    GradientProducts,
    GradientSketches,
    MetricInfo,
    Run,
    SketchPoint,
)
from gptfl.errors import GptflError
from gptfl.store.features import open_features, read_feature_rows, write_features
from gptfl.store.files import read_header
from gptfl.store.predictions import PredictionFile, read_predictions, write_predictions
from gptfl.store.recordings import append_run, read_dynamics, write_dynamics
from gptfl.store.run_files import read_run
from gptfl.store.simulators import SimulatorFile, read_simulator, write_simulator
from gptfl.store.workspace import runs_folder

METRIC = MetricInfo("accuracy", higher_is_better=True, low=0.0, high=1.0)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the flips in one file: how many were refused and how many changed nothing; faults in words."""

    size: int
    flips: int
    refused: int
    same: int
    faults: list[str]


def make_recording(folder: Path) -> Path:
    """Two runs, texts, gradient products and sketches."""
    random_numbers = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return random_numbers.random(shape, dtype=np.float32)

    pool = tuple(Example(f"p{i}", f"Ist das grün? {i}", " ja", (" ja", " nein"), 0, {"n": i}) for i in range(2))
    test = (Example("t0", "Prompt", " Target"), Example("t1", "gone", " too").without_texts())
    curriculum = Curriculum(np.array([[0, 1], [1, -1]]), np.array([0.2, 0.1]))
    runs = [
        Run(i, 7 + i, "fit", curriculum, np.array([0, 2]), {"accuracy": draw(2, 2)}, {"update": draw(2, 2)}, 1.5)
        for i in range(2)
    ]
    steps, rates = np.array([0, 1]), np.array([0.2, 0.1])
    gradients = GradientProducts(3, steps, rates, draw(2, 2, 2), draw(2, 2, 2), draw(2, 2), draw(2, 2))
    points = [SketchPoint(0, draw(2, 3), draw(2, 3), None)]
    sketches = GradientSketches(3, np.array([0]), rates, 3, None, points, 0.5, None)
    path = folder / "a.dynamics.h5"
    write_dynamics(path, Dynamics(pool, test, {"accuracy": METRIC}, (runs[0],), {"task": "s"}, gradients, sketches))
    append_run(path, runs[1])
    return path


def make_run(folder: Path) -> Path:
    """A run that lies beside its recording."""
    return runs_folder(make_recording(folder)) / "run-0001.h5"


def make_features(folder: Path) -> Path:
    """Two sets of vectors."""
    dynamics = read_dynamics(make_recording(folder))
    vectors = np.arange(8, dtype=np.float32).reshape(4, 2)
    sets = {"text": FeatureSet(vectors[:2], vectors[2:]), "g/raw": FeatureSet(vectors[:2], vectors[2:], "gradient")}
    path = folder / "a.features.h5"
    digests = ([e.digest for e in side] for side in (dynamics.pool, dynamics.test))
    write_features(path, Features("tfidf-svd", {"d": 2}, dynamics.examples, sets, 0.5), *digests)
    return path


def make_simulator(folder: Path) -> Path:
    """Arrays of several types and shapes, an empty one and a number among them."""
    state = {"w": np.eye(2), "count": np.array(7), "mask": np.array([True, False]), "none": np.zeros((0, 3))}
    path = folder / "a.simulator.h5"
    about = ("0" * 16, "1" * 16, "2" * 16, "f" * 16, {"epoch": 3})
    write_simulator(path, SimulatorFile("mean-run", {"order": 1}, state, METRIC, *about))
    return path


def make_predictions(folder: Path) -> Path:
    """Two curricula with intervals and novelty."""
    values = np.arange(8, dtype=np.float64).reshape(2, 2, 2) / 8
    path = folder / "a.predictions.h5"
    predictions = PredictionFile(
        estimator="mean-run",
        metric=METRIC,
        labels=["a", "ü"],
        batches=np.array([[[0, 1], [1, -1]], [[1, 1], [0, 0]]]),
        learning_rates=np.full((2, 2), 0.2),
        steps=np.array([0, 2]),
        values=values,
        reference=values.mean(axis=0),
        dynamics="0" * 16,
        simulator="f" * 16,
        intervals={0.9: (values - 1, values + 1)},
        novelty=np.array([0.25, 0.5]),
    )
    write_predictions(path, predictions)
    return path


def read_parts(path: Path) -> Any:
    """Features as a whole, and in parts."""
    with open_features(path, read_dynamics(path.with_name("a.dynamics.h5"))) as reader:
        parts = [reader.rows(0, 1), reader.rows(1, 2), reader.encoder, reader.identity]
    return read_feature_rows(path), parts


KINDS: Mapping[str, tuple[Callable[[Path], Path], Callable[[Path], Any]]] = {
    "recording": (make_recording, read_dynamics),
    "run": (make_run, read_run),
    "features": (make_features, read_parts),
    "simulator": (make_simulator, read_simulator),
    "predictions": (make_predictions, read_predictions),
}


def content(value: Any) -> Any:
    """Whatever was read as plain values that can be compared, arrays bit by bit."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: content(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {name: content(one) for name, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [content(one) for one in value]
    return value


def flips(size: int, every: int, offset: int, seed: int) -> Iterator[tuple[int, int]]:
    """Places and bits: one bit in each byte, or in one of so many from ``offset`` on."""
    drawn = random.Random(seed)
    for place in range(offset, size, every):
        yield place, 1 << drawn.randrange(8)


def try_kind(kind: str, folder: Path, every: int = 1, offset: int = 0, seed: int = 0) -> Outcome:
    """Flip bits in a new file of a kind, one after the other, and read what comes out."""
    make, read = KINDS[kind]
    path = make(folder)
    image = path.read_bytes()
    known = content((read_header(path), read(path)))
    refused = same = count = 0
    faults = []
    for place, bit in flips(len(image), every, offset, seed):
        count += 1
        changed = bytearray(image)
        changed[place] ^= bit
        path.write_bytes(changed)
        try:
            found = content((read_header(path), read(path)))
        except GptflError as error:
            refused += 1
            if "\n" in str(error):
                faults.append(f"byte {place}: several lines")
        except Exception as error:
            faults.append(f"byte {place}, bit {bit}: {type(error).__name__}: {error}")
        else:
            same += found == known
            if found != known:
                faults.append(f"byte {place}, bit {bit}: other content")
    path.write_bytes(image)
    return Outcome(len(image), count, refused, same, faults)


def main() -> int:
    """Try every kind and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", choices=[*KINDS, []], help=", ".join(KINDS))
    parser.add_argument("--every", type=int, default=1, help="flip a bit in one of so many bytes")
    parser.add_argument("--offset", type=int, default=0, help="and begin at this byte")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    faults = 0
    print("| | bytes | bits flipped | refused | read as it was | faults |\n| --- | --- | --- | --- | --- | --- |")
    for kind in arguments.kinds or KINDS:
        with tempfile.TemporaryDirectory() as folder:
            found = try_kind(kind, Path(folder), arguments.every, arguments.offset, arguments.seed)
        print(f"| {kind} | {found.size} | {found.flips} | {found.refused} | {found.same} | {len(found.faults)} |")
        for fault in found.faults[:20]:
            print(f"  {fault}", file=sys.stderr)
        faults += len(found.faults)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
