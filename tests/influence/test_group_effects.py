"""What groups of rows do."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import gptfl
from gptfl.errors import DataError, UsageError
from gptfl.estimators.exposure_gp.estimator import ExposureGp
from gptfl.influence.group_effects import usual_field
from gptfl.recording.row_groups import group_rows
from gptfl.report.ranking import to_csv, to_json
from gptfl.store.features import write_features
from gptfl.store.recordings import write_dynamics
from tests.synthetic import examples
from tests.worths import recording_of_worths


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("groups")
    dynamics, vectors, truth = recording_of_worths(4, pool=40)
    bad = np.argsort(truth)[:10]
    sources = ["bad" if place in bad else ["web", "books"][place % 2] for place in range(40)]
    pool = tuple(
        replace(one, fields={"source": source}, digest="") for one, source in zip(dynamics.pool, sources, strict=True)
    )
    dynamics = replace(dynamics, pool=pool)
    write_dynamics(folder / "worths.dynamics.h5", dynamics)
    write_features(folder / "worths.synthetic.features.h5", replace(vectors, examples=dynamics.examples))
    np.save(folder / "truth.npy", truth)
    gptfl.fit("mean-run", workspace=folder)
    gptfl.fit("exposure-gp", workspace=folder)
    return folder


def test_a_group_has_a_spread_of_its_own_and_all_groups_together_are_all_rows(space: Path) -> None:
    ranking = gptfl.rank(workspace=space, by="source").rankings[0]
    groups = ranking.groups
    assert groups is not None
    truth = np.load(space / "truth.npy")
    half = (groups.high - groups.low) / 2
    alone = (ranking.high - ranking.low) / 2
    for number, name in enumerate(groups.grouping.names):
        rows = groups.grouping.of == number
        assert half[number] < alone[rows].sum()
        assert abs(groups.influence[number] - truth[rows].sum()) < 2 * half[number], name
        counts = groups.of_rows[number]
        assert sum(counts.values()) == rows.sum()
    assert groups.influence.sum() == pytest.approx(ranking.influence.sum(), rel=1e-6)
    bad = groups.grouping.names.index("bad")
    assert groups.influence.argmin() == bad


def test_a_sure_group_carries_no_unsure_one_through(space: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = np.array([1.0, -1.0, 0.1]), np.array([0.01, 0.01, 0.15]), np.ones(3)
    # By the rates of false signs alone all three would pass: a quarter, and twice next to nothing.
    monkeypatch.setattr(ExposureGp, "influence_of_groups", lambda *_, **__: told)
    groups = gptfl.rank(workspace=space, by="source").rankings[0].groups
    assert groups is not None
    assert groups.verdicts is not None
    clear = (groups.low > 0) | (groups.high < 0)
    assert groups.verdicts.decided.tolist() == clear.tolist() == [True, True, False]


def test_groups_in_csv_and_json(space: Path) -> None:
    result = gptfl.rank(workspace=space, by="source", output=space / "groups.csv")
    rows = list(csv.DictReader(io.StringIO(to_csv(result))))
    assert (space / "groups.csv").read_text() == to_csv(result)
    assert {row["group"] for row in rows} == {"bad", "web", "books"}
    assert [row["rank"] for row in rows] == ["1", "2", "3"]
    assert next(iter(csv.DictReader(io.StringIO(to_csv(result, 1, True)))))["group"] == "bad"
    assert {"influence", "low", "high", "verdict", "per_row", "rows_helpful"} < rows[0].keys()
    document = json.loads(to_json(result))["rankings"][0]
    assert document["by"] == "source"
    assert [one["group"] for one in document["groups"]] == [row["group"] for row in rows]
    harmful = [row for row in rows if row["verdict"] == "harmful"]
    only = list(csv.DictReader(io.StringIO(to_csv(result, only="harmful"))))
    assert only == harmful
    with pytest.raises(DataError):
        gptfl.simulate(workspace=space, drop=space / "groups.csv")


def test_an_estimator_that_knows_no_spread_sums(space: Path) -> None:
    groups = gptfl.rank(workspace=space, by="source", estimators=["mean-run"], orders=1).rankings[0].groups
    assert groups is not None
    assert (groups.low, groups.verdicts, groups.of_rows) == (None, None, ())
    assert "is the sum of its rows'" in groups.meaning


def test_a_mixture_is_of_tasks_else_of_classes(space: Path) -> None:
    two = examples("train", 6, 2)
    assert usual_field(two) == "class"
    assert group_rows(two, "class").names == ("class0", "class1")
    mixed = [replace(one, fields={"task": "abc"[place % 3]}, digest="") for place, one in enumerate(two)]
    assert usual_field(mixed) == "task"
    assert group_rows(mixed, "task").names == ("a", "b", "c")
    with pytest.raises(UsageError, match="--by source is of groups, and --for cleaning of single rows"):
        gptfl.rank(workspace=space, by="source", purpose="cleaning")
    groups = gptfl.rank(workspace=space, by="source", purpose="mixture").rankings[0].groups
    assert groups is not None
