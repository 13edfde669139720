"""``gptfl sweep`` from the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.test_errors import refuses


def test_a_sweep_is_that_of_compare(gptfl: Callable, plain_fit: Path, tmp_path: Path) -> None:
    kept = ("--workspace", str(plain_fit), "--figure", str(tmp_path / "a.png"), "--json")
    swept = gptfl("sweep", "order=1,2", "--set", "gptfluence.epochs=2", *kept)
    assert swept.code == 0, swept.err
    plain = gptfl("compare", "--sweep", "order=1,2", "--set", "gptfluence.epochs=2", *kept)
    numbers = [[point["mse"] for point in json.loads(one.out)["points"]] for one in (swept, plain)]
    assert numbers[0] == numbers[1]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "nothing says what to vary: write for example gptfl sweep order=1,2,3"),
        (("order",), "AXIS 'order' is not AXIS=V1,V2,...: write for example order=1,2,3"),
        (("order=1", "--json", "--csv"), "--json and --csv were given together: choose one"),
        (("order=1", "--every", "0"), "--every is 0: give at least 1"),
    ],
)
def test_what_no_sweep_can_do_is_one_line(gptfl: Callable, words: tuple[str, ...], line: str) -> None:
    refuses(gptfl("sweep", *words), 2, f"error: {line}")
