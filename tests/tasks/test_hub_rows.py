"""Rows of a data set of the Hub, by name: as a stream up to a limit, or from the cache."""

from pathlib import Path

import pytest

from gptfl.errors import DataError, ResourceError
from gptfl.tasks import hub_rows
from tests.tasks.task_files import own, pairs, write_lines


def test_a_data_set_of_the_hub_is_streamed_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "set"
    write_lines(folder / "train.jsonl", pairs(30))
    write_lines(folder / "test.jsonl", pairs(40)[35:])
    monkeypatch.setattr(hub_rows, "MAX_ROWS", 20)
    found = own(dataset=str(folder), eval_split="test")
    assert (found.name, found.sizes()) == ("set", (20, 5))
    with pytest.raises(DataError, match=r"--dataset .* can't be read .*Bad split: dev"):
        own(dataset=str(folder), split="dev").load(None, None, 1)


def test_a_data_set_that_is_not_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        ResourceError, match="--dataset nobody/nothing, and HF_HUB_OFFLINE is set, and it is in no cache"
    ):
        own(dataset="nobody/nothing").load(None, None, 1)


def test_without_a_network_the_cache_of_the_hub_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    folder, commit = tmp_path / "datasets--nobody--pairs", "a" * 40
    write_lines(folder / "snapshots" / commit / "train.jsonl", pairs(12))
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(commit)
    data = own(dataset="nobody/pairs")
    assert (data.name, sum(data.sizes())) == ("pairs", 12)
