"""What a page's script gets to read, as JSON-able values."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gptfl.core import Example, MetricInfo
from gptfl.core.turns import Turn
from gptfl.influence.cleaning import HARM, OUTLIER
from gptfl.influence.matrix import InfluenceMatrix
from gptfl.influence.ranking import Ranking
from gptfl.influence.suspects import suspects_by
from gptfl.report.page.content import MOST_CHARACTERS, HeldOutRuns, PageParts, examples_json, script_data, shown_path
from gptfl.simulation.forms import SummedForm, linear_form_of

POOL = tuple(Example(f"p{i}", f"größe {i // 2}", f" {i % 2}") for i in range(6))
TESTS = tuple(Example(f"t{i}", "q", " a") for i in range(3))
VALUES = np.array([0.5, -2.0, 1.0, 0.0, -0.25, 0.125])


def parts(**more: object) -> PageParts:
    return PageParts("r", {}, MetricInfo("loss", False), POOL, TESTS, **more)  # type: ignore[arg-type]


def ranking(**more: object) -> Ranking:
    return Ranking("e", "e", "drop", VALUES, 8, Path("e.h5"), **more)  # type: ignore[arg-type]


def test_a_page_of_nothing_but_a_recording_is_whole() -> None:
    data = json.loads(json.dumps(script_data(parts()), allow_nan=False))
    assert [example["id"] for example in data["pool"]] == [f"p{i}" for i in range(6)]
    for name in ("form", "influence", "matrix", "held_out"):
        assert data[name] is None
    assert (data["suspects"], data["subsets"], data["shown_tests"], data["commands"]) == ([], [], [], {})
    assert data["average"]["mean"]["shape"] == [1]


def test_long_texts_are_cut_and_conversations_come_turn_by_turn() -> None:
    long = Example("a b", "x" * (MOST_CHARACTERS + 5), " t")
    talk = Example.of_turns("c", [Turn("user", "hi"), Turn("assistant", "ho", True)], {})
    first, second = examples_json([long, talk])
    assert first["prompt"] == f"{'x' * MOST_CHARACTERS}… ({MOST_CHARACTERS + 5} characters in all)"
    assert (first["id"], first["target"]) == ("a b", " t")
    assert second["turns"] == [
        {"role": "user", "content": "hi", "target": False},
        {"role": "assistant", "content": "ho", "target": True},
    ]
    assert "prompt" not in second


def test_influences_are_known_where_their_interval_lies_on_one_side() -> None:
    data = script_data(parts(ranking=ranking(low=VALUES - 0.3, high=VALUES + 0.3)))["influence"]
    assert data["verdict"] == [1, -1, 1, 0, 0, 0]
    assert data["order"] == [2, 0, 5, 3, 4, 1]
    assert data["mean"] == VALUES.tolist()
    assert script_data(parts(ranking=ranking()))["influence"]["verdict"] is None


def test_suspects_say_why_by_the_signs_that_are_unusual() -> None:
    signs = {HARM: np.array([0.0, 5.0, 1.0, 2.0, 3.0, 4.0]), OUTLIER: np.array([9.0, 0.0, 1.0, 2.0, 3.0, 4.0])}
    given = {"signs": signs, "suspects": suspects_by(signs), "duplicates": [(0, 1, 0.99), (2, 3, 0.98)]}
    found = script_data(parts(**given, ranking=ranking(low=VALUES - 1, high=VALUES + 1)))["suspects"]
    by_row = {one["row"]: one["why"] for one in found}
    assert by_row[0][0] == "distance from like rows 9: number 1 of 6"
    assert not any("harm" in why for why in by_row[0])
    assert by_row[1][0] == "harm to the mean of the test examples 5: number 1 of 6"
    assert "90 % interval of its influence on the mean: -3 to -1" in by_row[1]
    assert by_row[1][-1] == "nearly the same text, with another target, as p0"


def test_test_examples_that_move_most_are_shown_first() -> None:
    mean = np.zeros((6, 3))
    mean[0] = [1.0, -3.0, 2.0]
    matrix = InfluenceMatrix("what", mean, None, np.array([5, 0]), np.array([2, 0, 1]))
    data = script_data(parts(matrix=matrix))
    assert data["shown_tests"] == [1, 2]
    assert (data["matrix"]["rows"], data["matrix"]["columns"], data["matrix"]["spread"]) == ([5, 0], [2, 0, 1], None)
    assert data["matrix"]["mean"]["shape"] == [2, 3]


def test_held_out_runs_have_null_where_the_average_is_not_known() -> None:
    values = np.zeros((1, 2, 3))
    average = np.array([[1.0, np.nan, 2.0], [0.0, 0.0, 0.0]])
    held = HeldOutRuns(("run-0001",), np.array([0, 2]), values, values, average, (values - 1, values + 1))
    data = json.loads(json.dumps(script_data(parts(held_out=held)), allow_nan=False))["held_out"]
    assert data["average"][0] == [1.0, None, 2.0]
    assert (data["runs"], data["steps"]) == (["run-0001"], [0, 2])
    assert data["low"]["shape"] == [1, 2, 3]


@pytest.mark.parametrize("kind", ["linear", "summed"])
def test_the_form_is_of_its_kind(fitted: SimpleNamespace, kind: str) -> None:
    summed = SummedForm(np.array([0, 1]), np.zeros((2, 3)), np.ones((6, 2, 3)), 0.0, np.inf)
    form = linear_form_of(fitted.source) if kind == "linear" else summed
    assert script_data(parts(form=form))["form"]["kind"] == kind


def test_a_path_below_here_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shown_path(tmp_path / "a" / "größe.txt") == "a/größe.txt"
    assert shown_path(tmp_path.parent / "x") == str(tmp_path.parent / "x")
