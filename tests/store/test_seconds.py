"""How long something took, kept with what it made."""

import h5py
import pytest

from gptfl.errors import DataError
from gptfl.store import hdf5
from gptfl.store.seconds import get_seconds, put_seconds


def test_seconds_come_back_and_what_is_not_known_stays_so(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        put_seconds(file, None)
        assert get_seconds(file) is None
        put_seconds(file, 2)
        assert get_seconds(file) == 2.0


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf")])
def test_what_is_no_length_of_time_is_refused(tmp_path, wrong):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        hdf5.put_number(file, "seconds", wrong)
        with pytest.raises(DataError, match="says at / that it took"):
            get_seconds(file)
