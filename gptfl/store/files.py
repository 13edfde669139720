"""Creates, amends and opens gptfl's files: nothing under its final name is ever half-written."""

import contextlib
import os
import platform
import shlex
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from random import Random
from typing import Any

import h5py

from gptfl.core.versions import installed_version
from gptfl.errors import DataError, GptflError, ResourceError, is_memory_full
from gptfl.interruption import listening, uninterrupted
from gptfl.store import digests, hdf5, walked
from gptfl.store.deferred import check_unchanged, raise_deferred
from gptfl.store.durable import cannot_write, part_of, put_in_place
from gptfl.store.kinds import KINDS
from gptfl.store.marks import SIGNATURE, is_marked
from gptfl.store.memory import PagedMemory
from gptfl.store.safety import (
    MAX_BYTES,
    Sizes,
    Together,
    check_contents,
    check_unpacked,
    counted,
    is_trusted,
    lacking,
    lacking_among,
)

# Fixed at both ends, so that every HDF5 from 1.10 on reads what any later one wrote.
_LIBVER = ("v110", "v110")
_LIBRARIES = ("gptfl", "numpy", "h5py", "scipy", "scikit-learn", "torch", "transformers", "datasets")


@dataclass(frozen=True, slots=True)
class Header:
    """What every file says of itself.

    ``settings`` are the resolved settings that made it, ``inputs`` the fingerprint of each input
    by name, ``versions`` the libraries, ``created`` the time in UTC (ISO 8601).
    """

    kind: str
    format_version: int
    settings: dict[str, Any]
    inputs: dict[str, str]
    versions: dict[str, str]
    created: str


@contextmanager
def create(path: Path, kind: str, *, settings: Mapping[str, Any], inputs: Mapping[str, str]) -> Iterator[h5py.File]:
    """A new file to fill, which takes its name, whole, when the block ends without an exception.

    It is built in memory and written by plain writes, because HDF5 doesn't recover from a full disk.

    Args:
        path: of the file.
        kind: what it holds, one of ``KINDS``.
        settings: by which it was made; small values of JSON.
        inputs: fingerprints of what it was made from, by name.

    Raises ``ResourceError`` if it can't be written; a file of that name is then untouched.
    """
    with _saved(path, b"", "w", kind) as file:
        put_header(file, kind, settings, inputs)
        yield file


def put_header(file: h5py.File, kind: str, settings: Mapping[str, Any], inputs: Mapping[str, str]) -> None:
    """Let a new file say what it is.

    Args:
        file: open to write.
        kind: what it holds, one of ``KINDS``.
        settings: by which it was made; small values of JSON.
        inputs: fingerprints of what it was made from, by name.
    """
    hdf5.put_word(file, "kind", kind)
    hdf5.put_number(file, "format_version", KINDS[kind].format_version)
    hdf5.put_word(file, "created", datetime.now(UTC).isoformat(timespec="seconds"))
    hdf5.put_text(file, "settings", dict(settings))
    hdf5.put_text(file, "inputs", dict(inputs))
    hdf5.put_text(file, "versions", library_versions())


@contextmanager
def amend(path: Path, kind: str) -> Iterator[h5py.File]:
    """Change a file: a copy in memory is changed and takes the name when the block ends.

    Groups may be added, and arrays at the root replaced. Raises as ``open_file`` and ``create`` do; at every moment
    the name holds a whole file.
    """
    path = Path(path)
    if check_signature(path) > MAX_BYTES:
        raise DataError(f"{path} is larger than {MAX_BYTES >> 30} GiB", "gptfl writes no file that large")
    with _saved(path, path.read_bytes(), "r+", kind) as file:
        yield file


