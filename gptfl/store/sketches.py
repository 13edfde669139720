"""Gradient sketches inside a recording: 16-bit floats with a scale for each row, read a point at a time."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import overload

import h5py
import numpy as np
from jaxtyping import Float, Float16, Float32

from gptfl.core import GradientProducts, GradientSketches, SketchPoint
from gptfl.core.blocked_rows import BlockedRows, as_array, row_blocks
from gptfl.core.gradients import PointsInBlocks
from gptfl.errors import DataError
from gptfl.interruption import uninterrupted
from gptfl.store import files, hdf5
from gptfl.store.gradients import check_gradients, get_own_counted, get_products, put_own_counted, put_products
from gptfl.store.kinds import DYNAMICS
from gptfl.store.large_files import LargeFile
from gptfl.store.seconds import get_seconds, put_seconds

GROUP, PRODUCTS = "sketches", "products"
ELSE = ("runs", "gradients")
"""Groups of a recording that take long to look through."""
LARGE = 2**27
"""Sketches that lie in files and are so many numbers or more go from there to the disk; fewer are packed, in memory."""
REMEDY = "record it again with gptfl collect --sketches"
SIDES: Mapping[str, str] = {"train": "pool", "test": "test"} | {
    "preconditioned": "pool",
    "split_train": "pool",
    "split_test": "test",
}
"""The arrays of a point, and whose rows they are; all but the first two may be missing."""


def pack(values: Float[np.ndarray, "row d"]) -> tuple[Float16[np.ndarray, "row d"], Float32[np.ndarray, " row"]]:
    """Rows as 16-bit floats, each divided by its largest number, and these; errors are below 0.05 % of a number.

    Numbers below 1/16,000 of the largest of their row err by at most 3e-8 of that one.
    """
    scales = np.abs(values).max(axis=1, initial=0.0).astype(np.float32)
    divisors = np.where(scales > 0, scales, np.float32(1))
    return (values / divisors[:, None]).astype(np.float16), scales


def unpack(values: Float16[np.ndarray, "row d"], scales: Float32[np.ndarray, " row"]) -> Float32[np.ndarray, "row d"]:
    """What ``pack`` was given, as 32-bit floats."""
    return np.asarray(values.astype(np.float32) * scales[:, None])


class _StoredSketches(BlockedRows):
    """The pool's rows of one array of a point in a recording's file, which is opened for each reading."""

    def __init__(self, path: Path, step: int, name: str, shape: tuple[int, int]) -> None:
        self.path, self.step, self.name, self.shape, self.dtype = path, step, name, shape, np.dtype(np.float32)

    def read(self, start: int, stop: int) -> Float[np.ndarray, "row d"]:
        """Rows ``start`` to ``stop``. Raises ``DataError`` where the file is gone or damaged."""
        with files.open_file(self.path, DYNAMICS, skipped=ELSE) as file:
            group = _point(file, self.step)
            packed, scales = (
                hdf5.get_rows(hdf5.get_dataset(group, name, ndim, "f", known=True), slice(start, stop))
                for name, ndim in ((self.name, 2), (f"{self.name}_scale", 1))
            )
        return _finite(packed, scales, f"{self.path}: {self.step}/{self.name}")


class StoredPoints(Sequence[SketchPoint]):
    """The points in a recording's file; each is read when it is asked for, and not kept."""

    def __init__(self, path: Path, steps: Sequence[int]) -> None:
        self.path = path
        self.steps = tuple(steps)

    def __len__(self) -> int:
        return len(self.steps)

    @overload
    def __getitem__(self, place: int) -> SketchPoint: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[SketchPoint]: ...

    def __getitem__(self, place: int | slice) -> SketchPoint | Sequence[SketchPoint]:
        """Raises ``DataError`` where the file is gone or damaged."""
        if isinstance(place, slice):
            return StoredPoints(self.path, self.steps[place])
        step = self.steps[place]
        with files.open_file(self.path, DYNAMICS) as file:
            group = _point(file, step)
            parts = {name: _unpacked(group, name) for name in SIDES if name in group}
        return SketchPoint(step, *(parts.get(name) for name in SIDES))  # type: ignore[arg-type]

    def in_blocks(self, place: int) -> SketchPoint:
        """A point of which the pool's rows are read when they are asked for.

        Raises ``DataError`` where the file is gone or damaged.
        """
        step = self.steps[place]
        parts: dict[str, np.ndarray] = {}
        with files.open_file(self.path, DYNAMICS, skipped=ELSE) as file:
            group = _point(file, step)
            for name, side in SIDES.items():
                if name in group and side == "pool":
                    dataset = hdf5.get_dataset(group, name, 2, "f")
                    parts[name] = as_array(_StoredSketches(self.path, step, name, dataset.shape))
                elif name in group:
                    parts[name] = _unpacked(group, name)
        return SketchPoint(step, *(parts.get(name) for name in SIDES))  # type: ignore[arg-type]


