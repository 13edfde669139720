import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gptfl.core import Curriculum, Dynamics, Example, MetricInfo, Run
from gptfl.core.recording_settings import SETTINGS
from gptfl.errors import DataError
from gptfl.store import files, hdf5
from gptfl.store.kinds import DYNAMICS
from gptfl.store.recordings import append_run, read_dynamics, write_dynamics
from gptfl.store.runs import ROLES

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
mappings = st.dictionaries(st.text(max_size=6), json_values, max_size=3)
# Settings that gptfl reads again have types; Hypothesis draws words that it finds in the code.
free_settings = mappings.filter(lambda drawn: not SETTINGS.keys() & drawn.keys())


@st.composite
def example_tuples(draw: st.DrawFn, most: int) -> tuple[Example, ...]:
    ids = draw(st.lists(st.text(max_size=6), min_size=1, max_size=most, unique=True))
    short, classes = st.text(max_size=20), st.lists(st.text(max_size=4), max_size=3)

    def one(id: str) -> Example:
        choices = tuple(draw(classes))
        label = draw(st.none() | st.integers(0, len(choices) - 1 if choices else 5))
        return Example(id, draw(short), draw(short), choices, label, draw(mappings))

    made = map(one, ids)
    return tuple(each.without_texts() if draw(st.booleans()) else each for each in made)


@st.composite
def run_tuples(draw: st.DrawFn, pool: int, test: int, metrics: list[str]) -> tuple[Run, ...]:
    runs = []
    for index in sorted(draw(st.sets(st.integers(0, 20_000), max_size=3))):
        steps, width = draw(st.integers(1, 5)), draw(st.integers(1, 3))
        batches = draw(arrays.arrays(st.sampled_from(["i4", "i8"]), (steps, width), elements=st.integers(-1, pool - 1)))
        rates = draw(arrays.arrays("f8", steps, elements=st.floats(0, 1)))
        recorded = np.array(sorted(draw(st.sets(st.integers(0, steps), min_size=1))), dtype=np.int64)
        values = {}
        for name in metrics:
            dtype, width = draw(st.sampled_from([("f4", 32), ("f8", 64)]))
            values[name] = draw(arrays.arrays(dtype, (len(recorded), test), elements=st.floats(width=width)))
        seed, role = draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from(ROLES))
        runs.append(Run(index, seed, role, Curriculum(batches, rates), recorded, values))
    return tuple(runs)


@st.composite
def recordings(draw: st.DrawFn) -> Dynamics:
    pool, test = draw(example_tuples(5)), draw(example_tuples(3))
    names = draw(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=2, unique=True))
    low = st.floats(allow_nan=False, max_value=0)
    metrics = {name: MetricInfo(name, draw(st.booleans()), draw(low), -draw(low)) for name in names}
    return Dynamics(pool, test, metrics, draw(run_tuples(len(pool), len(test), names)), draw(free_settings))


@given(recordings())
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
def test_what_is_written_is_read(dynamics: Dynamics) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.h5"
        write_dynamics(path, dynamics)
        found = read_dynamics(path)
    assert (found.pool, found.test, found.settings) == (dynamics.pool, dynamics.test, dynamics.settings)
    assert found.metrics == dynamics.metrics
    assert [(run.seed, run.role) for run in found.runs] == [(run.seed, run.role) for run in dynamics.runs]
    # Covers every array, its dtype included, and is right about NaN.
    assert found.fingerprint == dynamics.fingerprint


def test_appended_runs_are_read_in_order_of_index(
    tmp_path: Path, dynamics: Dynamics, make_run: Callable[[int], Run]
) -> None:
    path = tmp_path / "a.h5"
    write_dynamics(path, replace(dynamics, runs=()))
    for index in (10_001, 2, 9_999):
        append_run(path, make_run(index))
    whole = replace(dynamics, runs=(make_run(2), make_run(9_999), make_run(10_001)))
    assert read_dynamics(path).fingerprint == whole.fingerprint


def test_a_run_is_appended_once(tmp_path: Path, dynamics: Dynamics, make_run: Callable[[int], Run]) -> None:
    path = tmp_path / "a.h5"
    write_dynamics(path, dynamics)
    before = path.read_bytes()
    with pytest.raises(DataError, match="has run-0003 already"):
        append_run(path, make_run(3))
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("key", "value"),
    [("batch_size", "abc"), ("batch_size", 0), ("steps", True), ("schedule", ["linear"]), ("seed", -1), ("data", 3)],
)
def test_settings_of_the_wrong_type_are_refused(tmp_path: Path, dynamics: Dynamics, key: str, value: object) -> None:
    with pytest.raises(DataError, match=f"a.h5 has the setting {key} = "):
        write_dynamics(tmp_path / "a.h5", replace(dynamics, settings={key: value}))
    write_dynamics(tmp_path / "a.h5", dynamics)
    with files.amend(tmp_path / "a.h5", DYNAMICS) as file:
        del file["settings"]
        hdf5.put_text(file, "settings", {key: value})
    with pytest.raises(DataError, match=f"a.h5 has the setting {key} = "):
        read_dynamics(tmp_path / "a.h5")


@pytest.mark.parametrize(
    "wrong",
    [
        {"learning_rate": 1e300},
        {"learning_rate": "fast"},
        {"learning_rate": True},
        {"betas": [0.9]},
        {"betas": [0.9, 1.0]},
        {"max_length": -1},
        {"max_length": 2**64},
        {"accumulate": 0},
        {"train_layers": [1]},
        {"flip_labels": float("nan")},
        {"lora": 3},
        {"metrics": [1]},
        {"shard": "yes"},
        {"seed": -1},
        {"steps": 10**400},
        {"task": None},
        {"source": {}},
    ],
)
def test_settings_of_another_kind_are_refused(tmp_path: Path, dynamics: Dynamics, wrong: dict[str, object]) -> None:
    with pytest.raises(DataError, match=f"has the setting {next(iter(wrong))} = "):
        write_dynamics(tmp_path / "a.h5", replace(dynamics, settings=wrong))


def test_settings_that_may_be_null(tmp_path: Path, dynamics: Dynamics) -> None:
    write_dynamics(tmp_path / "a.h5", replace(dynamics, settings={"learning_rate": None, "lora": None, "other": [1]}))
