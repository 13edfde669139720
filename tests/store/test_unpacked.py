"""How much a packed file may unpack to."""

from pathlib import Path

import pytest

from gptfl.errors import DataError
from gptfl.store.unpacked import FREE_BYTES, RATIO, TRUST, Unpacked, is_trusted


@pytest.mark.parametrize("size", [0, 1, 12345])
def test_a_file_may_unpack_to_so_much_and_no_byte_more(size: int) -> None:
    unpacked = Unpacked(Path("a.csv.gz"), size)
    for part in (FREE_BYTES, RATIO * size, 0):
        unpacked.add(part)
    with pytest.raises(DataError, match=rf"a\.csv\.gz of {size:,} bytes unpacks to more than 32 MiB and 50 times"):
        unpacked.add(1)


def test_who_trusts_a_file_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, trusted in (("0", False), ("true", False), ("1", True)):
        monkeypatch.setenv(TRUST, value)
        assert is_trusted() is trusted
    unpacked = Unpacked(Path("a.csv.gz"), 0)
    unpacked.add(2 * FREE_BYTES)
    assert unpacked.count == 2 * FREE_BYTES
