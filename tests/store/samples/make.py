"""Makes one small file of each kind in the format that this gptfl writes: ``python make.py FOLDER``.

Run it once when a format version is new, commit the folder, and never run it again on it: the
files are there to prove that what was written then stays readable. Those in ``v1`` are from before there were digests.
"""

import sys
from pathlib import Path

import numpy as np

from gptfl.core import Curriculum, Dynamics, Example, Features, FeatureSet, MetricInfo, Run
from gptfl.store.features import write_features
from gptfl.store.predictions import PredictionFile, write_predictions
from gptfl.store.recordings import append_run, merge_runs, write_dynamics
from gptfl.store.simulators import SimulatorFile, write_simulator
from gptfl.store.workspace import runs_folder

METRIC = MetricInfo("accuracy", higher_is_better=True, low=0.0, high=1.0)
LOSS = MetricInfo("loss", higher_is_better=False, low=0.0)


def make_run(index: int, role: str) -> Run:
    """Run ``index``: three steps, recorded at 0, 2 and 3."""
    loss = np.array([[2.0, 3.0], [1.0, 1.5], [0.5, np.nan]], dtype=np.float32) + index
    accuracy = np.array([[0, 1], [1, 1], [1, 0]], dtype=np.float32)
    curriculum = Curriculum(np.array([[0, 1], [2, -1], [1, 2]]), np.array([0.3, 0.2, 0.1]))
    return Run(
        index, 4_000_000_000 + index, role, curriculum, np.array([0, 2, 3]), {"loss": loss, "accuracy": accuracy}
    )


def make(folder: Path) -> None:
    """Write the five files."""
    pool = tuple(Example(f"p{i}", f"Größe {i}?", " ja", (" ja", " nein"), i % 2, {"n": i}) for i in range(3))
    test = (Example("t0", "Line\nbreak", " out"), Example("t1", "gone", " too").without_texts())
    dynamics = Dynamics(pool, test, {"loss": LOSS, "accuracy": METRIC}, (make_run(0, "fit"),), {"task": "sample"})
    write_dynamics(folder / "dynamics.h5", dynamics)
    append_run(folder / "dynamics.h5", make_run(6, "validation"))
    append_run(folder / "dynamics.h5", make_run(3, "test"))
    beside = runs_folder(folder / "dynamics.h5") / "run-0003.h5"
    (folder / "run.h5").write_bytes(beside.read_bytes())
    merge_runs(folder / "dynamics.h5")
    vectors = np.arange(10, dtype=np.float32).reshape(5, 2)
    sets = {
        "text": FeatureSet(vectors[:3], vectors[3:]),
        "step-0/raw": FeatureSet(vectors[:3] * 2, vectors[3:] * 2, "gradient"),
    }
    features = Features("tfidf-svd", {"dimensions": 2}, dynamics.examples, sets)
    write_features(folder / "features.h5", features, [e.digest for e in pool], [e.digest for e in test])
    state = {"layer/weight": np.eye(2), "count": np.array(7), "mask": np.array([True, False])}
    simulator = SimulatorFile(
        "mean-run",
        {"order": 1},
        state,
        METRIC,
        "0" * 16,
        dynamics.examples,
        features.fingerprint,
        "f" * 16,
        {"epoch": 3},
    )
    write_simulator(folder / "simulator.h5", simulator)
    values = np.arange(12, dtype=np.float64).reshape(2, 3, 2) / 12
    predictions = PredictionFile(
        estimator="mean-run",
        metric=METRIC,
        labels=["a", "ü"],
        batches=np.array([[[0, 1], [2, -1]], [[1, 1], [0, 0]]]),
        learning_rates=np.array([[0.2, 0.1], [0.2, 0.1]]),
        steps=np.array([0, 1, 2]),
        values=values,
        reference=values.mean(axis=0),
        dynamics="0" * 16,
        simulator="f" * 16,
        intervals={0.9: (values - 1, values + 1)},
        settings={"subset": "ids.txt"},
    )
    write_predictions(folder / "predictions.h5", predictions)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
