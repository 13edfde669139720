"""An exported folder appears whole, and takes no foreign one's place."""

import json
from pathlib import Path

import pytest

from gptfl.errors import DataError, ResourceError
from gptfl.store.exports import MADE_BY, MARKER, check_folder, new_folder


def export(folder: Path, **files: str) -> None:
    with new_folder(folder, {"about": "größe"}) as part:
        for name, text in files.items():
            (part / name).write_text(text)


def test_a_folder_takes_its_name_when_it_is_whole(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out", {}) as part:
        (part / "deep").mkdir()
        (part / "deep" / "a").write_text("x")
        assert not (tmp_path / "out").exists()
    marker = json.loads((tmp_path / "out" / MARKER).read_text(encoding="utf-8"))
    assert marker["made_by"] == MADE_BY
    assert marker["files"] == ["deep/a", MARKER]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_earlier_export_goes_and_a_failed_one_leaves_it(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    export(folder, a="1", b="2")
    with pytest.raises(ZeroDivisionError), new_folder(folder, {}) as part:
        (part / "a").write_text(f"{1 / 0}")
    assert (folder / "a").read_text() == "1"
    export(folder, a="3")
    assert sorted(path.name for path in folder.iterdir()) == ["a", MARKER]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_was_added_to_an_export_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    export(folder, a="1")
    (folder / "mine").write_text("x")
    with pytest.raises(DataError, match=r"out holds mine, which gptfl export didn't write, .*: give another --to, or"):
        check_folder(folder)


def test_what_is_put_there_meanwhile_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    exporting = new_folder(folder, {})
    exporting.__enter__()
    folder.mkdir()
    (folder / "mine").write_text("x")
    with pytest.raises(DataError, match="holds mine"):
        exporting.__exit__(None, None, None)
    assert (folder / "mine").read_text() == "x"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("marker", ["", "[]", '{"made_by": "x"}', '{"made_by": "gptfl export", "files": 3}', "\udcff"])
def test_a_marker_that_is_none_lists_nothing(tmp_path: Path, marker: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / MARKER).write_text(marker, errors="surrogateescape")
    with pytest.raises(DataError, match=f"holds {MARKER}"):
        check_folder(tmp_path / "out")


def test_free_and_empty_folders_are_taken_others_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("nowhere")
    check_folder(tmp_path / "free")
    check_folder(tmp_path / "empty")
    for name, problem in (("file", "is a file"), ("link", "is a link"), ("x" * 300, "File name too long")):
        with pytest.raises(DataError, match=f"{problem}.*give another --folder"):
            check_folder(tmp_path / name, "--folder")
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(DataError, match="is the current folder or above it"):
        check_folder(tmp_path)


def test_a_place_that_can_not_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises((ResourceError, DataError), match="file/out"):
        export(tmp_path / "file" / "out", a="1")