def are_large(sketches: GradientSketches, pool: int, test: int) -> bool:
    """Whether sketches of so many examples, or the products estimated with them, are written some rows at a time."""
    if sketches.products is not None and sketches.products.in_blocks:
        return True
    each = sketches.dimensions * sum({"pool": pool, "test": test}[side] for side in SIDES.values())
    return isinstance(sketches.points, PointsInBlocks) and len(sketches.points) * each >= LARGE


def put_sketches(
    file: h5py.File, sketches: GradientSketches, pool: int, test: int, large: LargeFile | None = None
) -> None:
    """Keep sketches in a recording.

    Args:
        file: the recording, open to write.
        sketches: of its examples' gradients.
        pool: how many training examples it has.
        test: how many test examples it has.
        large: the same recording, where sketches of the pool go to the disk some rows at a time.

    Raises ``DataError`` if it has some already or they don't fit it.
    """
    where = str(hdf5.path_of(file))
    if GROUP in file:
        raise DataError(f"{where} has gradient sketches already", "record under another --name")
    _check_run(sketches.steps, sketches.learning_rates, sketches.dimensions, where)
    with uninterrupted():
        group = file.create_group(GROUP)
        hdf5.put_number(group, "seed", sketches.seed)
        hdf5.put_number(group, "dimensions", sketches.dimensions)
        if sketches.modules:
            hdf5.put_word(group, "modules", sketches.modules)
        put_seconds(group, sketches.seconds)
        put_own_counted(group, sketches.own_counted)
        hdf5.put_array(group, "steps", sketches.steps)
        hdf5.put_array(group, "learning_rates", sketches.learning_rates)
    if sketches.products is not None:
        _check_products(sketches.products, sketches.steps, pool, test, where)
        put_products(group.create_group(PRODUCTS), sketches.products, large)
    points = group.create_group("points")
    for place, step in enumerate(sketches.steps.tolist()):
        one = sketches.point(place)
        point = points.create_group(str(step))
        for name in SIDES:
            values = getattr(one, name)
            if values is not None:
                _put_rows(point, name, values, large)
        _check_shapes(point, sketches.dimensions, pool, test)


def _put_rows(group: h5py.Group, name: str, values: Float[np.ndarray, "row d"], large: LargeFile | None) -> None:
    """Keep one array of a point, packed or, in a ``large`` file, where it comes in blocks, one block after the other."""
    scales = np.empty(len(values), dtype=np.float32)

    def blocks() -> Iterator[Float16[np.ndarray, "row d"]]:
        for start, rows in row_blocks(values):
            packed, scales[start : start + len(rows)] = pack(rows)
            yield packed

    if large is not None and isinstance(values, BlockedRows):
        large.put_rows(group, name, values.shape, np.dtype(np.float16), blocks())
    else:
        packed, end = np.empty(values.shape, np.float16), 0
        for some in blocks():
            packed[end : end + len(some)] = some
            end += len(some)
        with uninterrupted():
            hdf5.put_array(group, name, packed)
    with uninterrupted():
        hdf5.put_array(group, f"{name}_scale", scales)


