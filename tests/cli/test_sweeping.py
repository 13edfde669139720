"""Sweeps, as ``gptfl compare --sweep`` and the commands of their own carry them out."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gptfl.cli.sweeping import check_one_form, check_runs_only, run_sweep
from gptfl.errors import UsageError
from gptfl.options.base import assemble
from gptfl.options.evaluation import CompareOptions, PointOptions, SweepOptions
from tests.cli.conftest import Outcome
from tests.cli.test_errors import refuses

Command = Callable[..., Outcome]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--sweep", "order"), "is not AXIS=V1,V2"),
        (("--sweep", "order=1,,2"), "is not AXIS=V1,V2"),
        (("--sweep", "order=1", "--sweep", "order=2"), "given twice"),
        (("--sweep", "order=1", "--cost"), "--cost does not go with --sweep"),
        (("--sweep", "order=1", "--estimator", "gptfluence:order=2"), "varies one estimator"),
        (("--sweep", "order=0"), "order"),
        (("--every", "0"), "--every is 0"),
        (("--sweep", "order=1", "--estimator", "gptfluence@minilm"), "varies one estimator"),
        (("--sweep", "runs=2,3", "--sweep", "order=1"), "--sweep runs goes with no other axis, and order is given"),
        (("--sweep", "runs=2", "--folds", "2"), "--folds does not go with --sweep runs"),
        (("--sweep", "runs=1"), "runs=1: give whole numbers of at least 2"),
        (("--sweep", "runs=2", "--held-out", "0"), "--held-out is 0"),
        (("--sweep", "order=1", "--held-out", "2"), "--held-out is of --sweep runs alone"),
        (("--draws", "2"), "--draws is of --sweep runs alone"),
    ],
)
def test_wrong_sweeps_are_one_line(gptfl: Command, finished_study: Path, options: tuple[str, ...], words: str) -> None:
    refuses(gptfl("compare", "-w", str(finished_study), *options), 2, words)


def test_costs_and_sweeps_are_tables(gptfl: Command, finished_study: Path, tmp_path: Path) -> None:
    small = ("-w", str(finished_study), "--set", "gptfluence.epochs=5", "--figure", str(tmp_path / "a.png"))
    costs = gptfl("compare", "--cost", *small)
    assert costs.code == 0
    assert "Cost of one simulated trajectory" in costs.out
    swept = gptfl("compare", "--sweep", "order=1,2", "--sweep", "every=1,2", "--csv", *small)
    assert swept.code == 0
    lines = swept.out.strip().splitlines()
    assert lines[0].startswith("estimator,order,every,mse,")
    assert [line.split(",")[1:3] for line in lines[1:]] == [["1", "1"], ["1", "2"], ["2", "1"], ["2", "2"]]


def test_a_sweep_over_runs_is_a_table_a_picture_and_csv(gptfl: Command, finished_study: Path, tmp_path: Path) -> None:
    few = ("compare", "-w", str(finished_study), "--sweep", "runs=2,4", "--estimator", "exposure-gp")
    few += ("--estimator", "gptfluence:epochs=5", "--held-out", "3", "--figure", str(tmp_path / "a.png"))
    shown = gptfl(*few)
    assert shown.code == 0, shown.err
    assert "by the number of runs" in shown.out
    assert (tmp_path / "a.png").is_file()
    lines = gptfl(*few, "--csv").out.strip().splitlines()
    assert lines[0].startswith("estimator,name,encoder,runs,groups,mse,")
    # The runs were timed as they were recorded.
    assert all(float(line.split(",")[-3]) > 0 for line in lines[1:])


def test_options_of_a_sweep_over_runs_alone_are_refused_without_it() -> None:
    check_runs_only(SweepOptions(held_out=2, draws=3), over_runs=True)
    check_runs_only(SweepOptions(), over_runs=False)
    for options, flag in ((SweepOptions(held_out=2), "--held-out"), (SweepOptions(draws=3), "--draws")):
        with pytest.raises(UsageError, match=f"{flag} is of --sweep runs alone: leave it out, or give --sweep runs="):
            check_runs_only(options, over_runs=False)


def test_one_form_of_output_is_chosen() -> None:
    for form in ({}, {"as_json": True}, {"as_csv": True}):
        check_one_form(PointOptions(**form))
    with pytest.raises(UsageError, match="--json and --csv were given together: choose one"):
        check_one_form(PointOptions(as_json=True, as_csv=True))


def test_options_that_no_sweep_has_are_refused_before_any_work() -> None:
    for given, flag in (
        ({"observe": 1}, "--observe"),
        ({"calibrate": True}, "--calibrate"),
        ({"unseen": "test"}, "--unseen"),
    ):
        with pytest.raises(UsageError, match=f"{flag} does not go with --sweep: leave out one of them"):
            run_sweep(assemble(CompareOptions, (), {"sweep": ["order=1"], **given}))