@contextmanager
def open_file(
    path: Path,
    kind: str | None,
    max_bytes: int = MAX_BYTES,
    skipped: Collection[str] = (),
    together: Together | None = None,
) -> Iterator[h5py.File]:
    """A file to read, made sure to be one of ours and safe to read.

    Args:
        path: of the file.
        kind: what it must hold; None takes any.
        max_bytes: at most so many bytes may be unpacked.
        skipped: groups at the root that may not be looked into.
        together: what the file unpacks to is added to it, which may be too much by then.

    Raises ``DataError`` for a file that is missing, foreign, damaged, of another kind, newer than this gptfl, or made
    to do
    harm, and ``ResourceError`` for one that another program has open to write or locked. Where what was read doesn't
    agree
    with its digest, ``DataError`` is raised at the end of the block.
    """
    path = Path(path)
    size = check_signature(path)
    with listening(), opened_file(path, path, "r") as file, raise_deferred(file):
        with checked(file, path, kind):
            taken = _walk(file, path, size, max_bytes, skipped)
            check_unpacked(path, taken, size)
            if together is not None:
                together.add(path, taken, size)
        yield file


def whole(path: Path) -> int:
    """How many bytes a file may unpack to whose large arrays are read some rows at a time: twice as many as it takes."""
    try:
        return max(MAX_BYTES, 2 * path.stat().st_size)
    except OSError:
        return MAX_BYTES


@contextmanager
def opened_file(path: Path, place: Path | hdf5.Memory | PagedMemory, mode: str) -> Iterator[h5py.File]:
    """The file at a place, on disk or in memory, that ``path`` is the name of."""
    try:
        file = h5py.File(
            str(place) if isinstance(place, Path) else place,
            mode,
            **({"locking": False} if isinstance(place, Path) else {"libver": _LIBVER}),
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise _unreadable(path, error) from error
    with file:
        yield file


@contextmanager
def checked(file: h5py.File, path: Path, kind: str | None) -> Iterator[None]:
    """Raise as ``open_file`` does; the structure is checked in the block."""
    try:
        _check_kind(file, path, kind)
        yield
        hdf5.check_group(file)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise _unreadable(path, error) from error


def _walk(file: h5py.File, path: Path, size: int, max_bytes: int, skipped: Collection[str]) -> int:
    """What the contents of a file on disk count as; one whose structure this process has checked isn't walked again."""
    found = walked.identity(file)
    key = found, max_bytes, frozenset(skipped), is_trusted()
    known = None if found is None else walked.recall(key)
    if known is not None:
        return known
    taken = counted(check_contents(file, path, size, max_bytes, skipped=skipped))
    # What was changed meanwhile isn't what was walked.
    if found is not None and walked.identity(file) == found:
        walked.remember(key, taken)
    return taken


def read_header(path: Path) -> Header:
    """What a file of any kind says of itself. Raises ``DataError`` as ``open_file`` does."""
    with open_file(path, None) as file:
        return header_of(file)


def header_of(file: h5py.File) -> Header:
    """The header of an open file."""
    texts = {name: hdf5.get_text(file, name) for name in ("settings", "inputs", "versions")}
    words = [*texts["inputs"].values(), *texts["versions"].values()] if _are_mappings(texts) else [None]
    if not all(isinstance(word, str) for word in words):
        raise DataError(f"{hdf5.path_of(file)} is damaged: its header is malformed", "make it again")
    return Header(
        kind=hdf5.get_word(file, "kind"),
        format_version=hdf5.get_int(file, "format_version"),
        created=hdf5.get_word(file, "created"),
        **texts,
    )


def inputs_of(file: h5py.File) -> dict[str, str]:
    """The fingerprints of an open file's inputs, the part of its header that tells what it belongs to."""
    inputs = hdf5.get_text(file, "inputs")
    if not isinstance(inputs, dict) or not all(isinstance(word, str) for word in inputs.values()):
        raise DataError(f"{hdf5.path_of(file)} is damaged: its header is malformed", "make it again")
    return inputs


def _are_mappings(texts: Mapping[str, Any]) -> bool:
    return all(isinstance(value, dict) for value in texts.values())


@cache
def library_versions() -> dict[str, str]:
    """Versions of Python and the libraries that bear on results, without importing them."""
    versions = {"python": platform.python_version()}
    for name in _LIBRARIES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = installed_version(name)
    return versions


@contextmanager
def _saved(path: Path, start: bytes, mode: str, kind: str) -> Iterator[h5py.File]:
    """A file of a kind in memory that is written to ``path`` when the block ends without an exception."""
    path = Path(path)
    memory = hdf5.Memory(path, start)
    # HDF5 writes to it through Python, and would swallow a Ctrl-C there.
    with uninterrupted():
        with opened_file(path, memory, mode) as file, raise_deferred(file):
            known: Sizes | None = None
            if start:
                with checked(file, path, kind):
                    known = check_contents(file, path, len(start))
                    check_unpacked(path, counted(known), len(start))
            yield file
            check_unchanged(file)
            digests.seal_new(file)
            digests.seal(file)
            file.flush()
            # What the reader would refuse is better refused while there is still something to lose.
            sizes = check_contents(file, path, file.id.get_filesize(), known=known, bounded=False)
        # What packs very well is followed by noise, so that the file is not taken for a bomb.
        lacks = lacking_among if KINDS[kind].among_others else lacking
        filled = lacks(counted(sizes), len(memory.getbuffer()))
        _write_whole(path, memory.getbuffer(), Random(0).randbytes(filled))


def _write_whole(path: Path, image: memoryview, rest: bytes) -> None:
    """Write under another name, then give it its own."""
    try:
        with part_of(path) as part:
            with part.open("wb") as file:
                file.write(image)
                file.write(rest)
            put_in_place(part, path)
    except OSError as error:
        raise cannot_write(path, error) from error


def check_signature(path: Path) -> int:
    """The size of a file that begins as HDF5 does."""
    try:
        if not path.exists():
            raise DataError(f"{path} does not exist", "check the path; gptfl inspect FILE shows what a file holds")
        if not path.is_file():
            raise DataError(f"{path} is not a file", "name a file that gptfl wrote")
        with path.open("rb") as file:
            start = file.read(len(SIGNATURE))
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror}", "check the path and its permissions") from error
    if start != SIGNATURE:
        raise DataError(f"{path} is {'no HDF5 file' if start else 'empty'}", "name a file that gptfl wrote")
    return size


