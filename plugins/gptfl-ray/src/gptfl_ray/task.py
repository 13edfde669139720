"""What a task does on a node: it has the model's files there, once, and carries out its units.

Only bytes, names and references to objects of the cluster come and go.
"""

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gptfl.plugins import ResourceError, Unit, Work, carry_out

PAUSE = 0.5
"""Seconds between two words on how far a unit is."""
_WORK: dict[str, Work] = {}
"""The work that this process knows, by its name."""


def files_of(folder: str | None) -> dict[str, int]:
    """The sizes of the files of a model's folder, by their names in it; none where there is no folder."""
    if folder is None:
        return {}
    root = Path(folder)
    return {
        path.relative_to(root).as_posix(): path.stat().st_size for path in sorted(root.rglob("*")) if path.is_file()
    }


def carry_out_units(
    name: str, described: Any, sizes: Mapping[str, int], files: Mapping[str, Any], units: Sequence[bytes], board: Any
) -> list[bytes]:
    """Carry out units; what they came to.

    Args:
        name: of the work.
        described: the work as JSON, an object of the cluster.
        sizes: of the model's files.
        files: their bytes by name, objects of the cluster, which are only fetched to a node that lacks the files.
        units: as ``Unit.to_bytes`` has them.
        board: the actor that is told how far they are.
    """
    import ray

    if name not in _WORK:
        _WORK.clear()
        work = Work.of_json(json.loads(described))
        if work.folder is not None:
            found = here(work.folder, sizes, lambda one: ray.get(files[one]))
            work = replace(work, folder=str(found))
        _WORK[name] = work
    return [carry_out(_WORK[name], Unit.of_bytes(packed), _Steps(board, packed)).to_bytes() for packed in units]


class _Steps:
    """Tells the board how far a unit is, not too often."""

    def __init__(self, board: Any, packed: bytes) -> None:
        self.board, self.index, self.last = board, Unit.of_bytes(packed).index, time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """So many steps are done."""
        if time.monotonic() - self.last >= PAUSE:
            self.last = time.monotonic()
            self.board.say.remote(self.index, done, total)


def here(folder: str, sizes: Mapping[str, int], fetch: Any) -> Path:
    """The folder of the model's files on this node: the very one that was named, or a copy, made once a node.

    Args:
        folder: where they lie where the runs are asked for.
        sizes: of the files.
        fetch: gives a file's bytes by its name.

    Raises ``ResourceError`` where a copy can't be made.
    """
    if files_of(folder) == dict(sizes):
        return Path(folder)
    digest = hashlib.sha256(json.dumps([folder, sorted(sizes.items())]).encode()).hexdigest()[:16]
    root = Path(tempfile.gettempdir()) / f"gptfl-ray-{os.getuid()}"
    copy = root / digest
    try:
        root.mkdir(mode=0o700, exist_ok=True)
        if root.stat().st_uid != os.getuid():
            raise ResourceError(f"{root} belongs to somebody else", "set TMPDIR on the nodes to a folder of your own")
        if files_of(str(copy)) == dict(sizes):
            return copy
        part = Path(tempfile.mkdtemp(dir=root, prefix=f".{digest}."))
        for name in sizes:
            place = part / name
            place.parent.mkdir(parents=True, exist_ok=True)
            np.asarray(fetch(name)).tofile(place)
        try:
            part.rename(copy)
        except OSError:  # another process of the node was faster
            if files_of(str(copy)) != dict(sizes):
                return part
    except OSError as error:
        raise ResourceError(
            f"the model can't be copied to {root}: {error.strerror or error}", "make room on the nodes, or set TMPDIR"
        ) from error
    return copy


class Board:
    """An actor that is told how far units are, and asked."""

    def __init__(self) -> None:
        self.steps: dict[int, tuple[int, int]] = {}

    def say(self, index: int, done: int, total: int) -> None:
        """So many steps of a unit are done."""
        self.steps[index] = (done, total)

    def read(self) -> dict[int, tuple[int, int]]:
        """What was said since it was last asked."""
        said, self.steps = self.steps, {}
        return said
