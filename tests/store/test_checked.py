"""What was read of a group for its digest is not read again."""

from pathlib import Path

import h5py
import numpy as np

from gptfl.store import digests, hdf5
from gptfl.store.checked import Checked, Contents, known_array, known_value


def test_a_plain_group_knows_nothing_yet(whole: Path) -> None:
    with h5py.File(whole) as file:
        assert known_value(file, "kind") is None
        assert known_array(file, b"value") is None


def test_what_is_known_is_given_in_the_place_of_what_is_in_the_file(whole: Path) -> None:
    with h5py.File(whole) as file:
        value, array = np.array(7), (file["value"].id, "0" * 32)
        group = Checked(file.id, Contents({"größe".encode(): value}, {b"value": array}))
        assert known_value(group, "größe") is value
        assert known_array(group, b"value") is array
        assert (known_value(group, "value"), known_array(group, "größe".encode())) == (None, None)
        assert group["value"].shape == (1000,)


def test_a_group_that_was_held_against_its_digest_knows_its_contents(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("run")
        hdf5.put_number(group, "seed", 5)
        hdf5.put_array(group, "steps", np.arange(3))
        digests.seal(group)
        found = hdf5.get_group(file, "run")
        del group.attrs["seed"]
        assert hdf5.get_int(found, "seed") == 5
        assert known_array(found, b"steps")[0] == file["run/steps"].id
