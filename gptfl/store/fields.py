"""Puts numbers and texts into an open file and gets them back, checked: every read goes through here."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import h5py
import numpy as np

from gptfl.errors import DataError
from gptfl.store.safety import check_chunks, numbers, refuse

_CHUNK = 2**20
_GZIP = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
_PLAIN = " !#$&'()*+,:;=@[]~-_."
_MAX_ATTRIBUTE = 4096


def path_of(group: h5py.Group) -> Path:
    """The file that a group lies in, for messages."""
    return Path(group.file.filename)


@contextmanager
def _reading(group: h5py.Group, name: str) -> Iterator[None]:
    """Turn whatever HDF5 raises on damaged contents into one clear line."""
    try:
        yield
    except (KeyError, OSError, RuntimeError, TypeError, ValueError, MemoryError) as error:
        where = f"{group.name.rstrip('/')}/{name}"
        raise DataError(f"{path_of(group)} is damaged: {where} can't be read", "make it again") from error


def encode_name(name: str) -> str:
    """A name as a link name: HDF5 keeps ``/`` and ``.`` for itself, so these are percent-encoded."""
    if not name:
        raise DataError("an array has an empty name", "name it")
    encoded = quote(name, safe=_PLAIN)
    return "%2E" if encoded == "." else encoded


def names_in(group: h5py.Group) -> list[str]:
    """The names in a group, in alphabetical order, as they were given to ``encode_name``."""
    return sorted(unquote(name) for name in group)


def put_array(group: h5py.Group, name: str, array: np.ndarray) -> None:
    """Keep an array as it is, dtype and shape, packed with gzip. Raises ``DataError`` on other than numbers."""
    array = numbers(np.asarray(array), name)
    packing: dict[str, Any] = {}
    if array.ndim and array.size:
        packing = {**_GZIP, "chunks": _chunks(array.shape, array.dtype.itemsize)}
    group.create_dataset(encode_name(name), data=array, **packing)


def _chunks(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """The largest block of whole trailing axes that fits a chunk, at least one value."""
    chunks = list(shape)
    for axis in range(len(chunks)):
        rest = math.prod(chunks) // chunks[axis] * itemsize
        chunks[axis] = max(1, min(chunks[axis], _CHUNK // rest))
        if rest <= _CHUNK:
            break
    return tuple(chunks)


def get_array(group: h5py.Group, name: str, ndim: int | None = None, kinds: str = "biuf") -> np.ndarray:
    """Read an array, with its dtype as written.

    Raises ``DataError`` if it is missing or damaged, or has another number of axes or kind of dtype.
    """
    with _reading(group, name):
        dataset = group[encode_name(name)]
        if not isinstance(dataset, h5py.Dataset):
            raise refuse(path_of(group), f"has at {dataset.name} a group where an array belongs")
        if (ndim is not None and dataset.ndim != ndim) or dataset.dtype.kind not in kinds:
            raise refuse(
                path_of(group), f"has at {dataset.name} an array of {dataset.dtype} with shape {dataset.shape}"
            )
        check_chunks(dataset, path_of(group))
        return np.asarray(dataset[()])


def get_group(group: h5py.Group, name: str) -> h5py.Group:
    """A group in a group; ``DataError`` if there is none."""
    with _reading(group, name):
        found = group[encode_name(name)]
        if not isinstance(found, h5py.Group):
            raise refuse(path_of(group), f"has at {found.name} an array where a group belongs")
        return found


def put_text(group: h5py.Group, name: str, value: Any) -> None:
    """Keep a small JSON-able value as one UTF-8 string, readable with any HDF5 tool."""
    text = json.dumps(value, ensure_ascii=False).encode()
    group.create_dataset(name, data=np.array(text, dtype=h5py.string_dtype("utf-8", len(text))))


def get_text(group: h5py.Group, name: str) -> Any:
    """Read what ``put_text`` kept. Raises ``DataError``."""
    text = bytes(get_array(group, name, 0, "S"))
    with _reading(group, name):
        return _parse(text)


def put_lines(group: h5py.Group, name: str, values: list[Any]) -> None:
    """Keep many JSON-able values as JSON lines: one packed array of UTF-8 bytes."""
    text = "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)
    put_array(group, name, np.frombuffer(text.encode(), dtype=np.uint8))


def get_lines(group: h5py.Group, name: str) -> list[Any]:
    """Read what ``put_lines`` kept. Raises ``DataError``."""
    text = get_array(group, name, 1, "u").tobytes()
    with _reading(group, name):
        return [_parse(line) for line in text.split(b"\n")[:-1]]


def _parse(text: bytes) -> Any:
    try:
        return json.loads(text.decode())
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def put_attribute(group: h5py.Group, name: str, value: str | int | float) -> None:
    """Keep a word or a number as an attribute of fixed size."""
    data = value.encode() if isinstance(value, str) else value
    group.attrs[name] = (
        np.array(data, dtype=h5py.string_dtype("utf-8", len(data) or 1)) if isinstance(data, bytes) else data
    )


def get_word(group: h5py.Group, name: str) -> str:
    """Read an attribute that holds a word. Raises ``DataError``."""
    return bytes(_attribute(group, name, "S")).decode("utf-8", "replace")


def get_number(group: h5py.Group, name: str) -> Any:
    """Read an attribute that holds a number. Raises ``DataError``."""
    return _attribute(group, name, "iuf").item()


def _attribute(group: h5py.Group, name: str, kinds: str) -> np.ndarray:
    # The type is looked at before the value: a string of unbounded length would be read whole.
    with _reading(group, name):
        attribute = h5py.h5a.open(group.id, name.encode())
        dtype = attribute.dtype
        if attribute.shape != () or dtype.kind not in kinds or dtype.itemsize > _MAX_ATTRIBUTE:
            raise refuse(path_of(group), f"has a strange attribute {name!r} at {group.name}")
        value = np.empty((), dtype=dtype)
        attribute.read(value)
        return value
