"""Influence as if a row were not there, and its verdicts, on recordings whose rows have a known worth."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import gptfl
from gptfl.core import REPEAT, Run
from gptfl.designs.draws import NEXT_FROM
from gptfl.errors import DataError
from gptfl.influence.ranking import Ranking
from gptfl.influence.removal import WINDOW, average_worth, has_removal, presentations, removal
from gptfl.influence.targets import InfluenceTarget
from gptfl.simulation.schedule import recorded_schedule
from gptfl.simulation.simulator import FittedSimulator, open_fitted
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


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> FittedSimulator:
    """A simulator of a law's recording, which no test changes."""
    folder = tmp_path_factory.mktemp("removal") / "law"
    ranked(folder, 2)
    return open_fitted(None, None, folder, None, None)


def of_runs(source: FittedSimulator, runs: Sequence[Run]) -> FittedSimulator:
    recording = source.recording
    return replace(source, recording=replace(recording, dynamics=replace(recording.dynamics, runs=tuple(runs))))


def test_an_average_row_is_worth_its_share_of_what_the_end_of_the_runs_changes(source: FittedSimulator) -> None:
    tests = np.array([0, 3, 5])
    found = average_worth(source, tests)
    assert found is not None
    dynamics = source.recording.dynamics
    slopes = []
    for run in dynamics.runs:
        rates, first = run.curriculum.learning_rates, int(np.flatnonzero(run.steps == found.since)[0])
        change = run.metrics["loss"][-1, tests].mean() - run.metrics["loss"][first, tests].mean()
        slopes.append(-change / rates[found.since :].sum() * rates.sum() / len(dynamics.pool))
    assert found.value == pytest.approx(np.mean(slopes))
    assert found.spread == pytest.approx(np.std(slopes, ddof=1) / np.sqrt(len(slopes)))
    assert found.runs == len(slopes)
    assert WINDOW <= found.share < 0.5


def test_a_single_run_or_repeats_tell_no_worth_and_so_no_removal(source: FittedSimulator) -> None:
    runs = source.recording.dynamics.runs
    mean = InfluenceTarget("mean", np.arange(3))
    assert has_removal(source, mean)
    for few in (runs[:1], [runs[0], replace(runs[1], role=REPEAT)], [runs[0], replace(runs[1], index=NEXT_FROM)]):
        assert average_worth(of_runs(source, few), np.arange(3)) is None
        assert not has_removal(of_runs(source, few), mean)
        with pytest.raises(DataError, match=r"fewer than two runs recorded it, .*: use --how closed-form"):
            removal(of_runs(source, few), mean, None, lambda *_: None)
    with pytest.raises(DataError, match="can't tell --how remove on the examples themselves"):
        removal(source, InfluenceTarget("self", None), None, lambda *_: None)
    assert not has_removal(source, InfluenceTarget("self", None))


def test_a_row_is_seen_as_often_as_the_places_of_a_run_over_the_pool(source: FittedSimulator) -> None:
    recipe = recorded_schedule(source.recording.dynamics, source.metric)
    batches = source.recording.dynamics.runs[0].curriculum.batches
    assert presentations(recipe, 60) == pytest.approx((batches >= 0).sum() / 60)