def _check_kind(file: h5py.File, path: Path, kind: str | None) -> None:
    if not all(h5py.h5a.exists(file.id, name) for name in (b"kind", b"format_version")):
        raise DataError(f"{path} was not written by gptfl (it has no kind)", "name a file that gptfl wrote")
    name = hdf5.get_word(file, "kind")
    found = KINDS.get(name)
    if found is None:
        raise DataError(f"{path} is of the unknown kind {name!r}", "upgrade gptfl if it made the file")
    if kind is not None and found.name != kind:
        raise DataError(
            f"{path} is a {found.noun}, not a {KINDS[kind].noun}",
            f"a {found.noun} is for {found.taken_by}; {KINDS[kind].made_by} makes a {KINDS[kind].noun}",
        )
    version = hdf5.get_int(file, "format_version")
    if version not in range(1, found.format_version + 1):
        raise DataError(
            f"{path} has format version {version}, and this gptfl reads up to {found.format_version}", "upgrade gptfl"
        )


def _unreadable(path: Path, error: Exception) -> GptflError:
    if is_memory_full(error):
        return ResourceError(f"{path} does not fit into memory", "see what else runs there, or use a machine with more")
    if is_marked(path):
        return ResourceError(
            f"{path} is open to write in another program, or was left so by one that was killed",
            f"close it there; if none has it open, gptfl unlock {shlex.quote(str(path))}",
        )
    if "unable to lock file" in str(error):
        return ResourceError(
            f"{path} can't be locked, for which HDF5_USE_FILE_LOCKING asks: another program has it open, or the file "
            "system keeps no locks",
            "close it there, or set HDF5_USE_FILE_LOCKING=FALSE",
        )
    truncated = "truncated" in str(error) or "addr overflow" in str(error)
    return DataError(f"{path} is {'truncated' if truncated else 'damaged'} and can't be read", "make it again")
