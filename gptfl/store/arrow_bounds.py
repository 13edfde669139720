"""What Arrow and Parquet data of unknown origin would unpack to, found out before they are unpacked.

Pages of a Parquet file say in their headers what they hold. An Arrow file can't be packed, since ``datasets`` packs
none. A dictionary, a list of nulls and the like take little and are much once they are Python's: what a few rows would
be is summed up before they are.
"""

import struct
from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
from pyarrow import ipc, types

from gptfl.store.unpacked import Unpacked

PIECE = 2**20
"""Bytes of the rows that are made Python's at a time; no single row has more, as no line of JSON has."""
MAX_PAGE = 64 * 2**20
PAGE_BYTES, VALUE_BYTES = 8192, 8
"""What a page counts as at least, for looking at it takes time, and a value, which is a pointer at least."""
MAX_HEADER, MAX_COLUMNS = 2**20, 4096
DEPTH = 16
_PLAIN = (
    *(types.is_null, types.is_boolean, types.is_integer, types.is_floating, types.is_decimal, types.is_temporal),
    *(types.is_string, types.is_large_string, types.is_binary, types.is_large_binary, types.is_fixed_size_binary),
)
_LISTS = (types.is_list, types.is_large_list, types.is_fixed_size_list, types.is_map)
_BYTES = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary)
_NESTED = 12
"""A struct, in Thrift's compact protocol."""


class UnreadableError(ValueError):
    """What is wrong with a file, for the end of a message."""


def text_columns(schema: Any) -> list[str]:
    """The columns that can be rows' fields: not bytes, nor pictures and sounds, which are structs that hold some.

    Raises ``UnreadableError`` for a type whose values may lie over one another, such as runs and views.
    """
    kept = []
    for field in schema:
        inner = [field.type.field(i).type for i in range(field.type.num_fields)] if types.is_struct(field.type) else []
        if not any(is_bytes(kind) for kind in (field.type, *inner) for is_bytes in _BYTES):
            _check_type(field.type, field.name)
            kept.append(field.name)
    return kept


def _check_type(kind: Any, name: str, depth: int = 0) -> None:
    kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    if depth < DEPTH and types.is_dictionary(kind) and not types.is_nested(kind.value_type):
        _check_type(kind.value_type, name, depth + 1)
    elif depth < DEPTH and (types.is_struct(kind) or any(is_kind(kind) for is_kind in _LISTS)):
        for place in range(kind.num_fields):
            _check_type(kind.field(place).type, name, depth + 1)
    elif not any(is_kind(kind) for is_kind in _PLAIN):
        raise UnreadableError(f"column {name!r} is of the type {kind}, which isn't read")


def pieces(batch: Any) -> Iterator[tuple[Any, int]]:
    """The rows of a batch in slices that are few enough to be made Python's, and the bytes that each is then at least."""
    waiting = [batch]
    while waiting:
        one = waiting.pop()
        size = sum(weight(column) for column in one.columns)
        if size <= PIECE or one.num_rows <= 1:
            yield one, size
            continue
        half = one.num_rows // 2
        waiting += [one.slice(half), one.slice(0, half)]


def weight(array: Any) -> int:
    """The bytes that the values of an array take at least once they are Python's, without making them so."""
    kind, own = array.type, VALUE_BYTES * len(array)
    if isinstance(kind, pa.BaseExtensionType):
        return weight(array.storage)
    if types.is_dictionary(kind):
        if not len(array.dictionary) or pa.types.is_primitive(kind.value_type):
            return own
        return own + int(pc.sum(pc.binary_length(array.dictionary).take(array.indices)).as_py() or 0)
    if types.is_struct(kind):
        return own + sum(weight(one) for one in array.flatten())
    if types.is_map(kind):
        start, end = (array.offsets[place].as_py() for place in (0, -1))
        return own + sum(weight(one.slice(start, end - start)) for one in (array.keys, array.items))
    if any(is_list(kind) for is_list in _LISTS):
        return own + weight(array.flatten())
    if any(is_text(kind) for is_text in (types.is_string, types.is_large_string, *_BYTES)):
        return own + int(pc.sum(pc.binary_length(array)).as_py() or 0)
    return own


def check_messages(stream: Any, unpacked: Unpacked) -> None:
    """Raise ``UnreadableError`` for an Arrow stream with a packed batch, ``DataError`` for very many batches."""
    for message in ipc.MessageReader.open_stream(stream):
        unpacked.add(PAGE_BYTES)
        if message.type not in ("record batch", "dictionary"):
            continue
        table = _Table.root(message.metadata.to_pybytes()).inner(2)
        batch = None if table is None else table.inner(1) if message.type == "dictionary" else table
        if batch is None or batch.inner(3) is not None:
            raise UnreadableError("it is packed")


