"""Where a workspace holds two recordings, every stage takes the same one and says so; and what can't be kept is told."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from gptfl.api.compare import compare
from gptfl.api.simulate import simulate
from gptfl.errors import DataError, NotKept, ResourceError
from gptfl.recording.recording import open_recording
from gptfl.simulation.fit import fit
from gptfl.simulation.simulator import open_fitted
from gptfl.store.recordings import write_dynamics
from tests.synthetic import synthetic

SAID = "took new.dynamics.h5, the recording made last; choose another with --dynamics (also there: syn.dynamics.h5)"


@pytest.fixture
def two(space: Path) -> Path:
    """Two recordings; only the older has a simulator."""
    fit("mean-run", dynamics=space / "syn.dynamics.h5")
    dynamics, _ = synthetic(12)
    write_dynamics(space / "new.dynamics.h5", replace(dynamics, settings={**dynamics.settings, "seed": 7}))
    later = (space / "syn.dynamics.h5").stat().st_mtime_ns + 10**9
    os.utime(space / "new.dynamics.h5", ns=(later, later))
    return space


def test_all_take_the_recording_made_last_and_say_so(two: Path) -> None:
    with pytest.raises(
        DataError, match=r"no such simulator was fitted to .*new\.dynamics\.h5: run gptfl fit first.*syn"
    ):
        open_fitted(None, None, two, None, None)
    fitted = fit("mean-run", workspace=two)
    source = open_fitted(None, None, two, None, None)
    assert source.path == fitted.path
    assert source.recording.path == open_recording(None, two).path == two / "new.dynamics.h5"
    for notes in (fitted.notes, source.notes, open_recording(None, two).notes):
        assert notes.count(SAID) == 1


def test_naming_one_is_enough_and_nothing_is_said(two: Path) -> None:
    source = open_fitted(None, two / "syn.dynamics.h5", two, None, None)
    assert source.recording.path == two / "syn.dynamics.h5"
    assert source.notes == ()


@pytest.fixture
def unwritable(space: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with a simulator, to which nothing can be written any more."""
    fit("mean-run", workspace=space)

    def refuse(path: Path, folder: bool) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("gptfl.store.durable.claim_part", refuse)
    return space


def test_a_simulation_is_there_though_its_file_is_not(unwritable: Path) -> None:
    with pytest.raises(NotKept, match=r"predictions\.h5 can't be written: Read-only file system") as caught:
        simulate(workspace=unwritable)
    found = caught.value.result
    assert found.mean_final == pytest.approx(found.mean_reference)
    assert (found.predictions, found.figure) == (None, None)
    assert "png can't be written" in found.unkept[0]


def test_a_comparison_is_there_and_its_picture_is_reported_as_missing(unwritable: Path) -> None:
    found = compare(workspace=unwritable, estimators=["mean-run"])
    assert found.figure is None
    (message,) = found.unkept
    assert "syn.loss.comparison.png can't be written: Read-only file system: write elsewhere" in message
    with pytest.raises(NotKept) as caught:
        compare(workspace=unwritable, estimators=["mean-run"], output=unwritable / "a.json", figure=False)
    assert caught.value.result.rows


def test_a_fit_that_could_not_be_kept_is_not_begun(unwritable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gptfl.simulation.fit.fit_fresh", lambda *given: pytest.fail("it was fitted"))
    with pytest.raises(ResourceError, match="Read-only"):
        fit("mean-run", workspace=unwritable, every=2)
