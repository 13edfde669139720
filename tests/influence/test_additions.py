"""What new rows do, on recordings whose rows have a known worth."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import gptfl
from gptfl.core import Example, MetricInfo
from gptfl.errors import DataError
from gptfl.influence.additions import ALL, FAR, FINE, WORSE, Addition, Check, added
from gptfl.simulation.simulator import open_fitted
from gptfl.store.features import write_features
from gptfl.store.recordings import write_dynamics
from tests.worths import recording_of_worths

NEW = 6
LOSS = MetricInfo("loss", False)


def asked(folder: Path, seed: int, runs: int, direction: float, held_out: int = 0):
    """What new rows are found to do, and what they do in truth; their vectors point along the test examples' or away.

    So many recorded rows count as such that the simulator was fitted without.
    """
    folder.mkdir()
    dynamics, features, _ = recording_of_worths(seed, runs=runs, harmful=0.0, own=0.0)
    write_dynamics(folder / "worths.dynamics.h5", dynamics)
    write_features(folder / "worths.synthetic.features.h5", features)
    gptfl.fit("exposure-gp", workspace=folder)
    source = open_fitted(None, None, folder, None, None)
    one = features.sets["vectors"]
    mean = one.test.mean(axis=0)
    rows = np.random.default_rng(seed).normal(size=(NEW, len(mean))) * 0.3 + direction * mean / np.linalg.norm(mean)
    truth = float((0.8 + rows @ one.test.T.mean(axis=1) / 4).sum()) / len(dynamics.pool)
    examples = tuple(Example(f"new-{place}", "p", "t") for place in range(NEW))
    sets = {"vectors": replace(one, train=np.concatenate([one.train, rows.astype(np.float32)]))}
    seen = np.where(np.arange(len(dynamics.pool)) < held_out, -1, source.scope.pool_seen)
    scope = replace(
        source.scope,
        pool=(*source.scope.pool, *examples),
        pool_seen=np.append(seen, np.full(NEW, -1)),
        features=replace(features, sets=sets),
    )
    return added(replace(source, scope=scope), None, lambda *_: None)[0], truth


@pytest.mark.parametrize("direction", [-6.0, 6.0])
def test_new_rows_do_what_their_vectors_tell(tmp_path: Path, direction: float) -> None:
    found, truth = asked(tmp_path / "law", 2, 60, direction)
    assert (found.target, found.tests) == (ALL, 12)
    assert np.sign(found.influence) == np.sign(truth)
    assert found.low - 0.3 * abs(truth) < truth < found.high + 0.3 * abs(truth)
    assert found.is_worse == (direction < 0)
    assert found.novelty < 0.5


def test_recorded_rows_that_it_was_fitted_without_are_not_among_the_new(tmp_path: Path) -> None:
    whole, held_out = (asked(tmp_path / str(count), 2, 12, -6.0, count)[0] for count in (0, 3))
    assert held_out == whole


def test_few_runs_leave_more_open(tmp_path: Path) -> None:
    few, many = (asked(tmp_path / str(runs), 2, runs, -6.0)[0] for runs in (6, 60))
    assert few.novelty > many.novelty
    assert few.high - few.low > many.high - many.low


def test_the_exit_code_says_what_is_known() -> None:
    def of(*additions: Addition) -> Check:
        return Check("r", "e", LOSS, 8, 3, additions)

    fine, far = Addition(ALL, 5, 0.1, -0.1, 0.3, 0.4), Addition(ALL, 5, 0.1, -0.1, 0.3, 0.9)
    worse = Addition("books", 2, -0.3, -0.5, -0.1, 0.4)
    assert [of(fine).code, of(far).code, of(fine, worse).code, of(far, worse).code] == [FINE, FAR, WORSE, WORSE]
    assert of(fine, worse).verdict == "clearly worse for books"
    assert "too far from what was recorded" in of(far).verdict


def test_what_tells_nothing_of_new_rows_is_refused(tmp_path: Path) -> None:
    dynamics, features, _ = recording_of_worths(1, runs=8)
    write_dynamics(tmp_path / "worths.dynamics.h5", dynamics)
    write_features(tmp_path / "worths.synthetic.features.h5", features)
    gptfl.fit("mean-run", workspace=tmp_path)
    source = open_fitted(None, None, tmp_path, None, None)
    with pytest.raises(
        DataError, match="can't tell what new rows do: its estimator tells no influence of rows together"
    ):
        added(source, None, lambda *_: None)
