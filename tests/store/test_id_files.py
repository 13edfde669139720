import os
import threading
from pathlib import Path

import numpy as np
import pytest

from gptfl.core import Example
from gptfl.errors import DataError
from gptfl.store import id_files
from gptfl.store.id_files import ExampleIndex
from gptfl.store.jsonlines import Limits

POOL = ExampleIndex([Example(name, "", "") for name in ("rte-1", "rte-2", "rte-3", "c #4", "5", "größe")])


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "chosen.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_ids_are_read_with_comments_blank_lines_and_any_line_ends(tmp_path: Path) -> None:
    text = "\ufeff# chosen by hand\r\nrte-3  # the best\r\n\n  größe\nc #4\n   # done\n5"
    assert POOL.select(written(tmp_path, text), "--subset").tolist() == [2, 5, 3, 4]


def test_ids_may_be_given_as_a_sequence() -> None:
    assert POOL.select(["rte-2", "rte-1"], "--subset").tolist() == [1, 0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("rte-1\nrte-22\n", r"line 2: 'rte-22' is not an id of the pool of 6: did you mean 'rte-2'"),
        ("rte-1\n\nzzzzzz\n", r"line 3: 'zzzzzz' is not .* gptfl inspect FILE --examples"),
        ("rte-1\nrte-2\nrte-1", r"line 3: 'rte-1' was there before .*line 1"),
        ("rte-1 rte-2\n", r"line 1: 'rte-1 rte-2' is not an id of the pool but 2 of them: write one id a line"),
        ("rte-1\nrte-3, 5,\n", "line 2: .* but 2 of them: write one id a line"),
        ("rte-1 rte-9", r"line 1: 'rte-1 rte-9' is not an id of the pool of 6: "),
        ("# nothing\n\n", "names no example"),
        (b"rte-1\n\xff\xfe", "not UTF-8"),
    ],
)
def test_a_bad_list_of_ids_is_refused_with_its_place(tmp_path: Path, text: str | bytes, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        POOL.select(written(tmp_path, text), "--subset")


def test_an_id_of_the_other_side_is_told_as_such() -> None:
    both = ExampleIndex([Example("a-1", "", "")], others=("a test example", [Example("a-2", "", "")]))
    with pytest.raises(DataError, match=r"'a-2' is a test example, and not one of the pool of 1: list the pool's ids"):
        both.select(["a-2"], "--drop")
    with pytest.raises(DataError, match=r"'a-3' is not an id of the pool of 1: did you mean 'a-1'"):
        both.select(["a-3"], "--drop")


def test_a_bad_sequence_or_file_is_refused(tmp_path: Path) -> None:
    for chosen, problem in ((["rte-1", "rte-1"], "--subset, item 2"), ([], "names no example")):
        with pytest.raises(DataError, match=problem):
            POOL.select(chosen, "--subset")
    for path, problem in ((tmp_path / "none.txt", "does not exist"), (tmp_path, "is not a file")):
        with pytest.raises(DataError, match=problem):
            POOL.select(path, "--subset")


def test_batches_are_lists_or_objects_padded_to_the_widest(tmp_path: Path) -> None:
    plain = POOL.batches(written(tmp_path, '["rte-1", 5]\n\n["rte-2"]\n'))
    assert np.array_equal(plain, [[0, 4], [1, -1]])
    rows = '{"step": 1, "samples_id": ["rte-1", "rte-1"]}\n{"step": 2, "samples_id": ["rte-2"]}'
    assert np.array_equal(POOL.batches(written(tmp_path, rows)), [[0, 0], [1, -1]])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('["rte-1"]\n["rte-1"', "line 2 is no JSON .*: expected a list of ids"),
        ('{"samples": ["rte-1"]}', "line 1: .* is not a batch"),
        ('{"step": "one", "samples_id": ["rte-1"]}', "line 1: .* is not a batch"),
        ("[[]]", "line 1: .* is not a batch"),
        ("[]", "line 1: .* is not a batch"),
        ("[" * 100_000, "line 1 is nested too deeply"),
        ('["rte-9"]', "line 1: 'rte-9' is not an id"),
        ('{"step": 1, "samples_id": ["rte-1"]}\n["rte-1"]', "line 2: some lines have a step"),
        ('{"step": 1, "samples_id": ["rte-1"]}\n' * 2, "line 2: step 1 follows step 1"),
        ('{"step": 1, "samples_id": ["rte-1"]}\n{"step": 3, "samples_id": ["rte-1"]}', "line 2: step 3 follows step 1"),
        ('{"step": 1, "samples_id": ["rte-1"]}\n{"step": 0, "samples_id": ["rte-1"]}', "line 2: step 0 follows step 1"),
        ('{"step": 5, "samples_id": ["rte-1"]}', "line 1: step 5 comes first"),
        ('["5"]\n{"step": 1, "samples_id": ["5"]}', "line 2: some lines have a step"),
        ("\n", "holds no batch"),
    ],
)
def test_a_bad_file_of_batches_is_refused_with_its_place(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        POOL.batches(written(tmp_path, text))


def test_batches_that_padding_would_blow_up_are_refused(tmp_path: Path) -> None:
    text = "[" + ",".join(["5"] * 10_000) + "]\n" + "[5]\n" * 10_000
    with pytest.raises(DataError, match="holds 10001 batches of up to 10000 ids"):
        POOL.batches(written(tmp_path, text))


def test_lines_name_ids_whatever_they_hold(tmp_path: Path) -> None:
    names = (" a", "a", "#1", "b # c", "d\ne", "", '"q"', "f  g")
    pool = ExampleIndex([Example(name, "", "") for name in names])
    text = '" a"\n  a  \n#1\nb # c\n"d\\ne"\n""\n"\\"q\\""\n# of no use\nf  g  # the last\n'
    assert pool.select(written(tmp_path, text), "--subset").tolist() == list(range(8))
    assert pool.select(written(tmp_path, " a\n\n   \n"), "--subset").tolist() == [0]
    assert pool.select(written(tmp_path, 'f  g\r"q"\ra'), "--subset").tolist() == [7, 6, 1]


def test_what_never_ends_is_read_no_further_than_its_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits(line=100, file=1000, lines=50)
    monkeypatch.setattr(id_files, "LIMITS", limits)
    for text, problem in (("x" * 101, "line 1 is longer than 100 bytes"), ("#\n" * 51, "more than 50 lines")):
        with pytest.raises(DataError, match=problem):
            POOL.select(written(tmp_path, text), "--subset")
    with pytest.raises(DataError, match="larger than 1,000 bytes"):
        POOL.batches(written(tmp_path, '["rte-1"]\n' * 101))
    if Path("/dev/zero").exists():
        with pytest.raises(DataError, match="/dev/zero, line 1 is longer than 100 bytes"):
            POOL.select("/dev/zero", "--subset")


def test_line_ends_of_old_systems_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(id_files, "LIMITS", Limits(line=100, file=1000, lines=20))
    with pytest.raises(DataError, match="more than 20 lines: name each of the 6 ids once"):
        POOL.select(written(tmp_path, "#\r" * 40), "--subset")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize(("text", "read"), [("rte-2\nrte-1\n", "select"), ('["rte-2"]\n["rte-1"]\n', "batches")])
def test_a_pipe_is_read_once(tmp_path: Path, text: str, read: str) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(text,))
    writer.start()
    found = POOL.select(pipe, "--subset") if read == "select" else POOL.batches(pipe)[:, 0]
    writer.join()
    assert found.tolist() == [1, 0]


def test_a_batch_with_a_key_twice_or_a_number_beyond_all_bounds_is_refused(tmp_path: Path) -> None:
    for text, problem in (
        ('{"step": 1, "step": 2, "samples_id": ["5"]}', 'line 1 has the key "step" twice'),
        ('{"step": 1e400, "samples_id": ["5"]}', "holds the number 1e400"),
        ('["\\ud800"]', "half a character"),
        ("{}", "is not a batch"),
    ):
        with pytest.raises(DataError, match=problem):
            POOL.batches(written(tmp_path, text))
