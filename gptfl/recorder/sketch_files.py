"""Sketches of a run that goes on later: a file for each point, beside the recording, until it has sketches."""

import hashlib
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gptfl.errors import DataError
from gptfl.store.durable import cannot_write, part_of, put_in_place
from gptfl.store.jsonlines import read_plain

HEADER = 2**16
"""Bytes that the header of a safetensors file of a few arrays takes at most."""
_NAME = re.compile(r"step-\d{6,}-[0-9a-f]{16}\.safetensors")
_DIGEST = re.compile(r"[0-9a-f]{64}")
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class KeptSketches:
    """What a checkpoint says of the sketches so far: where the points were, and by what their files are known.

    ``points`` are the digests of the files by step, ``clipped`` what each step's gradient was shortened by, and
    ``own_counted`` as in ``GradientSketches``.
    """

    dimensions: int
    modules: str | None
    points: Mapping[int, str]
    clipped: tuple[float, ...] = ()
    seconds: float = 0.0
    own_counted: bool = False

    def to_json(self) -> dict[str, Any]:
        """As a state holds it."""
        return {
            "dimensions": self.dimensions,
            "modules": self.modules,
            "points": {str(step): digest for step, digest in self.points.items()},
            "clipped": list(self.clipped),
            "seconds": self.seconds,
            "own_counted": self.own_counted,
        }

    @classmethod
    def from_json(cls, known: Any, steps: int) -> "KeptSketches":
        """What ``to_json`` gave, of a run of so many steps so far. Raises one of many errors where it isn't whole."""
        made = cls(
            int(known["dimensions"]),
            known["modules"],
            {int(step): str(digest) for step, digest in known["points"].items()},
            tuple(float(one) for one in known["clipped"]),
            float(known["seconds"]),
            bool(known["own_counted"]),
        )
        whole = (
            all(0 <= step <= steps and _DIGEST.fullmatch(digest) for step, digest in made.points.items())
            and len(made.clipped) == steps
            and all(0.0 <= one <= 1.0 for one in made.clipped)
            and (made.modules is None or isinstance(made.modules, str))
        )
        if not whole:
            raise ValueError("its sketches don't fit")
        return made

    def only(self, steps: tuple[int, ...]) -> "KeptSketches":
        """Of these points alone, in their order."""
        return replace(self, points={step: self.points[step] for step in steps})


def write_point(folder: Path, step: int, arrays: Arrays) -> str:
    """Keep the arrays of one point; the digest that their file is known by. The same arrays make the same file.

    Args:
        folder: for the points of all runs that aren't finished.
        step: of the point.
        arrays: by name.

    Raises ``ResourceError`` if it can't be written.
    """
    from safetensors.numpy import save

    data = save({name: np.ascontiguousarray(one) for name, one in arrays.items()})
    digest = hashlib.sha256(data).hexdigest()
    path = path_of(folder, step, digest)
    try:
        with part_of(path) as part:
            part.write_bytes(data)
            put_in_place(part, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    return digest


def read_point(
    folder: Path, step: int, digest: str, shapes: Mapping[str, tuple[int, ...]], optional: frozenset[str]
) -> dict[str, np.ndarray]:
    """The arrays of one point, as they were written.

    Args:
        folder: where ``write_point`` put them.
        step: of the point.
        digest: that it gave.
        shapes: of all arrays that there may be.
        optional: the names of those that may be missing.

    Raises ``DataError`` where the file is missing, another one, or holds other arrays.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = path_of(folder, step, digest)
    data = read_plain(path, HEADER + 4 * sum(int(np.prod(shape)) for shape in shapes.values()))
    if hashlib.sha256(data).hexdigest() != digest:
        raise DataError(f"{path} is damaged", "begin the run anew")
    try:
        found: dict[str, np.ndarray] = load(data)
    except SafetensorError as error:
        raise DataError(f"{path} is no file of sketches ({error})", "begin the run anew") from error
    names = found.keys()
    if not shapes.keys() - optional <= names <= shapes.keys() or any(
        one.shape != shapes[name] or one.dtype != np.float32 for name, one in found.items()
    ):
        raise DataError(f"{path} holds sketches of other examples", "begin the run anew")
    return found


def path_of(folder: Path, step: int, digest: str) -> Path:
    """Where a point's arrays lie. Its name tells two runs apart that were at the same step."""
    return folder / f"step-{step:06d}-{digest[:16]}.safetensors"


def remove_points(folder: Path) -> None:
    """Delete what ``write_point`` wrote, and the folder where nothing else is in it."""
    with suppress(OSError):
        for path in list(folder.iterdir()):
            if _NAME.fullmatch(path.name):
                path.unlink()
        folder.rmdir()
