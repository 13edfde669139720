"""``gptfl attribute`` from the command line."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gptfl.core import MetricInfo
from gptfl.influence.ranking import Ranking, RankResult
from gptfl.options.attribute import AttributeOptions
from tests.cli.test_errors import refuses
from tests.synthetic import examples

POOL = examples("train", 12, 2)
CALL = ("attribute", "--model", "tiny", "--checkpoints", "out", "--train", "a.jsonl", "--eval", "b.jsonl")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[AttributeOptions]:
    """The options that the command was given, which answers that a row is worth its place less 5."""
    given: list[AttributeOptions] = []

    def attribute(options: AttributeOptions, **rest: object) -> RankResult:
        given.append(options)
        ranking = Ranking("exposure-gp", "exposure-gp", "closed-form", np.arange(12) - 5.0, 9, Path("x"))
        loss = MetricInfo("loss", higher_is_better=False)
        return RankResult("r.dynamics.h5", loss, "mean", "the mean", POOL, (ranking,), notes=("fitted to one run",))

    monkeypatch.setattr("gptfl.api.attribute.attribute_with", attribute)
    return given


def test_the_table_shows_ten_rows_unless_told(gptfl: Callable, asked: list[AttributeOptions]) -> None:
    shown = gptfl(*CALL)
    assert shown.code == 0, shown.err
    assert shown.out.startswith(
        "Influence of each of 12 training examples on the mean, by exposure-gp (--how closed-form"
    )
    ids = [word for line in shown.out.splitlines() for word in line.split() if word.startswith("train-")]
    assert ids == [f"train-{place}" for place in range(11, 1, -1)]
    assert "note: fitted to one run" in shown.err
    few = gptfl(*CALL, "--top", "2", "--harmful")
    assert [word for line in few.out.splitlines() for word in line.split() if word.startswith("train-")] == [
        "train-0",
        "train-1",
    ]
    assert (asked[1].top, asked[1].reverse, asked[1].rows.train) == (2, True, Path("a.jsonl"))


def test_files_have_all_rows_in_either_form(gptfl: Callable, asked: list[AttributeOptions]) -> None:
    rows = list(csv.DictReader(gptfl(*CALL, "--csv").out.splitlines()))
    assert [row["id"] for row in rows] == [f"train-{place}" for place in range(11, -1, -1)]
    document = json.loads(gptfl(*CALL, "--json", "--top", "3").out)
    assert [one["id"] for one in document["rankings"][0]["examples"]] == ["train-11", "train-10", "train-9"]


def test_what_is_wrong_is_one_line(gptfl: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refuses(gptfl(*CALL, "--csv", "--json"), 2, "--csv and --json were given together: choose one")
    refuses(gptfl(*CALL, "--lr", "0"), 2, "--lr is 0")
    refuses(gptfl(*CALL), 3, "--checkpoints out")
