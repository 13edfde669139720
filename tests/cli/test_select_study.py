import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.test_errors import refuses

BRIEF = (
    "--size",
    "5",
    "--random",
    "2",
    "--repeats",
    "2",
    "--rival",
    "class-share",
    "--how",
    "replace",
    "--orders",
    "2",
)


def test_cost_first_then_the_tables(gptfl: Callable, study: Path) -> None:
    call = ("select-study", "-w", str(study), *BRIEF)
    dry = gptfl(*call, "--dry-run")
    assert dry.code == 0, dry.err
    assert dry.out.splitlines()[0] == "Plan"
    assert dry.out.splitlines()[-1] == "Nothing was trained (--dry-run)."
    shown = gptfl(*call)
    assert shown.code == 0, shown.err
    lines = [line.strip() for line in shown.out.splitlines()]
    assert lines[0] == "Plan"
    assert lines[2].split(maxsplit=1)[1] == "4 steps of 3 over 5 examples, measured twice on 3 test examples"
    assert "5 training examples of errands-" in shown.out
    for name in ("selected by gptfluence", "top of class-share", "random"):
        assert sum(line.startswith(name) for line in lines) == 2
    assert any(line.startswith("picture: ") for line in lines)
    document = json.loads(gptfl(*call, "--json").out)
    assert [len(one["values"]["loss"]) for one in document["kinds"]] == [2, 2, 2]
    assert set(document["kinds"][0]["better_than_random"]["loss"]) == {"by", "interval", "clear"}


@pytest.mark.parametrize(
    ("arguments", "code", "pieces"),
    [
        (("--size", "50"), 2, ("--size is 50", "from 1 to 12")),
        (("--size", "5", "--random", "1"), 2, ("--random is 1", "2 or more")),
        (("--size", "5", "--score-on", "9"), 2, ("--score-on is 9", "give 1 to 5")),
        (("--size", "5", "--rival", ":a=1"), 2, ("--rival ':a=1' names no estimator",)),
        (("--size", "5", "--executor", "locla"), 4, ("unknown executor 'locla'", "'local'")),
        (("--size", "5", "--figure", "x.doc"), 2, ("x.doc", ".png")),
    ],
)
def test_bad_input_is_one_line(
    gptfl: Callable, study: Path, arguments: tuple[str, ...], code: int, pieces: tuple[str, ...]
) -> None:
    refuses(gptfl("select-study", "-w", str(study), *arguments), code, *pieces)