def get_sketches(file: h5py.File, pool: int, test: int) -> GradientSketches | None:
    """The sketches of a recording, none of which is read yet but their products; None if it has none.

    Raises ``DataError`` where they don't fit it.
    """
    if GROUP not in file:
        return None
    group = hdf5.get_group(file, GROUP)
    steps, rates = hdf5.get_array(group, "steps", 1, "i"), hdf5.get_array(group, "learning_rates", 1, "f")
    dimensions = hdf5.get_int(group, "dimensions")
    _check_run(steps, rates, dimensions, str(hdf5.path_of(file)))
    for step in steps.tolist():
        _check_shapes(_point(file, step), dimensions, pool, test)
    products = None
    if PRODUCTS in group:
        products = get_products(hdf5.get_group(group, PRODUCTS), pool, test, REMEDY)
        _check_products(products, steps, pool, test, str(hdf5.path_of(file)))
    return GradientSketches(
        seed=hdf5.get_int(group, "seed"),
        steps=steps,
        learning_rates=rates,
        dimensions=dimensions,
        modules=hdf5.get_word(group, "modules") if "modules" in group.attrs else None,
        points=StoredPoints(hdf5.path_of(file), steps.tolist()),
        seconds=get_seconds(group),
        products=products,
        own_counted=get_own_counted(group),
    )


def _point(file: h5py.File, step: int) -> h5py.Group:
    return hdf5.get_group(hdf5.get_group(hdf5.get_group(file, GROUP), "points"), str(step))


def _unpacked(group: h5py.Group, name: str) -> Float[np.ndarray, "row d"]:
    packed, scales = hdf5.get_array(group, name, 2, "f"), hdf5.get_array(group, f"{name}_scale", 1, "f")
    return _finite(packed, scales, f"{hdf5.path_of(group)}: {group.name}/{name}")


def _finite(
    packed: Float[np.ndarray, "row d"], scales: Float[np.ndarray, " row"], where: str
) -> Float[np.ndarray, "row d"]:
    with np.errstate(over="ignore", invalid="ignore"):
        values = unpack(packed, scales)
    if not np.isfinite(values).all():
        raise DataError(f"{where} holds values that are not finite", REMEDY)
    return values


def _check_run(steps: np.ndarray, rates: np.ndarray, dimensions: int, where: str) -> None:
    problem = ""
    if rates.ndim != 1 or not np.isfinite(rates).all() or (rates < 0).any():
        problem = "have a learning rate that is negative or not finite"
    elif steps.ndim != 1 or steps.dtype.kind != "i" or not len(steps) or (np.diff(steps) <= 0).any():
        problem = "are at steps that don't ascend"
    elif not (steps[0] >= 0 and steps[-1] <= len(rates)):
        problem = f"are at step {int(steps[-1])} of {len(rates)}"
    elif dimensions < 1:
        problem = f"have {dimensions} dimensions"
    if problem:
        raise DataError(f"{where}: its gradient sketches {problem}", REMEDY)


def _check_products(products: GradientProducts, steps: np.ndarray, pool: int, test: int, where: str) -> None:
    check_gradients(products, pool, test, where, REMEDY)
    if not np.array_equal(products.steps, steps):
        raise DataError(f"{where}: its gradient sketches have products at other steps", REMEDY)


def _check_shapes(group: h5py.Group, dimensions: int, pool: int, test: int) -> None:
    for name, side in SIDES.items():
        rows = pool if side == "pool" else test
        if name not in ("train", "test") and name not in group:
            continue
        found = hdf5.get_shape(group, name, "f"), hdf5.get_shape(group, f"{name}_scale", "f")
        if found != ((rows, dimensions), (rows,)):
            raise DataError(
                f"{hdf5.path_of(group)}: its gradient sketches ({group.name}/{name}) have the shapes {found[0]} and "
                f"{found[1]}, not {(rows, dimensions)} and {(rows,)}",
                REMEDY,
            )
