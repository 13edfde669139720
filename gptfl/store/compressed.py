"""Opens files to read their bytes, be they compressed (``.gz``, ``.zst``) or not."""

import gzip
import io
import stat
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from gptfl.errors import DataError, ResourceError
from gptfl.store.pipes import open_stream
from gptfl.store.unpacked import Unpacked

COMPRESSED = (".gz", ".zst")


def bare_name(path: Path) -> str:
    """A file's name in lower case, without the suffix that says how it is compressed."""
    name = path.name.lower()
    return next((name.removesuffix(one) for one in COMPRESSED if name.endswith(one)), name)


def is_compressed(path: Path) -> bool:
    """Whether a file's name says so."""
    return path.name.lower().endswith(COMPRESSED)


def open_bytes(path: Path) -> IO[bytes]:
    """A file, pipe or device to read bytes from, decompressed as its name says.

    Raises ``OSError``, ``ResourceError`` where nothing on this machine reads Zstandard, and, as it is read,
    ``DataError`` for what is damaged, cut short, or unpacks to far more than it takes.
    """
    name = path.name.lower()
    if is_compressed(path) and not stat.S_ISREG(path.stat().st_mode):
        raise DataError(f"{path} is not a plain file", "unpack what comes from a pipe before it is read")
    if name.endswith(".gz"):
        return _buffered(gzip.open(path, "rb"), path, "gzip")
    if name.endswith(".zst"):
        return _buffered(_zstandard(path), path, "Zstandard")
    return open_stream(path)


def _zstandard(path: Path) -> Any:
    path.open("rb").close()  # a missing file is told as the system tells it
    if arrow_reads("zstd"):
        import pyarrow  # type: ignore[import-untyped]

        return pyarrow.CompressedInputStream(pyarrow.OSFile(str(path)), "zstd")
    try:
        import zstandard  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise ResourceError(
            f"{path} is compressed with Zstandard, which this pyarrow can't read", "pip install zstandard"
        ) from None
    return zstandard.open(path, "rb")


def arrow_reads(codec: str) -> bool:
    """Whether pyarrow was built with a kind of compression."""
    import pyarrow

    return bool(pyarrow.Codec.is_available(codec))


def _buffered(stream: Any, path: Path, how: str) -> IO[bytes]:
    unpacked = Unpacked(path, path.stat().st_size)
    return io.BufferedReader(_Decompressed(stream, f"{path} is no whole {how} file", unpacked), 2**18)


class _Decompressed(io.RawIOBase):
    """The bytes of a compressed stream; what is wrong with it becomes one line."""

    def __init__(self, stream: Any, wrong: str, unpacked: Unpacked) -> None:
        self.stream, self.wrong, self.unpacked = stream, wrong, unpacked
        self.take: Callable[[int], bytes] = stream.read

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """As many bytes as fit, fewer at the end."""
        try:
            data = self.take(len(buffer))
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(self.wrong, "compress or copy it again") from error
        self.unpacked.add(len(data))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the stream."""
        if not self.closed:
            self.stream.close()
        super().close()
