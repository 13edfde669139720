"""Gradient sketches in a recording's file: what rounding costs, that they are read late, and what is refused."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from gptfl.core import Dynamics, GradientProducts, GradientSketches, Run, SketchPoint
from gptfl.core.blocked_products import BlockedProducts, as_products
from gptfl.core.blocked_rows import BlockedRows, as_array
from gptfl.errors import DataError
from gptfl.store import sketches as stored
from gptfl.store.recordings import append_run, append_sketches, read_dynamics, write_dynamics
from gptfl.store.sketches import pack, unpack


@pytest.fixture
def sketches() -> GradientSketches:
    """Of two of three steps, for the tiny recording's four pool and two test examples."""
    random = np.random.default_rng(0)

    def draw(rows: int) -> np.ndarray:
        # Rows of very different lengths, and one of zeros.
        values = random.normal(size=(rows, 6)) * 10.0 ** np.arange(-12, -12 + 8 * rows, 8)[:, None]
        values[0, 0] = 0
        return values.astype(np.float32)

    points = (SketchPoint(0, draw(4), draw(2), None), SketchPoint(3, draw(4), draw(2), draw(4), draw(4), draw(2)))
    return GradientSketches(7, np.array([0, 3]), np.array([0.3, 0.2, 0.1]), 6, "*mlp*", points, 1.5)


def test_rounding_keeps_eleven_bits_of_every_row() -> None:
    random = np.random.default_rng(1)
    values = (random.standard_t(2, size=(50, 300)) * 10.0 ** random.integers(-30, 30, size=(50, 1))).astype(np.float32)
    values[3] = 0
    packed, scales = pack(values)
    assert packed.dtype == np.float16
    found = unpack(packed, scales)
    largest = np.abs(values).max(axis=1, keepdims=True)
    assert (np.abs(found - values) <= np.maximum(np.abs(values) * 5.1e-4, largest * 3.1e-8)).all()
    np.testing.assert_array_equal(unpack(*pack(found)), found)


def test_sketches_are_read_as_written_and_change_no_fingerprint(
    tmp_path: Path, dynamics: Dynamics, sketches: GradientSketches
) -> None:
    path = tmp_path / "a.h5"
    write_dynamics(path, dynamics)
    assert read_dynamics(path).sketches is None
    append_sketches(path, sketches)
    read = read_dynamics(path)
    found = read.sketches
    assert found is not None
    assert read.fingerprint == dynamics.fingerprint
    assert (found.seed, found.dimensions, found.modules, found.seconds) == (7, 6, "*mlp*", 1.5)
    np.testing.assert_array_equal(found.steps, [0, 3])
    np.testing.assert_array_equal(found.learning_rates, [0.3, 0.2, 0.1])
    for one, other in zip(found.points, sketches.points, strict=True):
        assert one.step == other.step
        assert one.train.dtype == np.float32
        np.testing.assert_allclose(one.train, other.train, rtol=5.1e-4, atol=0)
        np.testing.assert_allclose(one.test, other.test, rtol=5.1e-4, atol=0)
    assert found.points[0].preconditioned is None
    for name in ("preconditioned", "split_train", "split_test"):
        got, given = (getattr(one.points[1], name) for one in (found, sketches))
        np.testing.assert_allclose(got, given, rtol=5.1e-4)
    assert [one.step for one in found.points[1:]] == [3]
    write_dynamics(tmp_path / "b.h5", read)
    again = read_dynamics(tmp_path / "b.h5").sketches
    assert again is not None
    assert again.fingerprint == found.fingerprint
    write_dynamics(tmp_path / "c.h5", replace(dynamics, sketches=replace(sketches, modules=None, seconds=None)))
    bare = read_dynamics(tmp_path / "c.h5").sketches
    assert bare is not None
    assert (bare.modules, bare.seconds) == (None, None)


class InBlocks(tuple):
    """Points whose pool's rows are read some at a time."""

    def in_blocks(self, place: int) -> SketchPoint:
        one = self[place]
        names = ("train", "preconditioned", "split_train")
        pool = {name: as_array(FewRows(getattr(one, name))) for name in names if getattr(one, name) is not None}
        return replace(one, **pool)


