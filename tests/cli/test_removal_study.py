import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.test_errors import refuses

BRIEF = ("--sizes", "2,25%", "--orders", "2", "--random", "2", "--how", "replace")


def test_cost_first_then_the_tables(gptfl: Callable, study: Path) -> None:
    call = ("removal-study", "-w", str(study), *BRIEF)
    dry = gptfl(*call, "--dry-run")
    assert dry.code == 0, dry.err
    assert dry.out.splitlines()[0] == "Plan"
    assert dry.out.splitlines()[-1] == "Nothing was trained (--dry-run)."
    shown = gptfl(*call)
    assert shown.code == 0, shown.err
    lines = [line.strip() for line in shown.out.splitlines()]
    assert lines[:2] == ["Plan", "trainings  18"]
    each = "4 steps of 3 over the pool of 12, or all but some rows of it, measured twice on 6 test examples"
    assert lines[2].split(maxsplit=1)[1] == each
    assert "18 trainings, 18 of them new" in lines
    for kind in ("most harmful", "most helpful", "random (2 sets)"):
        assert [line.split()[0] for line in lines if f" {kind} " in line and line[0] != "B"] == ["2", "3"]
    assert any(line.startswith("picture: ") for line in lines)
    printed = gptfl(*call, "--json")
    document = json.loads(printed.out)
    assert [len(one["changes"]) for one in document["dropped"]] == [1, 1, 2, 1, 1, 2]
    assert document["trained_now"] == 0
    assert [gap["rows"] for gap in document["gaps"]] == [2, 3]


@pytest.mark.parametrize(
    ("arguments", "code", "pieces"),
    [
        (("--sizes", "50"), 2, ("--sizes has 50 of a pool of 12", "give 1 to 11 rows")),
        (("--sizes", "2;3"), 2, ("--sizes has '2;3'", "5,10 or 5%,10%")),
        (("--orders", "0"), 2, ("--orders is 0", "1 or more")),
        (("--random", "-1"), 2, ("--random is -1", "1 or more")),
        (("--on", "self"), 2, ("--on self names no test examples", "group:FILE")),
        (("--on", "test:nobody"), 3, ("--on test:nobody",)),
        (("--estimator", "exposure-pg"), 3, ("exposure-pg",)),
        (("--executor", "locla"), 4, ("unknown executor 'locla'", "'local'")),
        (("--figure", "x.doc"), 2, ("x.doc", ".png")),
    ],
)
def test_bad_input_is_one_line(
    gptfl: Callable, study: Path, arguments: tuple[str, ...], code: int, pieces: tuple[str, ...]
) -> None:
    refuses(gptfl("removal-study", "-w", str(study), *arguments), code, *pieces)
