"""Two stages of recording; tests/cli/test_doctor.py records in both."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from gptfl.api import doctor_recording
from gptfl.api.doctor_plan import BESIDE, LEAST_RUNS, DoctorPlan, planned
from gptfl.api.doctor_recording import collect_options, record_in_stages, recorded_seconds
from gptfl.core import silent
from gptfl.options.base import make
from gptfl.options.doctor import DoctorOptions
from gptfl.options.recording import CollectOptions
from gptfl.recording.result import CollectResult
from gptfl.store.recordings import write_dynamics
from gptfl.store.workspace import Workspace
from tests.synthetic import synthetic

OPTIONS = make(DoctorOptions, train="train.jsonl", eval="eval.jsonl", model="tiny", record_every=4)
BEFORE, REFERENCE = 30.0, 40.0


class Machine:
    """Records on a clock of its own, a run in ``per_run`` seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, per_run: float, runs: int = 0) -> None:
        self.now, self.runs, self.per_run, self.asked = BEFORE, runs, per_run, list[int | None]()
        monkeypatch.setattr(doctor_recording, "time", SimpleNamespace(perf_counter=lambda: self.now))
        monkeypatch.setattr(doctor_recording, "recorded_seconds", lambda _: (self.runs, self.per_run))
        monkeypatch.setattr("gptfl.recording.collect.record", self.record)

    def record(self, options: CollectOptions, **_: object) -> CollectResult:
        asked = options.design.runs
        assert asked is not None
        self.asked.append(asked)
        new = max(0, asked - self.runs)
        self.now += new * self.per_run + (REFERENCE if len(self.asked) == 1 else 0.0)
        self.runs += new
        return CollectResult(Path("x.dynamics.h5"), self.runs, new, None)


def stages(plan: DoctorPlan, budget: float) -> tuple[CollectResult, DoctorPlan, list[tuple[DoctorPlan, str | None]]]:
    """What came of it, and what was settled."""
    said: list[tuple[DoctorPlan, str | None]] = []
    found, now = record_in_stages(
        OPTIONS, plan, budget, Workspace(Path("w")), 0.0, settled=lambda *one: said.append(one), progress=silent
    )
    return found, now, said


def test_slower_runs_are_fewer_and_end_within_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    budget, plan = 780.0, planned(780.0, 14.0, REFERENCE)
    machine = Machine(monkeypatch, 27.0)
    found, now, said = stages(plan, budget)
    assert machine.asked == [LEAST_RUNS, now.runs]
    assert LEAST_RUNS < now.runs < plan.runs
    assert (found.runs, found.recorded_now) == (now.runs, now.runs)
    assert said == [(now, f"runs take about 27 s, not 14 s: {now.runs} runs, {now.pairs} pairs")]
    end = machine.now + now.verifying + BESIDE * budget - BEFORE
    assert budget - 27.0 < end <= budget


def test_the_first_runs_may_be_all_there_is_time_for(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, 60.0)
    found, now, said = stages(planned(780.0, 14.0, REFERENCE), 780.0)
    assert (machine.asked, found.runs, now.runs, now.pairs) == ([LEAST_RUNS], 8, 8, 2)
    assert said[0][1] is not None
    assert said[0][1].endswith("longer than --budget")


def test_runs_of_an_interrupted_call_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, 14.0, runs=11)
    found, now, _ = stages(planned(780.0, 14.0, REFERENCE, 11), 780.0)
    assert now.runs > 11
    assert found.recorded_now == now.runs - 11
    assert machine.asked == [LEAST_RUNS, now.runs]


def test_a_plan_by_measured_runs_is_kept_to(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, 50.0, runs=8)
    plan = DoctorPlan(12, 3, 27.0, 40.0, measured=True)
    found, now, said = stages(plan, 780.0)
    assert (machine.asked, found.runs, now, said) == ([12], 12, plan, [])


def test_what_is_asked_of_collect() -> None:
    asked = collect_options(OPTIONS, 8, Path("w"), True)
    assert (asked.design.runs, asked.design.few_runs, asked.design.record_every) == (8, True, 4)
    assert (asked.output.name, asked.output.workspace, asked.output.dry_run) == ("doctor", Path("w"), True)


def test_the_seconds_of_recorded_runs_are_their_mean(tmp_path: Path) -> None:
    path = tmp_path / "x.dynamics.h5"
    assert recorded_seconds(path) == (0, None)
    dynamics, _ = synthetic()
    runs = [replace(run, seconds=None) for run in dynamics.runs]
    write_dynamics(path, replace(dynamics, runs=tuple(runs)))
    assert recorded_seconds(path) == (len(runs), None)
    runs[0], runs[1] = replace(runs[0], seconds=2.0), replace(runs[1], seconds=5.0)
    other = tmp_path / "y.dynamics.h5"
    write_dynamics(other, replace(dynamics, runs=tuple(runs)))
    assert recorded_seconds(other) == (len(runs), 3.5)