class FewRows(BlockedRows):
    """Rows in memory, three of them at a time."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows, self.shape, self.dtype = rows, rows.shape, rows.dtype

    def read(self, start: int, stop: int) -> np.ndarray:
        return self.rows[start:stop]

    def blocks(self, count: int | None = None) -> Iterator[tuple[int, np.ndarray]]:
        return super().blocks(3)


def test_those_in_blocks_that_are_many_lie_in_one_piece_and_are_the_same(
    tmp_path: Path, dynamics: Dynamics, sketches: GradientSketches, make_run: Callable[[int], Run], monkeypatch: Any
) -> None:
    random = np.random.default_rng(2)
    arrays = {name: random.normal(size=(2, 4, 2)).astype(np.float32) for name in ("raw", "preconditioned")}
    own = {f"self_{name}": random.normal(size=(2, 4)).astype(np.float32) for name in arrays}
    products = GradientProducts(7, sketches.steps, sketches.learning_rates, **arrays, **own)
    given = replace(sketches, products=products)
    blocked = {name: as_products(BlockedProducts([FewRows(one) for one in values])) for name, values in arrays.items()}
    large = replace(given, points=InBlocks(given.points), products=replace(products, **blocked))
    found = {}
    for name, one, limit in (
        ("packed", given, 1),
        ("few", replace(large, products=products), 2**27),
        ("many", replace(large, products=products), 1),
        ("products", large, 2**27),
    ):
        monkeypatch.setattr(stored, "LARGE", limit)
        path = tmp_path / name / "a.dynamics.h5"
        path.parent.mkdir()
        write_dynamics(path, dynamics)
        append_run(path, make_run(7))
        append_sketches(path, one)
        read = read_dynamics(path)
        assert [run.index for run in read.runs] == [*(run.index for run in dynamics.runs), 7]
        assert read.sketches is not None
        with h5py.File(path) as file:
            chunks = file["sketches/points/3/train"].chunks, file["sketches/products/raw"].chunks
        found[name] = read.sketches.fingerprint, chunks[0] is None, chunks[1] is None
        with pytest.raises(DataError, match="has gradient sketches already"):
            append_sketches(path, one)
        write_dynamics(tmp_path / f"{name}.h5", replace(dynamics, sketches=one))
        again = read_dynamics(tmp_path / f"{name}.h5").sketches
        assert again is not None
        assert again.fingerprint == found[name][0]
        assert [one.name for one in path.parent.iterdir()] == [path.name]
    assert len({one[0] for one in found.values()}) == 1
    assert {name: one[1:] for name, one in found.items()} == {
        "packed": (False, False), "few": (False, False), "many": (True, False), "products": (True, True)
    }  # fmt: skip


def test_many_whose_writing_ends_leave_what_was_there(
    tmp_path: Path, dynamics: Dynamics, sketches: GradientSketches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "LARGE", 1)
    path = tmp_path / "a.dynamics.h5"
    write_dynamics(path, dynamics)
    before = path.read_bytes()

    class Ending(FewRows):
        def read(self, start: int, stop: int) -> np.ndarray:
            raise KeyboardInterrupt

    class Points(InBlocks):
        def in_blocks(self, place: int) -> SketchPoint:
            return replace(self[place], train=as_array(Ending(self[place].train)))

    with pytest.raises(KeyboardInterrupt):
        append_sketches(path, replace(sketches, points=Points(sketches.points)))
    short = replace(sketches, points=InBlocks([replace(one, train=one.train[:2]) for one in sketches.points]))
    with pytest.raises(DataError, match=r"have the shapes \(2, 6\) and \(2,\), not \(4, 6\) and \(4,\)"):
        append_sketches(path, short)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_what_divides_is_kept_and_identifies_sketches_and_products(
    tmp_path: Path, dynamics: Dynamics, sketches: GradientSketches
) -> None:
    older = replace(sketches, products=estimates())
    newer = replace(sketches, products=replace(estimates(), own_counted=True), own_counted=True)
    found = []
    for name, one in (("older", older), ("newer", newer)):
        path = tmp_path / f"{name}.h5"
        write_dynamics(path, dynamics)
        append_sketches(path, one)
        read = read_dynamics(path).sketches
        assert read is not None
        assert read.products is not None
        assert (read.own_counted, read.products.own_counted) == (name == "newer",) * 2
        with h5py.File(path) as file:
            assert ("own_counted" in file["sketches"].attrs) == (name == "newer")
        found.append((read.fingerprint, read.products.fingerprint))
    assert set(found[0]).isdisjoint(found[1])


def estimates() -> GradientProducts:
    random = np.random.default_rng(2)
    raw, divided = random.normal(size=(2, 2, 4, 2)).astype(np.float32)
    divided[0] = np.nan
    own, own_divided = random.normal(size=(2, 2, 4)).astype(np.float32)
    return GradientProducts(7, np.array([0, 3]), np.array([0.3, 0.2, 0.1]), raw, divided, own, own_divided)


def test_estimated_products_are_read_as_written_and_count(
    tmp_path: Path, dynamics: Dynamics, sketches: GradientSketches
) -> None:
    path = tmp_path / "a.h5"
    write_dynamics(path, dynamics)
    append_sketches(path, replace(sketches, products=estimates()))
    read = read_dynamics(path)
    assert read.sketches is not None
    assert read.sketches.products is not None
    assert read.gradients is None
    assert read.known_products is read.sketches.products
    assert read.sketches.products.fingerprint == estimates().fingerprint
    assert read.sketches.fingerprint != replace(read.sketches, products=None).fingerprint
    write_dynamics(tmp_path / "b.h5", read)
    assert read_dynamics(tmp_path / "b.h5").sketches.fingerprint == read.sketches.fingerprint  # type: ignore[union-attr]


def test_estimated_products_of_other_examples_are_refused(
    tmp_path: Path, dynamics: Dynamics, sketches: GradientSketches
) -> None:
    path = tmp_path / "a.h5"
    write_dynamics(path, dynamics)
    wrong = replace(estimates(), raw=estimates().raw[:, :3])
    with pytest.raises(
        DataError, match=r"its gradient products \(raw\) have the shape .*: record it again .* --sketches"
    ):
        append_sketches(path, replace(sketches, products=wrong))
    elsewhere = replace(estimates(), steps=np.array([0, 2]))
    with pytest.raises(DataError, match="have products at other steps"):
        append_sketches(path, replace(sketches, products=elsewhere))
    assert read_dynamics(path).sketches is None


def test_sketches_are_read_when_they_are_asked_for(
    tmp_path: Path, dynamics: Dynamics, sketches: GradientSketches, make_run: Callable[[int], Run]
) -> None:
    path = tmp_path / "a.h5"
    write_dynamics(path, replace(dynamics, sketches=sketches))
    found = read_dynamics(path).sketches
    assert found is not None
    append_run(path, make_run(5))
    assert found.points[1].step == 3
    path.unlink()
    with pytest.raises(DataError, match="does not exist"):
        found.points[0]


def test_sketches_are_added_once(tmp_path: Path, dynamics: Dynamics, sketches: GradientSketches) -> None:
    path = tmp_path / "a.h5"
    write_dynamics(path, replace(dynamics, sketches=sketches))
    before = path.read_bytes()
    with pytest.raises(DataError, match="has gradient sketches already: record under another --name"):
        append_sketches(path, sketches)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"steps": np.array([3, 0])}, "its gradient sketches are at steps that don't ascend"),
        ({"steps": np.array([0, 4])}, "are at step 4 of 3"),
        ({"learning_rates": np.array([0.3, np.nan, 0.1])}, "have a learning rate that is negative or not finite"),
        ({"dimensions": 0}, "have 0 dimensions"),
        ({"dimensions": 7}, r"have the shapes \(4, 6\) and \(4,\), not \(4, 7\) and \(4,\)"),
    ],
)
def test_sketches_that_do_not_fit_are_refused(
    tmp_path: Path, dynamics: Dynamics, sketches: GradientSketches, changed: dict[str, Any], message: str
) -> None:
    path = tmp_path / "a.h5"
    write_dynamics(path, dynamics)
    before = path.read_bytes()
    with pytest.raises(DataError, match=message):
        append_sketches(path, replace(sketches, **changed))
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", ["shape", "missing", "infinite", "words", "text"])
def test_a_damaged_file_is_one_line(
    tmp_path: Path, dynamics: Dynamics, sketches: GradientSketches, damage: str
) -> None:
    path = tmp_path / "a.h5"
    write_dynamics(path, replace(dynamics, sketches=sketches))
    with h5py.File(path, "r+") as file:
        point = file["sketches/points/3"]
        if damage == "infinite":
            point["test_scale"][...] = np.inf
        else:
            del point["train"]
        if damage == "shape":
            point["train"] = np.zeros((3, 6), dtype=np.float16)
        if damage == "words":
            point["train"] = np.zeros((4, 6), dtype=np.int64)
        if damage == "text":
            point.create_group("train")

    def read() -> None:
        found = read_dynamics(path).sketches
        assert found is not None
        found.points[1]

    with pytest.raises(DataError):
        read()


def test_a_point_of_which_some_rows_are_read_is_the_same_point(
    tmp_path: Path, dynamics: Dynamics, sketches: GradientSketches
) -> None:
    path = tmp_path / "a.h5"
    write_dynamics(path, replace(dynamics, sketches=sketches))
    found = read_dynamics(path).sketches
    assert found is not None
    for place, whole in enumerate(found.points):
        some = found.point(place)
        for name in ("train", "preconditioned", "split_train"):
            rows, expected = getattr(some, name), getattr(whole, name)
            if expected is None:
                assert rows is None
                continue
            assert isinstance(rows, BlockedRows)
            assert rows.dtype == expected.dtype
            np.testing.assert_array_equal(np.asarray(rows), expected)
            np.testing.assert_array_equal(rows[1:3], expected[1:3])
            np.testing.assert_array_equal(rows[[3, 0, 3]], expected[[3, 0, 3]])
        np.testing.assert_array_equal(some.test, whole.test)
    in_memory = replace(found, points=tuple(found.points))
    assert in_memory.point(1) is in_memory.points[1]
    assert in_memory.fingerprint == found.fingerprint


def test_rows_of_a_point_that_are_not_finite_are_refused_when_they_are_read(
    tmp_path: Path, dynamics: Dynamics, sketches: GradientSketches
) -> None:
    path = tmp_path / "a.h5"
    write_dynamics(path, replace(dynamics, sketches=sketches))
    found = read_dynamics(path).sketches
    assert found is not None
    rows = found.point(1).train
    with h5py.File(path, "r+") as file:
        file["sketches/points/3/train"][2, 1] = np.nan
    assert np.isfinite(rows[:2]).all()
    with pytest.raises(DataError, match="not finite"):
        rows[1:3]
