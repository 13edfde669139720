"""The demo from Python; tests/cli/test_demo.py goes the road on a small scale."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gptfl.api import demo
from gptfl.api.demo import DemoResult
from gptfl.errors import DataError, UsageError
from gptfl.scores.comparison import ScoreRow, Value


def result(skill: Value, means: tuple[float | None, ...]) -> DemoResult:
    rows = (ScoreRow("mean-run", {"skill": Value(0.0)}), ScoreRow("exposure-gp", {"skill": skill}))
    comparison: Any = SimpleNamespace(rows=rows, runs=6)
    verification: Any = SimpleNamespace(estimator="exposure-gp", means=lambda: means)
    ranking: Any = None
    return DemoResult(Path("w"), Path("w/ids.txt"), comparison, verification, ranking, Path("w/report.html"))


def test_the_verdict_is_of_the_row_that_was_verified() -> None:
    assert result(Value(0.614, interval=(0.4, 0.8)), (1.23456, 1.3, 1.5)).verdict == (
        "from 6 recorded runs exposure-gp predicts held-out ones with 61 % [40, 80] of the average run's squared error "
        "gone; without any example about a price it predicted a mean loss of 1.23 where training then gave 1.3 (average "
        "run 1.5)"
    )


def test_what_is_not_known_is_not_said() -> None:
    assert result(Value(0.5), (1.0, 1.0, None)).verdict == (
        "from 6 recorded runs exposure-gp predicts held-out ones with 50 % of the average run's squared error gone"
    )


def test_what_a_stage_refuses_is_said_and_an_earlier_demo_of_other_sizes_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    def collect(*names: str, **options: Any) -> None:
        given.update(options, names=names)
        raise DataError("it holds a recording of other settings", "take another")

    monkeypatch.setattr(demo, "collect", collect)
    announced: list[object] = []
    with pytest.raises(DataError, match="other settings"):
        demo.demo(tmp_path / "w", pool=20, test=4, runs=3, announce=lambda *one: announced.append(one))
    assert (given["names"], given["workspace"]) == (("tiny", "errands"), tmp_path / "w")
    assert (given["pool"], given["test"], given["runs"], given["few_runs"]) == (20, 4, 3, True)
    assert given["subset_size"] == 3
    assert announced == []
    with pytest.raises(UsageError, match="runs is 0: give at least 1"):
        demo.demo(tmp_path / "w", runs=0)
    assert not (tmp_path / "w").exists()
