"""``gptfl learning-curve`` from the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.test_errors import refuses


def test_a_curve_has_a_point_for_each_number_of_runs(gptfl: Callable, plain_fit: Path, tmp_path: Path) -> None:
    kept = ("--estimator", "persistence", "--workspace", str(plain_fit), "--figure", str(tmp_path / "a.png"))
    # Commas part numbers as spaces do.
    curve = gptfl("learning-curve", "2,3", "4", *kept, "--json")
    assert curve.code == 0, curve.err
    assert {point["runs"] for point in json.loads(curve.out)["points"]} == {2, 3, 4}
    assert (tmp_path / "a.png").is_file()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "nothing says how many runs to fit to: write for example gptfl learning-curve 2 3 5 10"),
        (("few",), "'few' is no number of runs: write for example gptfl learning-curve 2 3 5 10"),
        (("2,", "3"), "'' is no number of runs"),
        (("2", "--json", "--csv"), "--json and --csv were given together: choose one"),
        (("9" * 5000,), f"'{'9' * 60}' is no number of runs"),
        (("2", "--draws", "0"), "--draws is 0: give at least 1"),
    ],
)
def test_what_is_no_curve_is_one_line(gptfl: Callable, words: tuple[str, ...], line: str) -> None:
    refuses(gptfl("learning-curve", *words), 2, f"error: {line}")
