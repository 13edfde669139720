"""What was changed since it was written is refused, down to a single bit."""

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import pytest

from gptfl.core import Dynamics, Example, MetricInfo
from gptfl.errors import DataError
from gptfl.store import digests, files, hdf5
from gptfl.store.features import open_features, read_features
from gptfl.store.kinds import SIMULATOR
from gptfl.store.predictions import read_predictions
from gptfl.store.recordings import append_run, merge_runs, read_dynamics, write_dynamics
from gptfl.store.sketches import StoredPoints

TOOL = Path(__file__).parents[2] / "tools" / "flip_bits.py"
SAMPLES = Path(__file__).parent / "samples"
EVERY = {"recording": 400, "features": 200}
"""Of so many bytes one is tried here, of other kinds one of 60; the tool tries all."""


def load_tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("flip_bits", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["flip_bits"] = module
    spec.loader.exec_module(module)
    return module


tool = load_tool()


@pytest.mark.parametrize("kind", tool.KINDS)
def test_a_flipped_bit_is_refused_or_harmless(tmp_path: Path, kind: str) -> None:
    found = tool.try_kind(kind, tmp_path, every=EVERY.get(kind, 60), offset=7, seed=7)
    assert found.faults == []
    assert found.refused > 0
    assert found.refused + found.same == found.flips


def find(image: bytes, text: bytes) -> int:
    place = image.find(text)
    assert place > 0
    return place


@pytest.mark.parametrize("text", [b'"task": "tiny"', b"run-0003", b"digest", b"gptfl-dynamics", b"seed", b"metrics"])
def test_every_bit_of_what_describes_a_file_is_summed_up(tmp_path: Path, dynamics: Dynamics, text: bytes) -> None:
    path = tmp_path / "a.h5"
    write_dynamics(path, dynamics)
    image = path.read_bytes()
    place = find(image, text)
    for byte in range(place, place + len(text)):
        changed = bytearray(image)
        changed[byte] ^= 1 << (byte % 8)
        path.write_bytes(changed)
        with pytest.raises(DataError, match=r"a\.h5 "):
            read_dynamics(path)


def assign(name: str, value: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file[name][...] = value

    return change


def retold(name: str, old: bytes, new: bytes) -> Callable[[h5py.File], None]:
    """Other examples, in the place of the former ones."""

    def change(file: h5py.File) -> None:
        text = file[name][()].tobytes()
        assert old in text
        del file[name]
        file.create_dataset(name, data=np.frombuffer(text.replace(old, new), dtype=np.uint8))

    return change


def without(name: str) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]

    return change


def attribute(name: str, key: str, value: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file[name].attrs[key] = value

    return change


def swap(one: str, other: str) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file.move(one, "aside")
        file.move(other, one)
        file.move("aside", other)

    return change


def read_points(path: Path) -> Any:
    return list(StoredPoints(path, [0]))


def read_parts(path: Path) -> None:
    with open_features(path, read_dynamics(path.with_name("a.dynamics.h5"))):
        pass


@pytest.mark.parametrize(
    ("kind", "read", "change"),
    [
        ("recording", read_dynamics, retold("examples/pool", b'"label": 0', b'"label": 1')),
        ("recording", read_dynamics, retold("examples/pool", b"Ist das", b"War das")),
        ("recording", read_dynamics, assign("runs/run-0000/metrics/accuracy", 0.5)),
        ("recording", read_dynamics, assign("runs/run-0000/batches", 0)),
        ("recording", read_dynamics, assign("gradients/raw", 1.0)),
        ("recording", read_dynamics, swap("gradients/raw", "gradients/preconditioned")),
        ("recording", read_dynamics, attribute("runs/run-0000", "role", np.bytes_(b"test"))),
        ("recording", read_dynamics, attribute("runs/run-0000", "seed", np.int64(5))),
        ("recording", read_dynamics, attribute("sketches", "seconds", np.float64(5))),
        ("recording", read_dynamics, attribute("sketches", "more", h5py.Empty("f8"))),
        ("recording", read_dynamics, attribute("sketches", "digest", np.int64(5))),
        ("recording", read_dynamics, without("runs/run-0000/derivatives/update")),
        ("recording", read_points, assign("sketches/points/0/train", 0.25)),
        ("features", read_features, assign("sets/text/train", 3.0)),
        ("features", read_parts, assign("sets/text/test", 3.0)),
        ("features", read_features, attribute("/", "encoder", np.bytes_(b"another"))),
        ("simulator", tool.read_simulator, assign("state/w", 3.0)),
        ("simulator", tool.read_simulator, without("state/count")),
        ("predictions", read_predictions, assign("values", 0.5)),
        ("predictions", read_predictions, assign("intervals/00/low", 0.5)),
        ("predictions", read_predictions, attribute("intervals/00", "level", np.float64(0.5))),
        ("predictions", read_predictions, without("novelty")),
    ],
)
def test_what_is_changed_with_other_tools_is_refused(
    tmp_path: Path, kind: str, read: Callable[[Path], Any], change: Callable[[h5py.File], None]
) -> None:
    path = tool.KINDS[kind][0](tmp_path)
    read(path)
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        change(file)
    with pytest.raises(DataError, match=r"is damaged: .* is not as it was written: make it again"):
        read(path)


def test_texts_that_were_changed_in_a_file_without_digests_are_refused(tmp_path: Path, dynamics: Dynamics) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes((SAMPLES / "v1" / "dynamics.h5").read_bytes())
    before = read_dynamics(path).fingerprint
    with h5py.File(path, "r+") as file:
        retold("examples/pool", "Größe 1".encode(), "Größe 7".encode())(file)
    with pytest.raises(DataError, match=r"examples/pool: the text of 'p1' is not that of its digest"):
        read_dynamics(path)
    path.write_bytes((SAMPLES / "v1" / "dynamics.h5").read_bytes())
    assert read_dynamics(path).fingerprint == before


def test_what_an_older_gptfl_added_is_read(tmp_path: Path, dynamics: Dynamics) -> None:
    # It copies whole groups and writes no digests.
    path = tmp_path / "a.h5"
    write_dynamics(path, dynamics)
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        file.copy("runs/run-0000", "runs/run-0007")
        group = file["runs/run-0007"]
        group.attrs["index"] = np.int64(7)
        for one in (group, *group.values(), *group["metrics"].values()):
            one.attrs.pop("digest", None)
    assert [run.index for run in read_dynamics(path).runs] == [0, 3, 7]


def test_a_run_that_is_added_to_a_file_without_digests_has_some(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes((SAMPLES / "v1" / "dynamics.h5").read_bytes())
    append_run(path, replace(read_dynamics(path).runs[0], index=8))
    merge_runs(path)
    assert [run.index for run in read_dynamics(path).runs] == [0, 3, 6, 8]
    with h5py.File(path) as file:
        assert "digest" in file["runs/run-0008/steps"].attrs
        assert "digest" in file["runs/run-0008"].attrs
        assert "digest" not in file.attrs


def test_what_was_changed_is_not_amended(tmp_path: Path, dynamics: Dynamics) -> None:
    path = tmp_path / "a.h5"
    write_dynamics(path, dynamics)
    with h5py.File(path, "r+") as file:
        file.attrs["created"] = np.bytes_(b"long ago")
    before = path.read_bytes()
    with pytest.raises(DataError, match="/ is not as it was written"), files.amend(path, "gptfl-dynamics"):
        pass
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((0, 3)),
        np.array(7),
        np.array([[True, False]]),
        np.arange(6, dtype=np.float16).reshape(2, 3),
        np.arange(6, dtype=">i4"),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array([np.nan, -0.0]),
    ],
)
def test_arrays_of_any_type_and_shape_have_digests(tmp_path: Path, array: np.ndarray) -> None:
    with files.create(tmp_path / "a.h5", SIMULATOR, settings={}, inputs={}) as file:
        hdf5.put_array(file, "value", array)
    with files.open_file(tmp_path / "a.h5", SIMULATOR) as file:
        np.testing.assert_array_equal(hdf5.get_array(file, "value"), array)
        known = digests.kept(file["value"].id)
    halves = [array] if array.ndim == 0 else [array[:1], array[1:]]
    assert known == digests.of_array(array) == digests.of_blocks(array.dtype, array.shape, halves)
    others = (array.reshape(-1, 1), array.astype("f4"))
    assert known not in map(digests.of_array, others)


def test_a_digest_is_what_the_docs_say(tmp_path: Path) -> None:
    import hashlib

    array = np.arange(6, dtype="<f4").reshape(3, 2)
    with files.create(tmp_path / "a.h5", SIMULATOR, settings={}, inputs={}) as file:
        group = file.create_group("state")
        hdf5.put_array(group, "w", array)
        hdf5.put_number(group, "n", 3)
    of_array = hashlib.blake2b(b"<f4(3, 2)" + array.tobytes(), digest_size=16).hexdigest()
    pieces = [b"n", b"<i8", (3).to_bytes(8, "little"), b"w", of_array.encode()]
    of_group = hashlib.blake2b(b"".join(piece + b"\0" for piece in pieces), digest_size=16).hexdigest()
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["state/w"].attrs["digest"] == of_array.encode()
        assert file["state"].attrs["digest"] == of_group.encode()


def test_a_metric_without_runs_is_summed_up_too(tmp_path: Path) -> None:
    example = Example("a", "x", "y")
    write_dynamics(tmp_path / "a.h5", Dynamics((example,), (example,), {"loss": MetricInfo("loss", False)}, ()))
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        text = file["metrics"][()].replace(b"loss", b"gain")
        file["metrics"][()] = text
    with pytest.raises(DataError, match="/metrics is not as it was written"):
        read_dynamics(tmp_path / "a.h5")
