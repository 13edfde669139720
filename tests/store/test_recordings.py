import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gptfl.core import Curriculum, Dynamics, Example, MetricInfo, Run
from gptfl.core.recording_settings import SETTINGS
from gptfl.errors import DataError
from gptfl.store import files, hdf5
from gptfl.store.examples import get_examples
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
    ("change", "message"),
    [
        ({"role": "judge"}, "role 'judge'"),
        ({"index": -1}, "index -1"),
        ({"curriculum": Curriculum(np.array([[0, 4], [1, 1], [2, 2]]), np.ones(3))}, "examples 0 to 4 of a pool of 4"),
        ({"curriculum": Curriculum(np.array([[0, -2], [1, 1], [2, 2]]), np.ones(3))}, "examples -2 to 2"),
        ({"curriculum": Curriculum(np.array([[0], [1], [2]]), np.ones(2))}, r"learning rates of shape \(2,\)"),
        ({"curriculum": Curriculum(np.array([[0], [1], [2]]), np.array([1.0, np.nan, 0.0]))}, "not finite"),
        ({"steps": np.array([0, 3, 2])}, "don't ascend"),
        ({"steps": np.array([0, 2, 4])}, "records step 4 of 3"),
        ({"metrics": {"accuracy": np.zeros((3, 2))}}, "has the metrics accuracy, not loss"),
        ({"metrics": {"loss": np.zeros((3, 3))}}, r"loss of shape \(3, 3\), not \(3, 2\)"),
    ],
)
def test_a_run_that_does_not_fit_is_refused(
    tmp_path: Path, dynamics: Dynamics, make_run: Callable[[int], Run], change: dict[str, object], message: str
) -> None:
    path = tmp_path / "a.h5"
    write_dynamics(path, dynamics)
    run = replace(make_run(5), **change)
    with pytest.raises(DataError, match=rf"a\.h5: run-.*{message}"):
        append_run(path, run)
    with pytest.raises(DataError, match=message):
        write_dynamics(path, replace(dynamics, runs=(run,)))
    assert read_dynamics(path).fingerprint == dynamics.fingerprint


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


@pytest.mark.parametrize(("label", "choices"), [(10**11, ()), (-1, ()), (2, (" ja", " nein"))])
def test_labels_out_of_range_are_refused(
    tmp_path: Path, dynamics: Dynamics, label: int, choices: tuple[str, ...]
) -> None:
    odd = replace(dynamics.pool[0], label=label, choices=choices)
    with pytest.raises(DataError, match=f"example 'p0' has the label {label} of"):
        write_dynamics(tmp_path / "a.h5", replace(dynamics, pool=(odd, *dynamics.pool[1:])))
    row = {"id": "p0", "prompt": "", "target": "", "choices": list(choices), "label": label, "fields": {}, "digest": ""}
    with h5py.File(tmp_path / "b.h5", "w") as file:
        hdf5.put_lines(file, "pool", [row])
        with pytest.raises(DataError, match=f"example 'p0' has the label {label} of"):
            get_examples(file, "pool")


def test_how_long_a_run_took_is_kept_beside_it_and_in_no_fingerprint(tmp_path: Path) -> None:
    run = Run(0, 1, "fit", Curriculum(np.zeros((1, 1), int), np.ones(1)), np.array([0]), {"loss": np.ones((1, 1))})
    one = (Example("a", "b", "c"),)
    plain = Dynamics(one, one, {"loss": MetricInfo("loss", False)}, (run,))
    timed = replace(plain, runs=(replace(run, seconds=1.5),))
    for name, dynamics in (("plain", plain), ("timed", timed)):
        write_dynamics(tmp_path / name, dynamics)
    assert read_dynamics(tmp_path / "plain").runs[0].seconds is None
    assert read_dynamics(tmp_path / "timed").runs[0].seconds == 1.5
    assert plain.fingerprint == timed.fingerprint == read_dynamics(tmp_path / "timed").fingerprint
    for wrong in (-1.0, np.nan, np.inf, "long"):
        with h5py.File(tmp_path / "timed", "r+") as file:
            file["runs/run-0000"].attrs["seconds"] = wrong
        with pytest.raises(DataError, match="seconds"):
            read_dynamics(tmp_path / "timed")
