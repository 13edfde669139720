import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gptfl.core import MetricInfo, fingerprint
from gptfl.errors import DataError
from gptfl.store.simulators import SimulatorFile, read_simulator, write_simulator

SIMULATOR = SimulatorFile(
    estimator="mean-run",
    settings={"order": 2},
    state={"mean": np.zeros(3)},
    metric=MetricInfo("accuracy", higher_is_better=True, low=0.0, high=1.0),
    dynamics="0123456789abcdef",
    examples="abcdef0123456789",
    features=None,
    key="00ff00ff00ff00ff",
    info={"seconds": 0.5},
)
names = st.text(min_size=1, max_size=6)
states = st.dictionaries(
    names | st.sampled_from([".", "..", "a/b", "%2F"]),
    st.sampled_from(["f2", "f4", "f8", "i4", "i8", "u1", "bool"]).flatmap(
        lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    ),
    max_size=4,
)


@given(states, names, st.none() | names)
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
def test_what_is_written_is_read(state: dict[str, np.ndarray], metric: str, features: str | None) -> None:
    made = replace(SIMULATOR, state=state, metric=MetricInfo(metric, higher_is_better=False), features=features)
    with tempfile.TemporaryDirectory() as folder:
        write_simulator(Path(folder) / "a.h5", made)
        found = read_simulator(Path(folder) / "a.h5")
    assert replace(found, state={}) == replace(made, state={})
    assert {n: fingerprint(found.state[n]) for n in found.state} == {n: fingerprint(state[n]) for n in state}
    assert all(found.state[name].shape == state[name].shape for name in state)


@pytest.mark.parametrize("array", [np.array(["text"]), np.array([None]), np.array([1j])])
def test_a_state_other_than_numbers_is_refused(tmp_path: Path, array: np.ndarray) -> None:
    with pytest.raises(DataError, match="weights is an array of"):
        write_simulator(tmp_path / "a.h5", replace(SIMULATOR, state={"weights": array}))
    assert list(tmp_path.iterdir()) == []


def test_a_large_array_is_kept_in_several_chunks(tmp_path: Path) -> None:
    large = np.random.default_rng(0).random((3, 200_001))
    write_simulator(tmp_path / "a.h5", replace(SIMULATOR, state={"large": large}))
    np.testing.assert_array_equal(read_simulator(tmp_path / "a.h5").state["large"], large)