class _Table:
    """A table of FlatBuffers, the form of Arrow's messages."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at

    @classmethod
    def root(cls, data: bytes) -> "_Table":
        return cls(data, _number("<I", data, 0))

    def inner(self, place: int) -> "_Table | None":
        """The table in a field; None where there is none."""
        fields = self.at - _number("<i", self.data, self.at)
        if 4 + 2 * place >= _number("<H", self.data, fields):
            return None
        offset = _number("<H", self.data, fields + 4 + 2 * place)
        found = self.at + offset
        return _Table(self.data, found + _number("<I", self.data, found)) if offset else None


def _number(form: str, data: bytes, at: int) -> int:
    try:
        if at < 0:
            raise UnreadableError("it is damaged")
        return int(struct.unpack_from(form, data, at)[0])
    except struct.error:
        raise UnreadableError("it is damaged") from None


def check_pages(metadata: Any, stream: IO[bytes], unpacked: Unpacked) -> None:
    """Look at the header of every page of a Parquet file, and count what it declares.

    Raises ``UnreadableError`` for a page that is damaged or too large, ``DataError`` for too much in all.
    """
    if metadata.num_columns > MAX_COLUMNS:
        raise UnreadableError(f"it has {metadata.num_columns:,} columns")
    unpacked.add(PAGE_BYTES * metadata.num_row_groups * metadata.num_columns)
    for group in range(metadata.num_row_groups):
        for place in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(place)
            starts = [one for one in (chunk.dictionary_page_offset, chunk.data_page_offset) if one]
            if chunk.file_path or not starts:
                raise UnreadableError("its data are elsewhere")
            _check_chunk(stream, min(starts), chunk.total_compressed_size, chunk.num_values, unpacked)


def _check_chunk(stream: IO[bytes], at: int, size: int, values: int, unpacked: Unpacked) -> None:
    end, seen = at + size, 0
    while at < end and seen < values:
        stream.seek(at)
        header = _Header(stream.read(min(MAX_HEADER, 2**12)))
        try:
            found: dict[int, int] | None = header.fields()
        except IndexError:  # minima and maxima of long texts may be in it
            stream.seek(at)
            header = _Header(stream.read(MAX_HEADER))
            found = header.fields_or_none()
        if found is None or found.get(3, -1) < 0 or found.get(2, -1) < 0:
            raise UnreadableError("a page of it is damaged")
        if found[2] > MAX_PAGE:
            raise UnreadableError(f"a page of it has {found[2]:,} bytes")
        count = max(0, found.get(5, found.get(8, 0)))
        seen += count
        at += header.at + found[3]
        unpacked.add(PAGE_BYTES + found[2] + VALUE_BYTES * (count + max(0, found.get(7, 0))))


class _Header:
    """The header of a page, in Thrift's compact protocol: whole numbers by field, of structs their first field."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def fields_or_none(self) -> dict[int, int] | None:
        """``fields``; None where they aren't whole."""
        self.at = 0
        try:
            return self.fields()
        except IndexError:
            return None

    def fields(self, depth: int = 0) -> dict[int, int]:
        """What a struct holds. Raises ``IndexError`` where it doesn't end, ``UnreadableError`` where it is none."""
        found: dict[int, int] = {}
        name = 0
        while (head := self._byte()) != 0:
            name = name + (head >> 4) if head >> 4 else self._signed()
            value = self._value(head & 15, depth)
            if value is not None:
                found[name] = value
        return found

    def _value(self, kind: int, depth: int) -> int | None:
        if depth > DEPTH:
            raise UnreadableError("a page of it is damaged")
        if kind in (1, 2):
            return None
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            return self._signed()
        if kind in (7, 8):
            self._skip(8 if kind == 7 else self._varint())
            return None
        if kind in (9, 10):
            head = self._byte()
            for _ in range(self._varint() if head >> 4 == 15 else head >> 4):
                self._value(head & 15, depth + 1) if (head & 15) > 2 else self._skip(1)
            return None
        if kind == _NESTED:
            return self.fields(depth + 1).get(1)
        raise UnreadableError("a page of it is damaged")

    def _byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def _skip(self, count: int) -> None:
        self.at += count
        if self.at > len(self.data):
            raise IndexError

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
            if shift > 63:
                raise UnreadableError("a page of it is damaged")

    def _signed(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
