"""Puts numbers and texts into an open file and gets them back, checked: every read goes through here."""

import json
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from gptfl.core.texts import JsonError, parse_json
from gptfl.errors import DataError, ResourceError, is_memory_full
from gptfl.store import digests
from gptfl.store.checked import Checked, known_array, known_value
from gptfl.store.chunks import check_chunks, chunk_shape, read_array, write_array
from gptfl.store.deferred import defer
from gptfl.store.links import encode_name as encode_name
from gptfl.store.links import names_in as names_in
from gptfl.store.memory import Memory as Memory
from gptfl.store.memory import path_of as path_of
from gptfl.store.safety import is_trusted, numbers, refuse

_MAX_ATTRIBUTE = 4096
_MAX_TEXT = 2**30
_MAX_LINE = 8 * 2**20
_MAX_VALUES = 2**22
"""Parsed JSON can take many times the memory of its text, by the number of values in it beyond a few a line."""
_OPENERS = {b",": 1, b"[": 1, b"{": 4}
"""What comes before a value, and what it counts: a mapping takes the memory of some other values."""
_FEW = 15
"""So many values has an example without texts and further fields."""
_FREE_LINES, _LINE_BYTES = 50_000, 8
"""Beyond so many, each line has to take so many bytes of the file, as a digest does: else a small file could have
millions, which take long to parse."""
_BLOCK = 2**24
"""Bytes of an array that are in memory at once while its digest is taken."""


