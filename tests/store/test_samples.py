"""Files that earlier versions wrote stay readable, value for value."""

import math
from pathlib import Path

import numpy as np
import pytest

from gptfl.core import Example, MetricInfo
from gptfl.core.runs import run_fingerprint
from gptfl.store.features import check_features, read_feature_rows
from gptfl.store.files import read_header
from gptfl.store.kinds import KINDS
from gptfl.store.predictions import read_predictions
from gptfl.store.recordings import read_dynamics
from gptfl.store.run_files import read_run
from gptfl.store.simulators import read_simulator

SAMPLES = Path(__file__).parent / "samples"
every_version = pytest.mark.parametrize("folder", sorted(SAMPLES.glob("v*")), ids=lambda folder: folder.name)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_version_of_every_kind_has_a_sample(kind: str) -> None:
    name = f"{kind.removeprefix('gptfl-')}.h5"
    found = {read_header(path).format_version for path in SAMPLES.glob(f"v*/{name}")}
    assert found == set(range(1, KINDS[kind].format_version + 1))


@every_version
def test_dynamics(folder: Path) -> None:
    dynamics = read_dynamics(folder / "dynamics.h5")
    assert dynamics.pool[1] == Example("p1", "Größe 1?", " ja", (" ja", " nein"), 1, {"n": 1}, "b8f3d3a6089e928d")
    assert dynamics.test == (Example("t0", "Line\nbreak", " out"), Example("t1", "gone", " too").without_texts())
    assert dynamics.metrics["loss"] == MetricInfo("loss", False, 0.0, math.inf)
    assert dynamics.metrics["accuracy"] == MetricInfo("accuracy", True, 0.0, 1.0)
    assert dynamics.settings == {"task": "sample"}
    assert [(run.index, run.seed, run.role) for run in dynamics.runs] == [
        (0, 4_000_000_000, "fit"),
        (3, 4_000_000_003, "test"),
        (6, 4_000_000_006, "validation"),
    ]
    run = dynamics.runs[1]
    np.testing.assert_array_equal(run.curriculum.batches, [[0, 1], [2, -1], [1, 2]])
    np.testing.assert_array_equal(run.curriculum.learning_rates, [0.3, 0.2, 0.1])
    np.testing.assert_array_equal(run.steps, [0, 2, 3])
    np.testing.assert_array_equal(run.metrics["loss"], [[5.0, 6.0], [4.0, 4.5], [3.5, np.nan]])
    assert run.metrics["loss"].dtype == np.float32
    assert dynamics.fingerprint == "c8fb01ce250911c1"


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("v*/run.h5")), ids=lambda path: path.parent.name)
def test_run(path: Path) -> None:
    run, header = read_run(path)
    assert (run.index, run.seed, run.role) == (3, 4_000_000_003, "test")
    assert run_fingerprint(run) == run_fingerprint(read_dynamics(path.with_name("dynamics.h5")).runs[1])
    assert header.inputs == {"examples": "28df57c3b0cceb41", "recording": "afcbefd1a3200a4a"}


@every_version
def test_features(folder: Path) -> None:
    features, pool, test = read_feature_rows(folder / "features.h5")
    dynamics = read_dynamics(folder / "dynamics.h5")
    check_features(features, dynamics, folder)
    assert (features.encoder, features.identity) == ("tfidf-svd", {"dimensions": 2})
    assert (pool, test) == (tuple(e.digest for e in dynamics.pool), tuple(e.digest for e in dynamics.test))
    assert {name: one.kind for name, one in features.sets.items()} == {"text": "embedding", "step-0/raw": "gradient"}
    np.testing.assert_array_equal(features.sets["text"].train, [[0, 1], [2, 3], [4, 5]])
    np.testing.assert_array_equal(features.sets["step-0/raw"].test, [[12, 14], [16, 18]])


@every_version
def test_simulator(folder: Path) -> None:
    simulator = read_simulator(folder / "simulator.h5")
    assert (simulator.estimator, simulator.settings, simulator.info) == ("mean-run", {"order": 1}, {"epoch": 3})
    assert simulator.metric == MetricInfo("accuracy", True, 0.0, 1.0)
    assert (simulator.dynamics, simulator.key) == ("0" * 16, "f" * 16)
    assert simulator.features == read_feature_rows(folder / "features.h5")[0].fingerprint
    assert {name: array.tolist() for name, array in simulator.state.items()} == {
        "layer/weight": [[1.0, 0.0], [0.0, 1.0]],
        "count": 7,
        "mask": [True, False],
    }


@every_version
def test_predictions(folder: Path) -> None:
    predictions = read_predictions(folder / "predictions.h5")
    values = np.arange(12).reshape(2, 3, 2) / 12
    assert (predictions.estimator, list(predictions.labels)) == ("mean-run", ["a", "ü"])
    assert (predictions.dynamics, predictions.simulator) == ("0" * 16, "f" * 16)
    np.testing.assert_array_equal(predictions.batches, [[[0, 1], [2, -1]], [[1, 1], [0, 0]]])
    np.testing.assert_array_equal(predictions.learning_rates, [[0.2, 0.1], [0.2, 0.1]])
    np.testing.assert_array_equal(predictions.steps, [0, 1, 2])
    np.testing.assert_array_equal(predictions.values, values)
    np.testing.assert_array_equal(predictions.reference, values.mean(axis=0))
    np.testing.assert_array_equal(predictions.intervals[0.9], (values - 1, values + 1))
