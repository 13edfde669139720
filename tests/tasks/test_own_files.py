"""The files of people's own data: which hold rows to train on, and which rows to test on."""

from pathlib import Path

import pytest

import gptfl
from gptfl.errors import DataError
from gptfl.store.jsonlines import Limits
from gptfl.tasks.own_files import RowSource, find_sources, one_source, plain_name
from tests.tasks.task_files import own, pairs, write_lines


def test_folders(tmp_path: Path) -> None:
    hub = tmp_path / "reviews" / "data"
    for name, count in (("train-00000-of-00002", 4), ("train-00001-of-00002", 3), ("validation", 2), ("test", 1)):
        write_lines(hub / f"{name}.jsonl", [{**one, "prompt": f"{name} {one['prompt']}"} for one in pairs(count)])
    found = own(data=tmp_path / "reviews")
    assert (found.name, found.sizes()) == ("reviews", (7, 1))
    write_lines(tmp_path / "logs" / "may.jsonl", pairs(9))
    write_lines(tmp_path / "logs" / "june.jsonl", [{"text": f"t{i}"} for i in range(0)] or pairs(12)[9:])
    assert sum(own(data=tmp_path / "logs").sizes()) == 12
    assert own(data=hub / "train-00000-of-00002.jsonl").name == "train-00000-of-00002"
    (tmp_path / "empty").mkdir()
    write_lines(tmp_path / "tests" / "test.jsonl", pairs(2))
    for folder, message in (("empty", "holds no file of rows"), ("tests", "holds only rows to test on")):
        with pytest.raises(DataError, match=message):
            own(data=tmp_path / folder).load(None, None, 1)


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet", "folder"])
def test_a_circle_of_links_is_no_file_of_rows(name: str, tmp_path: Path) -> None:
    (tmp_path / name).symlink_to(tmp_path / name)
    with pytest.raises(DataError, match="does not exist"):
        gptfl.inspect_data(data=tmp_path / name)


@pytest.mark.parametrize(
    ("files", "train", "test"),
    [
        (["train.jsonl", "test.jsonl", "val.jsonl"], ["train.jsonl"], ["test.jsonl"]),
        (["val-0.csv", "val-1.csv", "b.json", "a.json"], ["a.json", "b.json"], ["val-0.csv", "val-1.csv"]),
        (["Train.parquet", "other.csv", "EVAL.csv"], ["Train.parquet"], ["EVAL.csv"]),
        (["data/train.csv", "README.md", "dataset_info.json"], ["data/train.csv"], None),
        (["evaluation.csv", "trained.csv"], ["evaluation.csv", "trained.csv"], None),
    ],
)
def test_names_tell_what_to_train_on(
    tmp_path: Path, files: list[str], train: list[str], test: list[str] | None
) -> None:
    (tmp_path / "data").mkdir()
    for name in files:
        (tmp_path / name).touch()
    found = find_sources(tmp_path, "--data")
    assert found[0].paths == tuple(tmp_path / name for name in train)
    assert (None if found[1] is None else [str(one.relative_to(tmp_path)) for one in found[1].paths]) == test


def test_one_source_holds_no_rows_to_test_on(tmp_path: Path) -> None:
    write_lines(tmp_path / "train.jsonl", pairs(2))
    assert [row.values["target"] for row in one_source(tmp_path, "--train").rows("x")] == [" 0", " 1"]
    write_lines(tmp_path / "dev.jsonl", pairs(1))
    with pytest.raises(DataError, match=r"--train .* holds rows to train on and rows to test on: name one of its"):
        one_source(tmp_path, "--train")


def test_rows_of_several_files_are_counted_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = RowSource(tuple(write_lines(tmp_path / f"{name}.jsonl", pairs(3)) for name in "ab"))
    assert source.name == f"{tmp_path / 'a.jsonl'} and 1 more"
    assert len(list(source.rows("x"))) == 6
    monkeypatch.setattr("gptfl.tasks.own_files.LIMITS", Limits(1000, 1000, 5))
    with pytest.raises(DataError, match=r"a\.jsonl and 1 more has more than 5 rows: use fewer"):
        list(source.rows("x"))


def test_a_recording_is_called_by_the_file_or_the_folder_of_a_split(tmp_path: Path) -> None:
    (tmp_path / "größe").mkdir()
    for name, called in (("größe", "größe"), ("größe/train.jsonl", "größe"), ("größe/train-2.csv.gz", "train-2")):
        assert plain_name([tmp_path / name]) == called
    assert plain_name([tmp_path / "größe" / "may.tsv"]) == "may"
