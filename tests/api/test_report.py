"""What is on the page of a recording, and what it says is missing."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

import gptfl
from gptfl.api.page_parts import FOLDS, SUBSETS
from gptfl.errors import DataError, UsageError
from gptfl.report.page.content import PageParts
from gptfl.store.recordings import read_dynamics, write_dynamics


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> list[PageParts]:
    """What goes onto each page that is written."""
    given: list[PageParts] = []

    def write(one: PageParts, target: Path) -> None:
        given.append(one)
        target.write_text("<!doctype html>\n<!-- gptfl report -->")

    monkeypatch.setattr("gptfl.api.report.write_page", write)
    return given


def test_without_a_simulator_the_page_says_what_makes_one(space: Path, parts: list[PageParts]) -> None:
    found = gptfl.write_report(workspace=space, no_comparison=True)
    assert found.path == space / "report.html"
    assert found.size == found.path.stat().st_size
    assert found.parts == ()
    assert [what for what, _ in found.missing] == [
        "what-if answers, influences and suspects",
        "the comparison with naive rows",
    ]
    assert found.missing[0][1] == "gptfl featurize && gptfl fit"
    (one,) = parts
    assert one.form is None
    assert one.estimator is None
    assert one.facts["runs"] == "24"
    assert one.facts["training examples"] == "24"
    assert "model" not in one.facts, "what isn't known is left out"


def test_with_a_simulator_it_holds_what_that_tells(
    space: Path, parts: list[PageParts], simulator: gptfl.Simulator
) -> None:
    found = gptfl.write_report(workspace=space, no_comparison=True)
    assert found.parts == ("what if", "who moves whom", "suspects", "held-out runs")
    (one,) = parts
    assert one.estimator == "exposure-gp"
    assert one.trust[0].isupper()
    assert one.trust.endswith(".")
    assert one.commands["verify"] == f"gptfl verify --simulator {simulator.path} --subset subset.txt"
    assert one.held_out is not None
    assert len(one.held_out.names) == len(simulator.opened.recording.dynamics.with_role("test"))


def test_few_held_out_runs_are_compared_over_folds(space: Path, parts: list[PageParts]) -> None:
    gptfl.write_report(workspace=space)
    assert parts[0].comparison is not None
    assert parts[0].comparison.folds == FOLDS, "of 24 runs four are to test"
    dynamics = read_dynamics(space / "syn.dynamics.h5")
    write_dynamics(space / "syn.dynamics.h5", replace(dynamics, runs=dynamics.runs[:1]))
    found = gptfl.write_report(workspace=space)
    assert parts[1].comparison is None
    assert ("the comparison with naive rows", "gptfl compare") in found.missing


def test_the_page_says_which_skill_is_which_and_has_those_of_compare(
    space: Path, parts: list[PageParts], simulator: gptfl.Simulator
) -> None:
    gptfl.write_report(workspace=space, folds=3)
    (one,) = parts
    assert one.comparison is not None
    assert one.trust.startswith("On the 4 held-out runs this simulator has skill")
    assert "In the table exposure-gp is fitted anew without each of 3 folds" in one.trust
    assert "gptfl compare --folds 3 tells" in one.trust
    table = gptfl.compare(workspace=space, folds=3, estimators="exposure-gp", figure=False)
    assert [row.scores["skill"].value for row in table.rows] == [
        row.scores["skill"].value for row in one.comparison.rows
    ]


def test_saved_subsets_are_offered_the_latest_first_and_what_is_none_is_passed_over(
    space: Path, parts: list[PageParts]
) -> None:
    for age in range(SUBSETS + 3):
        path = space / f"s{age:02}.txt"
        path.write_text(f"train-{age}\ntrain-0\n" if age else "train-0\n")
        os.utime(path, (10**9 - age, 10**9 - age))
    (space / "s01.txt").write_text("no such id\n")
    (space / "lost.txt").symlink_to(space / "nowhere")
    os.mkfifo(space / "pipe.txt")
    os.mkfifo(space / "pipe.verified.json")
    (space / "other.verified.json").write_text("{}")
    gptfl.write_report(workspace=space, no_comparison=True)
    offered = parts[0].subsets
    assert list(offered) == ["s00", *(f"s{age:02}" for age in range(2, SUBSETS))]
    assert offered["s03"].tolist() == [3, 0]
    assert parts[0].verifications == []


def test_what_can_not_be_made_is_one_line(space: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--output .*page\.txt is not an \.html file: end it in \.html"):
        gptfl.write_report(tmp_path / "page.txt", workspace=space)
    with pytest.raises(DataError, match=r"none\.simulator\.h5 does not exist"):
        gptfl.write_report(simulator=tmp_path / "none.simulator.h5", workspace=space)
    with pytest.raises(DataError, match="no simulator of estimator mean-run"):
        gptfl.write_report(estimator="mean-run", workspace=space)
    with pytest.raises(UsageError, match="folds is 1: give at least 2"):
        gptfl.write_report(workspace=space, folds=1)
    # A damaged simulator of this recording is said to be one: the page isn't made as if there were none.
    (space / "syn.mean-run.loss.simulator.h5").write_text("mine")
    with pytest.raises(DataError, match=r"syn\.mean-run\.loss\.simulator\.h5"):
        gptfl.write_report(workspace=space)
