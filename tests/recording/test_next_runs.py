"""Runs that are added by what they tell: kept before they are trained, resumed, and refused where they make no sense."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gptfl
from gptfl.core import FIT, Dynamics
from gptfl.designs.draws import NEXT_FROM
from gptfl.errors import DataError, GptflError
from gptfl.options.base import make
from gptfl.options.recording import CollectOptions
from gptfl.plugins.registry import Registry
from gptfl.recording.collect import record as record_with
from gptfl.recording.command import command_of
from gptfl.recording.inspect import inspect
from gptfl.recording.next_runs import NextRuns, kept_subsets
from gptfl.store.recordings import read_dynamics, write_dynamics

SMALL: dict[str, Any] = {
    "pool": 12,
    "test": 3,
    "subset_size": 4,
    "batch_size": 2,
    "steps": 4,
    "lr": 1e-2,
    "runs": 4,
    "design": "contrast",
}


class _Stop(BaseException):
    """Ends a recording in the place of a kill."""


def collect(model: Path, space: Path, choose: Any = None, progress: Any = None, **more: Any) -> Dynamics:
    options = make(CollectOptions, model=str(model), task="errands", workspace=space, **SMALL, **more)
    given = {} if progress is None else {"progress": progress}
    return read_dynamics(record_with(options, choose=choose, **given).path)


def evenly(request: NextRuns) -> list[list[int]]:
    return [[(k + request.number) % 12, *range(9, 12)] for k in range(request.count)]


def test_chosen_runs_come_beside_the_others_and_change_none(neox: Path, tmp_path: Path) -> None:
    before = collect(neox, tmp_path)
    after = collect(neox, tmp_path, evenly, next=2)
    assert [run.index for run in after.runs] == [0, 1, 2, 3, NEXT_FROM, NEXT_FROM + 1]
    for old, new in zip(before.runs, after.runs, strict=False):
        assert (old.role, old.seed) == (new.role, new.seed)
        np.testing.assert_array_equal(old.metrics["loss"], new.metrics["loss"])
    assert [run.role for run in after.runs[4:]] == [FIT, FIT]
    for run, members in zip(after.runs[4:], kept_subsets(after, tmp_path), strict=True):
        np.testing.assert_array_equal(np.unique(run.curriculum.batches), members)
    # Neither is anything in the way of more runs of the design, or of more chosen ones.
    more = collect(neox, tmp_path, repeats=1)
    assert len(more.runs) == 7
    last = collect(neox, tmp_path, evenly, next=1)
    assert [run.index for run in last.runs if run.index >= NEXT_FROM] == [NEXT_FROM, NEXT_FROM + 1, NEXT_FROM + 2]
    assert len(last.settings.chosen_runs or ()) == 3


def test_what_was_chosen_is_gone_on_with_after_a_kill(neox: Path, tmp_path: Path) -> None:
    collect(neox, tmp_path / "whole")
    whole = collect(neox, tmp_path / "whole", evenly, next=3)
    collect(neox, tmp_path / "killed")

    def stop(what: str, steps: int, total: int, note: str = "") -> None:
        if what == "collect" and steps == 6:  # of four a run
            raise _Stop

    with pytest.raises(_Stop):
        collect(neox, tmp_path / "killed", evenly, stop, next=3)

    def never(request: NextRuns) -> list[list[int]]:
        raise AssertionError("they were chosen")

    again = collect(neox, tmp_path / "killed", never, next=3)
    assert again.fingerprint == whole.fingerprint


def test_inspect_says_what_was_chosen(neox: Path, tmp_path: Path, registry: Registry) -> None:
    collect(neox, tmp_path)
    collect(neox, tmp_path, evenly, next=2)
    (path,) = tmp_path.glob("*.dynamics.h5")
    rows = dict(inspect(path).rows)
    assert rows["chosen by --next"] == "2 of the runs to fit, of 2 chosen"
    assert "setting: chosen_runs" not in rows
    made = command_of(path, registry)
    assert made.words[made.words.index("--runs") + 1] == "4"
    assert "added by --next (2)" in made.unknown


def test_a_dry_run_keeps_nothing(neox: Path, tmp_path: Path) -> None:
    before = collect(neox, tmp_path)
    assert collect(neox, tmp_path, evenly, next=2, dry_run=True).fingerprint == before.fingerprint


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"on": "mean"}, "--on mean says what --next is to tell, and there is none: give --next N"),
        ({"next": 2, "on": "self"}, "--on self: runs measure the test examples"),
        ({"next": 2, "processes": 2}, "--next 2 with --processes 2: runs are chosen in one process"),
        ({"next": 2, "repeats": 1}, "--next 2 with --repeats 1: add them one after the other"),
        ({"next": 2, "design": "leave-out"}, "--next 2 with --design leave-out, whose runs belong together"),
        ({"next": 2}, "--next 2 adds to a recording, and .* isn't there"),
        ({"next": 0}, "next is 0: give at least 1"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    neox: Path, tmp_path: Path, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(GptflError, match=message) as caught:
        gptfl.collect(str(neox), "errands", workspace=tmp_path, **{**SMALL, **given})
    assert "\n" not in str(caught.value)


def test_without_a_simulator_nothing_is_chosen(neox: Path, tmp_path: Path) -> None:
    before = collect(neox, tmp_path)
    with pytest.raises(DataError, match="run gptfl fit"):
        gptfl.collect(str(neox), "errands", workspace=tmp_path, **SMALL, next=2)
    with pytest.raises(DataError, match="nothing says which runs --next 2 are"):
        collect(neox, tmp_path, next=2)
    with pytest.raises(DataError, match="recorded with --lr"):
        gptfl.collect(str(neox), "errands", workspace=tmp_path, **{**SMALL, "lr": 0.5}, next=2)
    (path,) = tmp_path.glob("*.dynamics.h5")
    assert read_dynamics(path).fingerprint == before.fingerprint


def test_ids_that_are_not_in_the_pool_are_damage(neox: Path, tmp_path: Path) -> None:
    dynamics = collect(neox, tmp_path)
    (path,) = tmp_path.glob("*.dynamics.h5")
    write_dynamics(path, replace(dynamics, settings=dynamics.settings.having(chosen_runs=[["nobody"]])))
    with pytest.raises(DataError, match="damaged"):
        collect(neox, tmp_path, evenly, next=1)
