import tempfile
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptfl.core import MetricInfo, fingerprint
from gptfl.errors import DataError
from gptfl.store import hdf5
from gptfl.store.predictions import AVERAGE_RUN, PredictionFile, read_predictions, write_predictions
from tests.undigested import without_digests


def make(seed: int, runs: int = 2, steps: int = 3, test: int = 4, levels: tuple[float, ...] = (0.9,)) -> PredictionFile:
    random = np.random.default_rng(seed)
    values = random.random((runs, steps, test)).astype(np.float32)
    return PredictionFile(
        estimator="mean-run",
        metric=MetricInfo("loss", higher_is_better=False, low=0.0),
        labels=[f"Auswahl {i} ü" for i in range(runs)],
        batches=random.integers(-1, 9, (runs, 5, 2)),
        learning_rates=random.random((runs, 5)),
        steps=np.arange(steps),
        values=values,
        reference=values.mean(axis=0) if runs else np.zeros((steps, test)),
        dynamics="0123456789abcdef",
        simulator="abcdef0123456789",
        intervals={level: (values - level, values + level) for level in levels},
        settings={"subset": "ids.txt"},
        against="others.txt (3 examples)",
    )


@given(
    st.integers(0, 99),
    st.integers(0, 3),
    st.integers(1, 3),
    st.integers(0, 3),
    st.sets(st.floats(0, 1), max_size=2).map(tuple),
)
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
def test_what_is_written_is_read(seed: int, runs: int, steps: int, test: int, levels: tuple[float, ...]) -> None:
    made = make(seed, runs, steps, test, levels)
    with tempfile.TemporaryDirectory() as folder:
        write_predictions(Path(folder) / "a.h5", made)
        found = read_predictions(Path(folder) / "a.h5")
    for name in ("estimator", "metric", "labels", "dynamics", "simulator", "settings", "against"):
        assert getattr(found, name) == getattr(made, name)
    for name in ("batches", "learning_rates", "steps", "values", "reference"):
        assert fingerprint(getattr(found, name)) == fingerprint(getattr(made, name))
    assert set(found.intervals) == set(made.intervals)
    for level, bounds in made.intervals.items():
        np.testing.assert_array_equal(found.intervals[level], bounds)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("labels", ["only one"]),
        ("steps", np.arange(2)),
        ("learning_rates", np.ones((2, 4))),
        ("reference", np.ones((3, 3))),
        ("values", np.ones(3)),
        ("intervals", {0.5: (np.ones((2, 3, 4)), np.ones((2, 3, 1)))}),
    ],
)
def test_misshapen_predictions_are_not_written(tmp_path: Path, name: str, value: object) -> None:
    with pytest.raises(DataError, match=f"{name}.* has shape"):
        write_predictions(tmp_path / "a.h5", replace(make(0), **{name: value}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({}, AVERAGE_RUN), ({"against": "b.txt (2 examples)"}, "b.txt (2 examples)"), ({"against": 3}, AVERAGE_RUN)],
)
def test_files_without_the_attribute_say_it_in_their_settings(
    tmp_path: Path, settings: dict[str, object], expected: str
) -> None:
    write_predictions(tmp_path / "a.h5", replace(make(0), settings=settings))
    with h5py.File(without_digests(tmp_path / "a.h5"), "r+") as file:
        del file.attrs["against"]
    assert read_predictions(tmp_path / "a.h5").against == expected


def test_a_label_that_is_no_text_is_refused_at_its_first_line(tmp_path: Path) -> None:
    path = tmp_path / "a.predictions.h5"
    write_predictions(path, make(1))
    with h5py.File(without_digests(path), "r+") as file:
        del file["labels"]
        hdf5.put_lines(file, "labels", [[[]], "not read"])
    with pytest.raises(DataError, match="has in 'labels' at / a line that is no text"):
        read_predictions(path)
