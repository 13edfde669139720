"""Gradient sketches in a NumPy archive of unknown origin: read with every size checked, and turned into features."""

import io
import math
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import Dynamics, Features, SketchPoint, fingerprint
from gptfl.core.blocked_rows import as_array
from gptfl.encoders.gradients import Gradients, sets_of
from gptfl.errors import DataError
from gptfl.interchange.archive_rows import ArchiveRows

MAX_ARRAYS = 4096
MAX_UNPACKED = 2**31
"""Bytes of all sketches together, as 32-bit floats."""
MAX_HEADER = 10_000
LARGE = 2**25
"""Sketches of a pool that are so many numbers or more are read some rows at a time."""
LAYOUT = "arrays trS, teS and, where there is one, trpS for each point S, each with a scalar NAME_scale"
_NAME = re.compile(r"(trp|tr|te)(\d{1,9})(_scale)?\.npy")


def read_sketches(path: Path, pool: int, test: int) -> list[SketchPoint]:
    """The points of an archive in order, scaled, as 32-bit floats.

    Raises ``DataError`` for what is no such archive, is damaged or larger than the limits, or has sketches of
    another number of examples or dimensions, or values that are not finite.
    """
    if path.exists() and not path.is_file():
        raise DataError(f"--sketches {path} is not a plain file", "save it with numpy.savez")
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            return _points(archive, path, pool, test)
    except OSError as error:
        raise DataError(f"--sketches {path} can't be read: {error.strerror}", "check the path") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DataError(f"--sketches {path} is no whole .npz archive ({error})", "save it with numpy.savez") from error


def _points(archive: zipfile.ZipFile, path: Path, pool: int, test: int) -> list[SketchPoint]:
    members = _members(archive, path)
    shapes = {name: _header(archive, info, path)[0] for name, info in members.items()}
    steps = sorted({int(name[2:]) for name in members if re.fullmatch(r"te\d+", name)})
    if not steps:
        raise DataError(f"--sketches {path} holds no point", f"expected {LAYOUT}")
    large = sum(math.prod(shape) for name, shape in shapes.items() if name.startswith("tr")) >= LARGE
    if sum(math.prod(shape) * 4 for name, shape in shapes.items() if not (large and name[:2] == "tr")) > MAX_UNPACKED:
        raise DataError(f"--sketches {path} unpacks to more than {MAX_UNPACKED >> 30} GiB", "give fewer points")
    wide = shapes[f"te{steps[0]}"][-1:]
    for name, shape in shapes.items():
        if name.endswith("_scale"):
            expected: tuple[int, ...] = ()
        else:
            expected = ((test if name.startswith("te") else pool), *wide)
            rest = {f"te{_step(name)}", f"tr{_step(name)}"} - members.keys()
            if rest:
                raise DataError(f"--sketches {path} has {name!r} without {min(rest)!r}", f"expected {LAYOUT}")
        if shape != expected:
            raise DataError(
                f"--sketches {path}: {name!r} has shape {shape}, not {expected}",
                f"the texts are of {pool} training and {test} test examples; sketch the same, in the same order",
            )
    points = []
    for step in steps:
        found = {
            name: _rows(archive, members, name, path)
            if large and name.startswith("tr")
            else _scaled(archive, members, name, path)
            for name in _sides(step)
            if name in members
        }
        train, tests, preconditioned = (found.get(name) for name in _sides(step))
        if train is None or tests is None:
            raise DataError(f"--sketches {path} has no 'tr{step}' to its 'te{step}'", f"expected {LAYOUT}")
        points.append(SketchPoint(step, train, tests, preconditioned))
    return points


def _sides(step: int) -> tuple[str, str, str]:
    return f"tr{step}", f"te{step}", f"trp{step}"


def _step(name: str) -> int:
    return int(name.removeprefix("trp").removeprefix("tr").removeprefix("te"))


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    infos = archive.infolist()
    if len(infos) > MAX_ARRAYS:
        raise DataError(f"--sketches {path} holds more than {MAX_ARRAYS} arrays", f"expected {LAYOUT}")
    members: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        match = _NAME.fullmatch(info.filename)
        name = info.filename.removesuffix(".npy")
        if match is None or name in members or match[2] != str(int(match[2])):
            raise DataError(f"--sketches {path} holds {info.filename[:60]!r}", f"expected {LAYOUT}")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
            raise DataError(f"--sketches {path}: {name!r} is packed in an unknown way", "save it with numpy.savez")
        members[name] = info
    return members


def _header(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> tuple[tuple[int, ...], np.dtype, bool, int]:
    """Shape, type, order and length of the header; the type is one of floats, and the sizes agree."""
    with archive.open(info) as packed:
        start = io.BytesIO(packed.read(MAX_HEADER + 128))
    try:
        version = np.lib.format.read_magic(start)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, fortran, dtype = read(start, max_header_size=MAX_HEADER)
    except (ValueError, KeyError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise DataError(f"--sketches {path}: {info.filename} is no array", "save it with numpy.savez") from error
    if dtype.kind != "f" or dtype.itemsize > 8:
        raise DataError(f"--sketches {path}: {info.filename} holds {dtype}, not floats", f"expected {LAYOUT}")
    if min(shape, default=1) < 1 or math.prod(shape) * dtype.itemsize + start.tell() != info.file_size:
        raise DataError(
            f"--sketches {path}: {info.filename} declares shape {shape} and holds {info.file_size:,} bytes",
            "get it again from where it was made",
        )
    return shape, dtype, fortran, start.tell()


def _scaled(
    archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], name: str, path: Path
) -> Float[np.ndarray, "example d"]:
    # What overflows is refused below, as what isn't finite.
    with np.errstate(over="ignore", invalid="ignore"):
        values = _array(archive, members[name], path).astype(np.float32)
        if f"{name}_scale" in members:
            values *= np.float32(_array(archive, members[f"{name}_scale"], path))
    if not np.isfinite(values).all():
        raise DataError(f"--sketches {path}: {name!r} holds values that are not finite", "sketch them again")
    return values


def _rows(
    archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], name: str, path: Path
) -> Float[np.ndarray, "example d"]:
    """The same of an array that is read some rows at a time."""
    shape, dtype, fortran, begin = _header(archive, members[name], path)
    if fortran:
        return _scaled(archive, members, name, path)
    scale = float(_array(archive, members[f"{name}_scale"], path)) if f"{name}_scale" in members else 1.0
    return as_array(ArchiveRows(path, members[name].filename, (shape[0], shape[1]), dtype, begin, scale))


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> np.ndarray:
    shape, dtype, fortran, begin = _header(archive, info, path)
    with archive.open(info) as packed:
        data = packed.read(info.file_size)
    if len(data) != info.file_size:
        raise DataError(f"--sketches {path}: {info.filename} is truncated", "get it again from where it was made")
    flat = np.frombuffer(data, dtype=dtype, offset=begin)
    return flat.reshape(shape, order="F" if fortran else "C")


ENCODER = Gradients.name


def features_of(
    points: Sequence[SketchPoint], kept: Int[np.ndarray, " kept"], dynamics: Dynamics, source: str
) -> Features:
    """The sets of imported sketches as the features of a recording.

    Args:
        points: the sketches at each point of the reference run.
        kept: places of the test examples that were imported.
        dynamics: the recording.
        source: name of the archive, which identifies the features.
    """
    sets = sets_of(points, kept)
    vectors = [part for name in sorted(sets) for part in (sets[name].train, sets[name].test)]
    identity = {"source": source, "points": [point.step for point in points], "sketches": fingerprint(*vectors)}
    return Features(ENCODER, identity, dynamics.examples, sets)
