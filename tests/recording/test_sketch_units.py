"""Gradient sketches that an executor's workers share are those of one process."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gptfl.core import Dynamics
from gptfl.errors import DataError
from gptfl.executors import Local
from gptfl.plugins.registry import Registry, build, using
from gptfl.plugins.work import Outcome, Unit, carry_out
from gptfl.recording.sketch_units import shares_out
from gptfl.store.recordings import read_dynamics
from gptfl.training.gradients import blocks
from tests.recording.test_collect import record, same_recording

UNITS: list[Unit] = []


class Several(Local):
    """Says that it has several workers, and carries units out in this process, the last one first."""

    name = "several"

    def __init__(self, workers: int | None = 2) -> None:
        super().__init__()
        self.workers = workers  # type: ignore[assignment]

    def perform(self, work: Any, units: Any, on_step: Any) -> Iterator[Outcome]:
        for unit in [*units][::-1]:
            UNITS.append(unit)
            outcome = carry_out(
                work, Unit.of_bytes(unit.to_bytes()), lambda done, total, index=unit.index: on_step(index, done, total)
            )
            yield Outcome.of_bytes(outcome.to_bytes())


@pytest.fixture(autouse=True)
def registry() -> Iterator[Registry]:
    UNITS.clear()
    found = build([])
    found.claim("acme 1.0", "executor", "several", Several)
    with using(found):
        yield found


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little memory for gradients, so that examples are cut into several pieces."""
    monkeypatch.setattr(blocks, "CPU_MEMORY", 2**19)


def same_sketches(first: Dynamics, second: Dynamics) -> None:
    same_recording(first, second)
    assert first.sketches is not None
    assert second.sketches is not None
    assert first.sketches.fingerprint == second.sketches.fingerprint
    if first.sketches.products is not None:
        assert second.sketches.products is not None
        assert first.sketches.products.fingerprint == second.sketches.products.fingerprint


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize(
    "more",
    [{"sketch_modules": "*dense*"}, {"lora": "r=2,alpha=4,dropout=0", "clip_norm": 0.1, "loss_mean": "tokens"}],
)
def test_they_are_the_same_to_the_bit(neox: Path, tmp_path: Path, more: dict[str, Any]) -> None:
    asked = {"runs": 1, "sketches": True, "sketch_points": 3, "sketch_dimensions": 24, **more}
    alone = record(neox, tmp_path / "alone", **asked)
    seen: list[tuple[int, int]] = []

    def look(what: str, done: int, total: int, note: str = "") -> None:
        if what == "sketches":
            seen.append((done, total))

    shared = record(neox, tmp_path / "shared", executor="several", progress=look, **asked)
    same_sketches(read_dynamics(alone.path), read_dynamics(shared.path))
    assert len(UNITS) > 1
    assert seen[-1] == (51, 51)
    assert "gradient sketches at steps" in shared.notes[0]


@pytest.mark.parametrize(("workers", "parts"), [(3, 6), (None, 12)])
def test_each_worker_has_two_parts_where_there_are_as_many_pieces(
    neox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int | None, parts: int
) -> None:
    monkeypatch.setattr(blocks, "CPU_MEMORY", 1)  # a piece an example
    asked = {"runs": 1, "sketches": True, "sketch_points": 2, "sketch_dimensions": 24}
    record(neox, tmp_path, executor="several", executor_set={"workers": workers}, **asked)
    assert len([unit for unit in UNITS if "part" in unit.settings]) == parts


def test_with_products_one_process_takes_both(neox: Path, tmp_path: Path) -> None:
    asked = {"runs": 1, "sketches": True, "sketch_points": 2, "sketch_dimensions": 24, "gradients": "reference"}
    record(neox, tmp_path, executor="several", **asked)
    assert [unit for unit in UNITS if "part" in unit.settings] == []


def test_a_sketch_that_is_not_finite_is_named(neox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Several.perform

    def spoilt(self: Any, *given: Any) -> Iterator[Outcome]:
        for outcome in real(self, *given):
            arrays = {key: values.copy() for key, values in outcome.arrays.items()}
            for key in arrays:
                if key.startswith("step 4 pool"):
                    arrays[key][0] = np.nan
            yield replace(outcome, arrays=arrays)

    monkeypatch.setattr(Several, "perform", spoilt)
    with pytest.raises(
        DataError, match=r"the gradient of pool example '.*' is not finite at step 4 of the reference run"
    ):
        record(neox, tmp_path, runs=1, sketches=True, sketch_points=2, sketch_dimensions=24, executor="several")


def test_only_several_workers_that_take_any_unit_share_them() -> None:
    class RunsAlone:
        name, workers = "runs alone", 4

        def execute(self, *given: Any) -> Iterator[Any]:
            yield from ()

    assert shares_out(Several())
    assert shares_out(Several(None))
    assert not shares_out(Several(1))
    assert not shares_out(RunsAlone())
    assert not shares_out(None)
