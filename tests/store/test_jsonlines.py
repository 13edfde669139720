"""JSON lines of unknown origin: within limits, one at a time, every problem told with its place."""

from pathlib import Path

import pytest

from gptfl.errors import DataError
from gptfl.store import jsonlines


def test_blank_lines_and_lines_beyond_the_limit_are_reported_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("{}\n" * 20)
    with pytest.raises(DataError, match="more than 10 lines"):
        next(jsonlines.read_json_lines(path, "x", jsonlines.Limits(100, 1000, 10)))
    monkeypatch.setattr(jsonlines, "MAX_BLANK", 5)
    path.write_text("\n" * 6)
    with pytest.raises(DataError, match="more than 5 blank lines"):
        list(jsonlines.read_json_lines(path, "x"))


def test_only_plain_files_are_read_whole(tmp_path: Path) -> None:
    (tmp_path / "zero").symlink_to("/dev/zero")
    with pytest.raises(DataError, match="not a plain file"):
        jsonlines.read_plain(tmp_path / "zero", 10)
    (tmp_path / "long").write_bytes(b"x" * 11)
    with pytest.raises(DataError, match="larger than 10 bytes"):
        jsonlines.read_plain(tmp_path / "long", 10)
    assert jsonlines.read_plain(tmp_path / "long", 11) == b"x" * 11
    with pytest.raises(DataError, match="none does not exist: check the path"):
        jsonlines.read_plain(tmp_path / "none", 10)
    with pytest.raises(DataError, match=r"--order .*none does not exist"):
        jsonlines.read_plain(tmp_path / "none", 10, "--order")
    with pytest.raises(DataError, match=r"--order .*long is larger than 10 bytes: name another"):
        jsonlines.read_plain(tmp_path / "long", 10, "--order")


def test_a_row_is_checked_before_the_next_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": 1}\nno JSON\n')
    rows = jsonlines.read_json_lines(path, "x")
    assert next(rows).values == {"a": 1}
    with pytest.raises(DataError, match="line 2 is no JSON"):
        next(rows)


@pytest.mark.parametrize("start", [b"\xef\xbb\xbf", b""])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_byte_order_marks_and_line_ends_do_no_harm(tmp_path: Path, start: bytes, end: bytes) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(start + b'{"a": "b\\u2028"}' + end + end + '{"a": "c\u2028"}'.encode())
    found = [(line.number, line.values) for line in jsonlines.read_json_lines(path, "x")]
    assert found == [(1, {"a": "b\u2028"}), (3, {"a": "c\u2028"})]
