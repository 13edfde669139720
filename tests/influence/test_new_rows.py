"""Rows that were never recorded, ranked as if each were added to the pool."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import gptfl
from gptfl.core import Example
from gptfl.core.blocked_rows import StackedRows
from gptfl.errors import UsageError
from gptfl.influence import new_rows
from gptfl.influence.new_rows import check_new_request, of_new_rows
from gptfl.influence.rank import InfluenceRequest
from gptfl.influence.removal import removal
from gptfl.influence.targets import influence_target
from gptfl.options.influence import InfluenceOptions, RankOptions
from gptfl.recording.new_examples import NewExamples
from gptfl.simulation.simulator import FittedSimulator, open_fitted
from gptfl.store.features import write_features
from gptfl.store.recordings import write_dynamics
from tests.estimators.exposure_gp.worlds import Held
from tests.worths import recording_of_worths

COPIED = [3, 17, 41, 50]


def silent(*_: object) -> None:
    return None


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[FittedSimulator, np.ndarray]:
    """A simulator of rows whose vectors tell all that they do, and the true worth of each row."""
    folder = tmp_path_factory.mktemp("worths")
    dynamics, features, worths = recording_of_worths(2, runs=60, harmful=0.0, own=0.0)
    write_dynamics(folder / "worths.dynamics.h5", dynamics)
    write_features(folder / "worths.synthetic.features.h5", features)
    gptfl.fit("exposure-gp", workspace=folder)
    return open_fitted(None, None, folder, None, None), worths


def told(
    source: FittedSimulator, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch, in_blocks: bool = False
) -> "tuple[np.ndarray, np.ndarray, tuple[str, ...]]":
    """The influence of new rows with these vectors, its standard deviation, and what is said of those far away."""
    new = NewExamples(tuple(Example(f"new-{place}", "p", "t") for place in range(len(vectors))), (), np.zeros(0))
    _, features, _ = recording_of_worths(2, runs=60, harmful=0.0, own=0.0)
    one = features.sets["vectors"]
    train = StackedRows(Held(one.train), vectors) if in_blocks else np.concatenate([one.train, vectors])
    scope = replace(
        source.scope,
        pool=(*source.scope.pool, *new.pool),
        pool_seen=np.append(source.scope.pool_seen, np.full(len(vectors), -1)),
        features=replace(features, sets={"vectors": replace(one, train=train)}),
    )
    monkeypatch.setattr(new_rows, "with_new_examples", lambda *_: replace(source, scope=scope))
    request = InfluenceRequest(influence_target("mean", source.recording.dynamics), None, None, None, 1, 0, 0.1)
    asked = of_new_rows(source, new, request, None, silent)
    assert asked.scope.pool == new.pool
    found = removal(asked, request.subject, asked.scope.features, silent)
    return found.influence, found.spread, new_rows._far("exposure-gp", found)


@pytest.mark.parametrize("in_blocks", [False, True])
def test_a_copy_of_a_row_does_what_the_row_does(fitted, monkeypatch: pytest.MonkeyPatch, in_blocks: bool) -> None:
    source, worths = fitted
    subject = influence_target("mean", source.recording.dynamics)
    known = removal(source, subject, None, silent)
    vectors = recording_of_worths(2, runs=60, harmful=0.0, own=0.0)[1].sets["vectors"].train[COPIED]
    found, spread, _ = told(source, vectors, monkeypatch, in_blocks)
    # What the recorded row does by itself, which no vector tells, is all that sets it apart from its copy.
    apart = np.abs(found - known.influence[COPIED])
    assert (apart < 0.05 * np.ptp(known.influence)).all()
    assert (spread >= known.spread[COPIED] * 0.999).all()
    np.testing.assert_allclose(found, worths[COPIED], atol=0.2 * np.ptp(worths))


def test_a_row_far_from_all_that_was_recorded_has_a_wide_interval(fitted, monkeypatch: pytest.MonkeyPatch) -> None:
    source, _ = fitted
    near = recording_of_worths(2, runs=60, harmful=0.0, own=0.0)[1].sets["vectors"].train[COPIED]
    _, spread, nothing = told(source, near, monkeypatch)
    _, wide, _ = told(source, 20 * near, monkeypatch)
    assert (wide > 4 * spread).all()  # what an average row is worth is open for both
    assert nothing == ()


def test_what_the_runs_leave_open_is_said(fitted) -> None:
    source, _ = fitted
    found = removal(source, influence_target("mean", source.recording.dynamics), None, silent)
    open_ = replace(found, spread=np.sqrt(found.before**2 + found.common**2 + found.lasting**2))
    (line,) = new_rows._far("exposure-gp", open_)
    assert line.startswith("exposure-gp knows next to nothing of 60 of 60 new rows, which are unlike those recorded")
    assert new_rows._far("exposure-gp", replace(found, before=np.full(60, np.inf))) == ()


@pytest.mark.parametrize(
    ("given", "flag"),
    [
        ({"purpose": "cleaning"}, "--for cleaning"),
        ({"by": "class"}, "--by"),
        ({"keep": "test:a"}, "--keep"),
        ({"tokens": True}, "--tokens"),
        ({"influence": InfluenceOptions(how="drop")}, "--how drop"),
        ({"influence": InfluenceOptions(on="self")}, "--on self"),
    ],
)
def test_what_says_nothing_of_new_rows_is_refused(given: dict, flag: str) -> None:
    with pytest.raises(UsageError, match=f"{flag} and --new were given together"):
        check_new_request(RankOptions(new=Path("new.jsonl"), **given))
    check_new_request(RankOptions(**given))
