"""What travels between processes comes back to the bit, and a unit in vain says why."""

from typing import Any

import numpy as np
import pytest

from gptfl.errors import DataError, ResourceError
from gptfl.plugins import work
from gptfl.plugins.work import Outcome, Tally, Unit, Work, carry_out
from gptfl.testing.executors import PretendedTrainers

ARRAYS = {
    "": np.array([np.nan, -0.0, np.inf], dtype=np.float32),
    "a/b\ud800 é": np.zeros((2, 0, 3), dtype=np.int8),
    "file": np.array(7),
    "turned": np.arange(6).reshape(2, 3).T,
}


def same(first: dict[str, np.ndarray], second: Any) -> None:
    assert first.keys() == second.keys()
    for name, array in first.items():
        assert (array.dtype, array.shape) == (second[name].dtype, second[name].shape)
        np.testing.assert_array_equal(array, second[name])


def test_units_and_outcomes_come_back_to_the_bit() -> None:
    unit = Unit(3, {"rate": 0.1 + 0.2, "text": "\ud800"}, ARRAYS)
    back = Unit.of_bytes(unit.to_bytes())
    assert (back.index, back.settings) == (3, unit.settings)
    same(ARRAYS, back.arrays)
    outcome = Outcome(4, {"seconds": None}, ARRAYS, {"trace": "..."})
    again = Outcome.of_bytes(outcome.to_bytes())
    assert (again.index, again.settings, again.failure) == (4, outcome.settings, outcome.failure)
    same(ARRAYS, again.arrays)
    job = Work(kind="check", settings={"a": [1]}, device="cuda", threads=2)
    assert Work.of_json(job.to_json()) == job


def test_nothing_is_ever_pickled() -> None:
    objects = np.array([print], dtype=object)
    with pytest.raises(ValueError, match="pickle"):
        Unit(0, {}, {"objects": objects}).to_bytes()
    with pytest.raises(ValueError, match="not JSON compliant"):
        Unit(0, {"value": float("nan")}).to_bytes()


def test_work_is_begun_once_for_its_units(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Work] = []

    class Module:
        @staticmethod
        def open_work(job: Work) -> Any:
            begun.append(job)
            return lambda unit, on_step: Outcome(unit.index)

    monkeypatch.setattr(work.importlib, "import_module", lambda name: Module)
    first, other = (Work(kind="check", settings={"a": value}) for value in (1, 2))
    for job in (first, Work.of_json(first.to_json()), other, other, first):
        assert carry_out(job, Unit(1), lambda done, total: None).failure is None
    assert begun == [first, other, first]


def test_a_unit_in_vain_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def outcome(error: Exception) -> Outcome:
        def raising(*given: Any) -> Any:
            raise error

        monkeypatch.setattr("gptfl.testing.executors.PretendedTrainers.__call__", raising)
        return carry_out(Work(kind="check", settings=dict(vars(PretendedTrainers(str(error))))), Unit(5), print)

    class Special(DataError):
        pass

    with pytest.raises(DataError, match="a problem: a remedy") as caught:
        outcome(Special("a problem", "a remedy")).check()
    assert type(caught.value) is DataError
    with pytest.raises(ResourceError, match="memory is full: out of it"):
        outcome(MemoryError("out of it")).check()
    with pytest.raises(RuntimeError, match=r"(?s)unit 5: Traceback.*ZeroDivisionError: by none"):
        outcome(ZeroDivisionError("by none")).check()
    assert Outcome.of_bytes(carry_out(Work(kind="none", settings={}), Unit(1), print).to_bytes()).failure is not None


def test_steps_are_summed_however_units_begin_again() -> None:
    tally = Tally()
    assert [tally.add(*one) for one in ((0, 1), (4, 1), (0, 2), (4, 0), (4, 1), (0, 3))] == [1, 2, 3, 2, 3, 4]
