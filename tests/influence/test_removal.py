"""Influence as if a row were not there, and its verdicts, on recordings whose rows have a known worth."""

from pathlib import Path

import numpy as np
import pytest

import gptfl
from gptfl.influence.ranking import Ranking
from gptfl.store.features import write_features
from gptfl.store.recordings import write_dynamics
from tests.worths import recording_of_worths

LAWS = 8


def ranked(
    folder: Path, seed: int, features: bool = True, fdr: float = 0.1, **law: float
) -> tuple[Ranking, np.ndarray]:
    """The ranking of a law's recording, and the true influences."""
    folder.mkdir()
    dynamics, vectors, truth = recording_of_worths(seed, **law)
    write_dynamics(folder / "worths.dynamics.h5", dynamics)
    write_features(folder / "worths.synthetic.features.h5", vectors)
    gptfl.fit("exposure-gp", workspace=folder, settings={"features": features})
    return gptfl.rank(workspace=folder, fdr=fdr).rankings[0], truth


@pytest.mark.parametrize(
    ("settings", "fdr"),
    [({}, 0.1), ({"features": False}, 0.1), ({"own": 0.9}, 0.2)],
)
def test_the_realised_false_sign_rate_is_about_the_stated_one(tmp_path: Path, settings: dict, fdr: float) -> None:
    decided = wrong = 0
    levels = []
    for seed in range(LAWS):
        ranking, truth = ranked(tmp_path / str(seed), seed, fdr=fdr, **settings)
        verdicts = ranking.verdicts
        decided += int(verdicts.decided.sum())
        wrong += int((verdicts.decided & (verdicts.sign != np.sign(truth))).sum())
        levels.append((ranking.influence.mean(), truth.mean()))
    assert decided > 50
    assert wrong / decided < fdr + 0.05
    # The level, which closed form has at 0, is that of the truth.
    found, true = np.mean(levels, axis=0)
    assert found == pytest.approx(true, abs=0.0005)


def test_with_many_runs_all_is_known(tmp_path: Path) -> None:
    ranking, truth = ranked(tmp_path / "many", 1, runs=100)
    assert np.corrcoef(ranking.influence, truth)[0, 1] > 0.85
    verdicts = ranking.verdicts
    assert verdicts.decided.mean() > 0.95
    assert (verdicts.sign == np.sign(truth))[verdicts.decided].mean() > 0.95
    assert ((ranking.low <= truth) & (truth <= ranking.high)).mean() > 0.75


def test_a_row_that_is_worth_nothing_lies_at_zero_where_the_average_one_helps(tmp_path: Path) -> None:
    """Closed form has about half of every pool below zero, however good all of it is."""
    ranking, truth = ranked(tmp_path / "good", 3, harmful=0.0, own=0.1)
    once = gptfl.rank(workspace=tmp_path / "good", how="closed-form").rankings[0]
    assert (truth > 0).mean() > 0.85
    assert ranking.verdicts.count("helpful") / len(truth) > 0.8
    assert 0.3 < (once.influence < 0).mean() < 0.7
    assert once.verdicts is None
