"""The mark that HDF5 leaves in a file while a program has it open to write, and how it is cleared.

A file of gptfl has a superblock of version 3. Its byte 11 says that the file is open to write, and stays so where the
program is killed; HDF5 then refuses to read the file, though its data may be whole. ``h5clear -s`` does the same.
"""

import struct
from pathlib import Path

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_VERSION, _OFFSETS, _LENGTHS, _FLAGS = 8, 9, 10, 11
_SUMMED = 44
SIZE = 48
"""Bytes of a superblock."""
_MASK = 0xFFFFFFFF


def is_marked(path: Path) -> bool:
    """Whether a file says that it is open to write. False, too, where that can't be read."""
    try:
        with path.open("rb") as file:
            return _is_sound(start := file.read(SIZE)) and start[_FLAGS] != 0
    except OSError:
        return False


def unmarked(image: bytearray) -> bytearray:
    """Clear the mark in the superblock of a file, in place."""
    image[_FLAGS] = 0
    image[_SUMMED:SIZE] = struct.pack("<I", checksum(bytes(image[:_SUMMED])))
    return image


def _is_sound(start: bytes) -> bool:
    """Whether a superblock is of the one form that gptfl's files have, and agrees with its checksum."""
    if len(start) < SIZE or not start.startswith(SIGNATURE):
        return False
    form = start[_VERSION], start[_OFFSETS], start[_LENGTHS]
    return form == (3, 8, 8) and start[_SUMMED:SIZE] == struct.pack("<I", checksum(start[:_SUMMED]))


def checksum(data: bytes) -> int:
    """Bob Jenkins' lookup3 (``hashlittle`` from 0), by which HDF5 sums what describes a file."""
    a: int
    b: int
    c: int
    a = b = c = (0xDEADBEEF + len(data)) & _MASK
    while len(data) > 12:
        x, y, z = struct.unpack("<3I", data[:12])
        a, b, c, data = (a + x) & _MASK, (b + y) & _MASK, (c + z) & _MASK, data[12:]
        # In turn a by c, b by a, c by b, twice: the three change places and are back in the end.
        for turns in (4, 6, 8, 16, 19, 4):
            a = ((a - c) ^ _turned(c, turns)) & _MASK
            c = (c + b) & _MASK
            a, b, c = b, c, a
    if not data:
        return c
    x, y, z = struct.unpack("<3I", data.ljust(12, b"\0"))
    a, b, c = (a + x) & _MASK, (b + y) & _MASK, (c + z) & _MASK
    for turns in (14, 11, 25, 16, 4, 14, 24):
        # In turn c by b, a by c, b by a: the three change places.
        c = ((c ^ b) - _turned(b, turns)) & _MASK
        a, b, c = b, c, a
    # Seven turns leave the value that was mixed last in the second place.
    return b


def _turned(value: int, bits: int) -> int:
    return ((value << bits) | (value >> (32 - bits))) & _MASK
