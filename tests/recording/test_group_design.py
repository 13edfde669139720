"""Runs by groups: a field of the rows, or clusters that a recording keeps."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gptfl
from gptfl.core import Example
from gptfl.core.curriculum import generator
from gptfl.errors import DataError
from gptfl.recording import group_design
from gptfl.recording.group_design import cluster_rows, clusters_of, group_numbers, with_clusters
from gptfl.store.recordings import read_dynamics
from tests.recording.test_collect import same_recording

WORDS = (("red bag", "blue hat"), ("sun rain", "wind snow"), ("one two", "three four"))
SMALL: dict[str, Any] = {"pool": 12, "test": 2, "steps": 3, "batch_size": 3, "lr": 1e-2, "design": "groups"}


def rows(count: int = 12, **fields: Any) -> list[Example]:
    return [
        Example(f"e{i}", f"{WORDS[i % 3][0]} {WORDS[i % 3][i // 3 % 2]}", f" {WORDS[i % 3][1]}", fields=fields)
        for i in range(count)
    ]


def test_alike_texts_are_one_cluster_and_clusters_are_numbered_as_they_come() -> None:
    assert cluster_rows(rows(), 3, 5).tolist() == [0, 1, 2] * 4
    assert cluster_rows(rows(), 3, 6).tolist() == [0, 1, 2] * 4
    # Six different texts make no more than six clusters.
    assert len(set(cluster_rows(rows(24), 20, 5).tolist())) == 6
    with pytest.raises(DataError, match="--by clusters:3: no word is in any row of the pool: group them by a field"):
        cluster_rows([Example(f"e{i}", "", " ") for i in range(4)], 3, 5, "clusters:3")


def test_many_rows_are_clustered_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_design, "LARGE", 20)
    assert cluster_rows(rows(60), 3, 5).tolist() == [0, 1, 2] * 20


def test_a_field_leaves_the_pool_as_it_is_and_one_named_cluster_is_not_written_over() -> None:
    pool = rows(cluster=1)
    assert clusters_of("cluster") is clusters_of(None) is None
    assert with_clusters(pool, "cluster", 1) == tuple(pool)
    with pytest.raises(
        DataError, match="--by clusters:3: pool example 'e0' has a field 'cluster' of its own: give --by"
    ):
        with_clusters(pool, "clusters:3", 1)
    kept = with_clusters(rows(), "clusters:3", 1)[4].without_texts()
    assert kept.fields == {"cluster": 1}


@pytest.mark.parametrize(
    ("fields", "by", "message"),
    [
        ({"source": "web"}, "source", "--by source: all rows of the pool are of one group, 'web': use another field"),
        ({"source": "web"}, "sourse", "--by sourse: no row of the pool has it: did you mean 'source'"),
        ({}, "clusters:3", "--subset-size 2 has no room for the 3 groups by clusters:3: give at least 3"),
    ],
)
def test_groups_that_no_runs_can_differ_by_are_refused(fields: dict[str, Any], by: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        group_numbers(with_clusters(rows(**fields), by, 1), by, 2)


def test_rows_without_the_field_are_a_group_of_their_own() -> None:
    pool = [*rows(3, source="web"), *rows(2)]
    assert group_numbers(pool, "source", 2).tolist() == [0, 0, 0, 1, 1]


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Rows of three sources."""
    folder = tmp_path / "rows"
    folder.mkdir()
    for side in ("train", "test"):
        lines = [
            json.dumps({"prompt": f"say {side} {place}", "target": f" {place}", "source": "abc"[place % 3]})
            for place in range(12)
        ]
        (folder / f"{side}.jsonl").write_text("\n".join(lines))
    return folder


def test_runs_differ_by_groups_and_more_of_them_keep_the_first(neox: Path, sources: Path, tmp_path: Path) -> None:
    given = {**SMALL, "task": "jsonl", "data": str(sources), "by": "source", "subset_size": 6}
    small = gptfl.collect(str(neox), workspace=tmp_path / "w", runs=2, **given)
    first = read_dynamics(small.path)
    assert first.settings["by"] == "source"
    gptfl.collect(str(neox), workspace=tmp_path / "w", runs=4, **given)
    grown = read_dynamics(small.path)
    assert len(grown.runs) == 4
    for one, other in zip(first.runs, grown.runs, strict=False):
        np.testing.assert_array_equal(one.curriculum.batches, other.curriculum.batches)
    held = [{grown.pool[place].fields["source"] for place in np.unique(run.curriculum.batches)} for run in grown.runs]
    assert [len(one) for one in held] == [2, 1, 2, 1]
    with pytest.raises(DataError, match="was recorded with --by source, not --by clusters:2"):
        gptfl.collect(str(neox), workspace=tmp_path / "w", runs=4, **{**given, "by": "clusters:2"})
    with pytest.raises(DataError, match="was recorded with --by source, not no --by"):
        gptfl.collect(str(neox), workspace=tmp_path / "w", runs=4, **{**given, "by": None, "design": "contrast"})


@pytest.mark.parametrize("texts", [True, False])
def test_a_recording_goes_on_with_the_clusters_that_it_keeps(
    neox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, texts: bool
) -> None:
    given = {**SMALL, "by": "clusters:3", "workspace": tmp_path, "texts": texts}
    made = gptfl.collect(str(neox), "errands", runs=2, **given)
    first = read_dynamics(made.path)
    clusters = [example.fields["cluster"] for example in first.pool]
    assert set(clusters) == {0, 1, 2}

    def elsewhere(pool: Any, count: int, *_: Any) -> Any:
        return generator(3).integers(count, size=len(pool))

    monkeypatch.setattr(group_design, "cluster_rows", elsewhere)
    grown = gptfl.collect(str(neox), "errands", runs=3, **given)
    assert (grown.runs, grown.recorded_now) == (3, 1)
    again = read_dynamics(made.path)
    assert [example.fields["cluster"] for example in again.pool] == clusters
    assert again.runs[2].curriculum.batches.shape == (3, 3)
    # Of other rows none are kept, and they are refused as ever.
    with pytest.raises(DataError, match=r"was recorded with --pool 12, not --pool 13"):
        gptfl.collect(str(neox), "errands", runs=3, **{**given, "pool": 13})


def test_an_interrupted_recording_by_clusters_ends_as_an_uninterrupted_one(neox: Path, tmp_path: Path) -> None:
    class Stop(BaseException):
        """Ends a recording in the place of Ctrl-C."""

    def stop(what: str, done: int, *_: Any) -> None:
        if what == "collect" and done == 4:  # of three a run
            raise Stop

    given = {**SMALL, "by": "clusters:3", "runs": 3}
    with pytest.raises(Stop):
        gptfl.collect(str(neox), "errands", workspace=tmp_path / "a", progress=stop, **given)
    ended = gptfl.collect(str(neox), "errands", workspace=tmp_path / "a", **given)
    whole = gptfl.collect(str(neox), "errands", workspace=tmp_path / "b", **given)
    assert (ended.recorded_now, whole.recorded_now) == (2, 3)
    same_recording(read_dynamics(ended.path), read_dynamics(whole.path))