@contextmanager
def _reading(group: h5py.Group, name: str) -> Iterator[None]:
    """Turn whatever HDF5 raises on damaged contents into one clear line."""
    try:
        yield
    except (MemoryError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        where = f"{group.name.rstrip('/')}/{name}"
        if is_memory_full(error):
            raise ResourceError(
                f"{path_of(group)}: {where} does not fit into memory", "use a machine with more"
            ) from error
        raise DataError(f"{path_of(group)} is damaged: {where} can't be read", "make it again") from error


def put_array(group: h5py.Group, name: str, array: np.ndarray, *, packed: bool = True) -> None:
    """Keep an array as it is, dtype and shape, and its digest.

    Args:
        group: where it goes.
        name: what it is called there.
        array: of any shape; its dtype stays.
        packed: whether in chunks packed with gzip; a file of one small array is read quicker without.

    Raises ``DataError`` on other than numbers.
    """
    array = numbers(np.asarray(array), name)
    chunks = chunk_shape(array.shape, array.dtype.itemsize) if packed and array.ndim and array.size else None
    digests.put(write_array(group.id, encode_name(name).encode(), array, chunks), digests.of_array(array))


def get_array(group: h5py.Group, name: str, ndim: int | None = None, kinds: str = "biuf") -> np.ndarray:
    """An array, with its dtype as written, in this machine's order of bytes.

    Args:
        group: of an open file.
        name: of the array there.
        ndim: how many axes it must have, None for any number.
        kinds: numpy's letters of the kinds of dtype that it may have.

    Raises ``DataError`` if it is missing or damaged, or has another number of axes or kind of dtype. One that was
    changed raises last (see ``deferred``), as in all that is read here.
    """
    dataset, known = _find(group, name)
    _check_kind(group, dataset, ndim, kinds)
    return _read(group, name, dataset, known)


def _read(group: h5py.Group, name: str, dataset: h5py.h5d.DatasetID, known: str | None) -> np.ndarray:
    with _reading(group, name):
        array = read_array(dataset)
    if known is not None and digests.of_array(array) != known:
        _note_change(h5py.Dataset(dataset))
    # Neither torch nor pyarrow takes the bytes of a machine that has them the other way round.
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def get_dataset(
    group: h5py.Group, name: str, ndim: int | None = None, kinds: str = "biuf", *, known: bool = False
) -> h5py.Dataset:
    """An array of one axis or more to be read in parts with ``get_rows``; all of it is held against its digest here.

    Args:
        group: of an open file.
        name: of the array there.
        ndim: how many axes it must have, None for any number.
        kinds: numpy's letters of the kinds of dtype that it may have.
        known: whether nothing of it is looked at, for a caller who goes by its digest.

    Raises ``DataError`` as ``get_array`` does.
    """
    found, digest = _find(group, name)
    _check_kind(group, found, ndim, kinds)
    dataset = h5py.Dataset(found)
    if known:
        return dataset
    rows = max(1, _BLOCK // max(1, math.prod(dataset.shape[1:]) * dataset.dtype.itemsize))
    with _reading(group, name):
        check_chunks(found)
        blocks = (dataset[start : start + rows] for start in range(0, len(dataset), rows))
        if digest is not None and digests.of_blocks(dataset.dtype, dataset.shape, blocks) != digest:
            _note_change(dataset)
    return dataset


def _note_change(found: h5py.Group | h5py.Dataset) -> None:
    what = f"{path_of(found)} is damaged: {found.name} is not as it was written"
    defer(found, DataError(what, "make it again"))


def _find(group: h5py.Group, name: str) -> tuple[h5py.h5d.DatasetID, str | None]:
    """An array of a group, and the digest that is kept with it."""
    link = encode_name(name).encode()
    known = known_array(group, link)
    if known is not None:
        return known
    with _reading(group, name):
        found = h5py.h5o.open(group.id, link)
        if not isinstance(found, h5py.h5d.DatasetID):
            raise refuse(path_of(group), f"has at {_name_of(found)} a group where an array belongs")
        return found, digests.kept(found)


def _check_kind(group: h5py.Group, dataset: h5py.h5d.DatasetID, ndim: int | None, kinds: str) -> None:
    shape, dtype = dataset.shape, dataset.dtype
    if (ndim is not None and len(shape) != ndim) or dtype.kind not in kinds:
        raise refuse(path_of(group), f"has at {_name_of(dataset)} an array of {dtype} with shape {shape}")


def _name_of(found: h5py.h5g.GroupID | h5py.h5d.DatasetID) -> str:
    return os.fsdecode(h5py.h5i.get_name(found))


def get_shape(group: h5py.Group, name: str, kinds: str = "biuf") -> tuple[int, ...]:
    """The shape of an array, of which nothing is read. Raises ``DataError`` if it is missing or of another kind."""
    dataset, _ = _find(group, name)
    _check_kind(group, dataset, None, kinds)
    return tuple(dataset.shape)


def get_rows(dataset: h5py.Dataset, rows: slice, at: tuple[int, ...] = ()) -> np.ndarray:
    """Some rows of an array that ``get_dataset`` gave; ``at`` are places on the axes before theirs."""
    with _reading(dataset.parent, dataset.name.rpartition("/")[2]):
        found = np.asarray(dataset[(*at, rows)])
    return found.astype(found.dtype.newbyteorder("="), copy=False)


def get_group(group: h5py.Group, name: str) -> h5py.Group:
    """A group in a group; ``DataError`` if there is none."""
    with _reading(group, name):
        found = h5py.h5o.open(group.id, encode_name(name).encode())
        if not isinstance(found, h5py.h5g.GroupID):
            raise refuse(path_of(group), f"has at {_name_of(found)} an array where a group belongs")
        unchanged, contents = digests.look(found)
        checked = Checked(found, contents)
        if not unchanged:
            _note_change(checked)
        return checked


def holds(group: h5py.Group, name: str, inner: str) -> bool:
    """Whether a group in a group has something of this name; neither is looked into. ``DataError`` if there is none."""
    with _reading(group, name):
        found = group[encode_name(name)]
        return isinstance(found, h5py.Group) and bool(found.id.links.exists(encode_name(inner).encode()))


def check_group(group: h5py.Group) -> None:
    """Hold the attributes of a group, and the names and digests of its arrays, against the group's digest."""
    unchanged, _ = digests.look(group.id)
    if not unchanged:
        _note_change(group)


def put_text(group: h5py.Group, name: str, value: Any) -> None:
    """Keep a small JSON-able value as one UTF-8 string, readable with any HDF5 tool."""
    text = _bounded(_encoded(value, name), name)
    array = np.array(text, dtype=h5py.string_dtype("utf-8", len(text)))
    digests.put(group.create_dataset(name, data=array).id, digests.of_array(array))


def get_text(group: h5py.Group, name: str) -> Any:
    """Read what ``put_text`` kept. Raises ``DataError``."""
    return parse_line(group.name, name, path_of(group), bytes(_get_bytes(group, name, 0, "S")))


def put_lines(group: h5py.Group, name: str, values: Iterable[Any]) -> None:
    """Keep many JSON-able values as JSON lines: one packed array of UTF-8 bytes."""
    lines = []
    for value in values:
        line = _encoded(value, name)
        if len(line) > _MAX_LINE:
            raise DataError(f"one of the {name} takes more than {_MAX_LINE // 2**20} MiB of text", "shorten it")
        lines.append(line + b"\n")
    put_array(group, name, np.frombuffer(_bounded(b"".join(lines), name), dtype=np.uint8))


def get_lines(group: h5py.Group, name: str, *, texts: bool = False) -> Iterator[Any]:
    """Read what ``put_lines`` kept, ``texts`` alone or any values, one by one: what is wrong is told before the rest is parsed.

    Raises ``DataError``.
    """
    text = _get_bytes(group, name, 1, "u").tobytes()
    start = 0
    while (end := text.find(b"\n", start)) >= 0:
        if end - start > _MAX_LINE:
            raise refuse(
                path_of(group), f"has in {name!r} at {group.name} a line of more than {_MAX_LINE // 2**20} MiB"
            )
        value = parse_line(group.name, name, path_of(group), text[start:end])
        if texts and not isinstance(value, str):
            raise refuse(path_of(group), f"has in {name!r} at {group.name} a line that is no text")
        yield value
        start = end + 1


def get_line_bytes(group: h5py.Group, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of what ``put_lines`` kept, of which none is parsed, and where each line begins, and the end.

    Raises ``DataError``.
    """
    text = _get_bytes(group, name, 1, "u")
    begins = np.append(0, np.flatnonzero(text == ord("\n")) + 1)
    if np.diff(begins).max(initial=0) > _MAX_LINE or begins[-1] != len(text):
        raise refuse(
            path_of(group),
            f"has in {name!r} at {group.name} a line without end, or of more than {_MAX_LINE // 2**20} MiB",
        )
    return text, begins


def parse_line(group: str, name: str, path: Path, text: bytes) -> Any:
    """The value of one line of what ``put_lines`` kept. Raises ``DataError``.

    Args:
        group: the name of the group that it lies in.
        name: what it is called there.
        path: of the file.
        text: the line.
    """
    try:
        return parse_json(text.decode(), lenient=True)
    except (JsonError, UnicodeDecodeError) as error:
        what = str(error) if isinstance(error, JsonError) else "is not UTF-8 text"
        raise DataError(f"{path} is damaged: {group.rstrip('/')}/{name} {what}", "make it again") from error


def _get_bytes(group: h5py.Group, name: str, ndim: int, kinds: str) -> np.ndarray:
    dataset, known = _find(group, name)
    _check_kind(group, dataset, ndim, kinds)
    # The size first: looking at what the chunks unpack to takes as long as it is large.
    if math.prod(dataset.shape) > _MAX_TEXT:
        raise refuse(path_of(group), f"has at {group.name} a text {name!r} of more than {_MAX_TEXT // 2**20} MiB")
    array = _read(group, name, dataset, known)
    text = array.tobytes()
    if len(text) > _MAX_TEXT:
        raise refuse(path_of(group), f"has at {group.name} a text {name!r} of more than {_MAX_TEXT // 2**20} MiB")
    count, stored = text.count(b"\n"), dataset.get_storage_size()
    if count > _FREE_LINES + stored // _LINE_BYTES and not is_trusted():
        raise refuse(path_of(group), f"has at {group.name} {count:,} lines {name!r} in {stored:,} bytes")
    if _values_in(text) > _MAX_VALUES:
        raise refuse(path_of(group), f"has at {group.name} more than {_MAX_VALUES:,} values in {name!r}")
    return array


def _values_in(text: bytes) -> int:
    return sum(text.count(opener) * weight for opener, weight in _OPENERS.items()) - _FEW * text.count(b"\n")


def _encoded(value: Any, name: str) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"the {name} hold half a character (a lone surrogate)", "write it whole, or leave it out"
        ) from error


def _bounded(text: bytes, name: str) -> bytes:
    if len(text) > _MAX_TEXT:
        raise DataError(f"the {name} take more than {_MAX_TEXT // 2**20} MiB of text", "use fewer or shorter examples")
    if _values_in(text) > _MAX_VALUES:
        raise DataError(f"the {name} hold more than {_MAX_VALUES:,} values", "use fewer or shorter examples")
    return text


def put_word(group: h5py.Group, name: str, value: str) -> None:
    """Keep a word as an attribute of fixed size. Raises ``DataError`` if it is no word."""
    data = value.encode()
    if len(data) > _MAX_ATTRIBUTE or b"\0" in data:
        raise DataError(f"{name} {value[:40]!r} is too long or holds a null character", "use a plain short name")
    _put_attribute(group, name, np.array(data, dtype=h5py.string_dtype("utf-8", max(1, len(data)))))


def get_word(group: h5py.Group, name: str) -> str:
    """Read an attribute that holds a word. Raises ``DataError``."""
    return bytes(_attribute(group, name, "S")).decode("utf-8", "replace")


def put_number(group: h5py.Group, name: str, value: int | float) -> None:
    """Keep a number as an attribute: int64 or float64."""
    _put_attribute(group, name, np.asarray(value, np.float64 if isinstance(value, float) else np.int64))


def _put_attribute(group: h5py.Group, name: str, value: np.ndarray) -> None:
    if h5py.h5a.exists(group.id, name.encode()):
        h5py.h5a.delete(group.id, name.encode())
    kind = h5py.h5t.py_create(value.dtype, logical=True)
    h5py.h5a.create(group.id, name.encode(), kind, digests.SCALAR).write(value)


def get_int(group: h5py.Group, name: str) -> int:
    """Read an attribute that holds a whole number. Raises ``DataError``."""
    return int(_attribute(group, name, "iu"))


def get_float(group: h5py.Group, name: str) -> float:
    """Read an attribute that holds a number. Raises ``DataError``."""
    return float(_attribute(group, name, "f"))


def _attribute(group: h5py.Group, name: str, kinds: str) -> np.ndarray:
    known = known_value(group, name)
    if known is not None and known.dtype.kind in kinds:
        return known
    with _reading(group, name):
        value = digests.value_of(h5py.h5a.open(group.id, name.encode()))
        if value is None or value.dtype.kind not in kinds:
            raise refuse(path_of(group), f"has a strange attribute {name!r} at {group.name}")
        return value
