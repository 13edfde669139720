"""A run as one array of bytes, in a file that holds nothing else.

A thousand runs beside a recording are read together, and to look at a group or an array of HDF5 takes longer than to
read a small one. The bytes are one line of JSON, which says what the run is and lists its arrays, and the values of
these, one after the other.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from gptfl.core import Curriculum, Run
from gptfl.core.texts import JsonError, parse_json
from gptfl.errors import DataError
from gptfl.store import hdf5
from gptfl.store.safety import numbers

NAME = "run"
MAX_HEAD = 2**20
"""Bytes of the line of JSON."""
_DTYPE = re.compile(r"[<>|][if][1248]", re.ASCII)
_LARGEST = 2**63
_KINDS = {"batches": ("i", 2), "learning_rates": ("f", 1), "steps": ("i", 1)}
"""Kind of dtype and number of axes; metrics and derivatives are ``_VALUES``."""
_VALUES = ("f", 2)


class _WrongError(ValueError):
    """What is wrong with the bytes, for the end of a message."""


def put_packed_run(file: h5py.File, run: Run) -> None:
    """Keep a run in an open file."""
    arrays = dict(_arrays(run))
    head = {
        "index": run.index,
        "seed": run.seed,
        "role": run.role,
        "seconds": run.seconds,
        "arrays": [[*where, array.dtype.str, list(array.shape)] for where, array in arrays.items()],
    }
    parts = [json.dumps(head, ensure_ascii=False).encode() + b"\n", *(array.tobytes() for array in arrays.values())]
    # Unpacking would take as long as all else, and the file is there only until it is merged.
    hdf5.put_array(file, NAME, np.frombuffer(b"".join(parts), np.uint8), packed=False)


def _arrays(run: Run) -> Iterator[tuple[tuple[str, str], np.ndarray]]:
    """Every array by the name of its group and its own."""
    curriculum = run.curriculum
    own = {"batches": curriculum.batches, "learning_rates": curriculum.learning_rates, "steps": run.steps}
    for group, found in (("", own), ("metrics", run.metrics), ("derivatives", run.derivatives)):
        for name, array in found.items():
            yield (group, name), numbers(np.asarray(array), name)


def holds_packed_run(file: h5py.File) -> bool:
    """Whether an open file holds a run in this form."""
    return bool(file.id.links.exists(NAME.encode()))


def get_packed_run(file: h5py.File) -> Run:
    """Read a run. Raises ``DataError`` for what is missing or damaged; ``check_run`` says whether it fits."""
    data = hdf5.get_array(file, NAME, 1, "u")
    try:
        if data.dtype != np.uint8:
            raise _WrongError(f"holds {data.dtype}, not bytes")
        return _unpacked(data.tobytes())
    except (_WrongError, JsonError, UnicodeDecodeError) as error:
        raise _damaged(hdf5.path_of(file), error) from error


def _damaged(path: Path, error: Exception) -> DataError:
    what = "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)
    return DataError(f"{path} is damaged: /{NAME} {what}", "make it again")


def _unpacked(data: bytes) -> Run:
    end = data.find(b"\n", 0, MAX_HEAD)
    if end < 0:
        raise _WrongError("doesn't begin with a line")
    head = parse_json(data[:end].decode(), lenient=True)
    if not isinstance(head, dict) or not isinstance(head.get("arrays"), list):
        raise _WrongError("lists no arrays")
    index, seed, role, seconds = (head.get(name) for name in ("index", "seed", "role", "seconds"))
    if not (type(index) is type(seed) is int and abs(index) < _LARGEST and abs(seed) < _LARGEST):
        raise _WrongError("has no index and seed")
    if not isinstance(role, str):
        raise _WrongError("has no role")
    if seconds is not None and not (isinstance(seconds, float) and 0 <= seconds < math.inf):
        raise _WrongError("took no length of time")
    found: dict[str, dict[str, np.ndarray]] = {"": {}, "metrics": {}, "derivatives": {}}
    start = end + 1
    for entry in head["arrays"]:
        group, name, dtype, shape = _described(entry, found)
        size = math.prod(shape) * dtype.itemsize
        if start + size > len(data):
            raise _WrongError("ends too early")
        # A copy has its values where the processor likes them, and can be written to.
        values = np.frombuffer(data, dtype, math.prod(shape), start).reshape(shape)
        found[group][name] = values.astype(dtype.newbyteorder("="))
        start += size
    if start != len(data) or set(found[""]) != set(_KINDS):
        raise _WrongError("has other arrays than a run")
    own = found[""]
    return Run(
        index=index,
        seed=seed,
        role=role,
        curriculum=Curriculum(own["batches"], own["learning_rates"]),
        steps=own["steps"],
        metrics=found["metrics"],
        derivatives=found["derivatives"],
        seconds=seconds,
    )


def _described(entry: Any, found: Mapping[str, Mapping[str, Any]]) -> tuple[str, str, np.dtype, tuple[int, ...]]:
    """Group, name, dtype and shape of an array as it is listed."""
    if not (isinstance(entry, list) and len(entry) == 4 and all(isinstance(one, str) for one in entry[:3])):
        raise _WrongError("lists an array without name, type and shape")
    group, name, form, shape = entry
    if group not in found or name in found[group] or (not group and name not in _KINDS):
        raise _WrongError("lists an array that belongs to no run, or one twice")
    if not _DTYPE.fullmatch(form) or (form[1] == "f" and form[2] == "1"):
        raise _WrongError("lists an array of an unknown type")
    kind, ndim = _VALUES if group else _KINDS[name]
    sizes = isinstance(shape, list) and all(type(one) is int and 0 <= one < 2**48 for one in shape)
    if not sizes or len(shape) != ndim or form[1] != kind:
        raise _WrongError(f"lists an array of another kind than a run's {group or name}")
    return group, name, np.dtype(form), tuple(shape)
