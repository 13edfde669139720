"""Influence as if a row were not there, and its verdicts, on recordings whose rows have a known worth."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import gptfl
from gptfl.core import REPEAT, Run
from gptfl.core.runs import thinned
from gptfl.designs.draws import NEXT_FROM
from gptfl.errors import DataError
from gptfl.influence.ranking import Ranking
from gptfl.influence.removal import BEFORE, WINDOW, average_worth, has_removal, presentations, removal, slope_at_end
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
    inside = []
    for seed in range(3):
        ranking, truth = ranked(tmp_path / str(seed), seed, runs=100)
        assert np.corrcoef(ranking.influence, truth)[0, 1] > 0.85
        verdicts = ranking.verdicts
        assert verdicts.decided.mean() > 0.95
        assert (verdicts.sign == np.sign(truth))[verdicts.decided].mean() > 0.95
        # Errors of one ranking have much in common.
        inside.append(((ranking.low <= truth) & (truth <= ranking.high)).mean())
    assert np.mean(inside) > 0.8


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


def loop_slopes(source: FittedSimulator, tests: np.ndarray, steps: Sequence[int]) -> np.ndarray:
    """By plain loops: the mean's slope in each run between these steps, the last interval first."""
    found = []
    for run in source.recording.dynamics.runs:
        rates, curve = run.curriculum.learning_rates, run.metrics["loss"][:, tests].mean(axis=1)
        at = [int(np.flatnonzero(run.steps == step)[0]) for step in steps]
        pairs = list(pairwise(zip(at, steps, strict=True)))
        found.append([(curve[j] - curve[i]) / rates[start:end].sum() for (i, start), (j, end) in reversed(pairs)])
    return np.array(found)


def test_an_average_row_is_worth_its_share_of_the_slope_at_the_end_of_the_runs(source: FittedSimulator) -> None:
    tests = np.array([0, 3, 5])
    found = average_worth(source, tests)
    assert found is not None
    assert found.before is not None
    rates = source.recording.dynamics.runs[0].curriculum.learning_rates
    steps = (found.before, found.since, len(rates))
    slopes = loop_slopes(source, tests, steps)
    lengths = np.array([rates[found.since :].sum(), rates[found.before : found.since].sum()])
    unit = -rates.sum() / len(source.recording.dynamics.pool)
    count = len(slopes)
    each = [slope_at_end(np.delete(slopes, i, axis=0).mean(axis=0), lengths) for i in range(count)]
    assert found.value == pytest.approx(slope_at_end(slopes.mean(axis=0), lengths) * unit)
    assert found.sampled == pytest.approx(np.sqrt(count - 1) * np.std(each) * -unit)
    assert (found.secant, found.earlier) == pytest.approx(tuple(slopes.mean(axis=0) * unit))
    assert found.bent == pytest.approx(abs(found.value - found.secant))
    assert found.spread == pytest.approx(np.hypot(found.sampled, found.bent))
    assert found.runs == count
    assert WINDOW <= found.share < 0.5
    assert lengths[1] >= BEFORE * WINDOW * rates.sum()
    assert f"{found.share:.0%} of the step sizes taken after step {found.since}" in found.source
    assert f"{found.earlier:+.3g} before, from step {found.before}" in found.source


@pytest.mark.parametrize("decay", [0.5, 3.0, 8.0])
@pytest.mark.parametrize("lengths", [(0.1, 0.2), (0.3, 0.3), (0.3, 0.1)])
def test_a_decay_is_carried_on_to_its_end(decay: float, lengths: tuple[float, float]) -> None:
    """Of exp(-k x), whose slope at 1 is -k exp(-k)."""
    curve = np.exp(-decay * (1.0 - np.array([sum(lengths), lengths[0], 0.0])))
    slopes = np.diff(curve)[::-1] / np.array(lengths)
    found, true = slope_at_end(slopes, np.array(lengths)), -decay * np.exp(-decay)
    assert found == pytest.approx(true, rel=(decay * sum(lengths)) ** 2 / 12)
    assert abs(found - true) < 0.4 * abs(slopes[0] - true)


def test_a_slope_keeps_its_sign_and_grows_no_more_than_a_straight_line() -> None:
    lengths = np.array([1.0, 2.0])
    assert slope_at_end(np.array([-1.0]), lengths[:1]) == -0.5
    assert slope_at_end(np.array([0.0, -5.0]), lengths) == 0.0
    assert slope_at_end(np.array([-2.0, -2.0]), lengths) == -2.0
    assert slope_at_end(np.array([-2.0, -1.0]), lengths) == pytest.approx(-2.0 - 1 / 3)
    # Where it turned, nothing is carried over from before.
    assert slope_at_end(np.array([0.3, -100.0]), lengths) == pytest.approx(0.4)
    for last in (-1.0, -0.01, 0.01, 1.0):
        for earlier in (-100.0, -1.0, 0.0, 1.0, 100.0):
            found = slope_at_end(np.array([last, earlier]), lengths)
            assert found == 0.0 or np.sign(found) == np.sign(last)
            assert abs(found) <= 4 / 3 * abs(last) + 1e-12


@pytest.mark.parametrize("decay", [2.0, 6.0])
def test_what_is_recorded_rarely_agrees_with_all_of_it_within_its_spread(source: FittedSimulator, decay: float) -> None:
    """Runs that fall fast and flatten: the mean slope of the last interval is far too steep where it is long."""
    random, made = np.random.default_rng(5), []
    for run in source.recording.dynamics.runs:
        rates = run.curriculum.learning_rates
        passed = np.append(0.0, np.cumsum(rates)) / rates.sum()
        curve = 2.0 * np.exp(-decay * passed) + 0.005 * random.normal(size=len(passed))
        made.append(replace(run, steps=np.arange(len(passed)), metrics={"loss": np.tile(curve[:, None], 12)}))
    tests, true = np.arange(12), 2.0 * decay * np.exp(-decay) / len(source.recording.dynamics.pool)
    dense = average_worth(of_runs(source, made), tests)
    assert dense is not None
    assert dense.value == pytest.approx(true, abs=2 * dense.spread)
    for every in (5, 10):
        found = average_worth(of_runs(source, [thinned(run, every) for run in made]), tests)
        assert found is not None
        assert abs(found.value - dense.value) < found.spread
        assert abs(found.value - true) < 0.5 * abs(found.secant - true)


def test_where_only_first_and_last_are_recorded_the_slope_may_be_anything_between_0_and_theirs(
    source: FittedSimulator,
) -> None:
    found = average_worth(of_runs(source, [thinned(run, 100) for run in source.recording.dynamics.runs]), np.arange(3))
    assert found is not None
    assert (found.since, found.share, found.before, found.earlier) == (0, 1.0, None, None)
    assert found.value == pytest.approx(found.secant / 2)
    assert found.spread == pytest.approx(np.hypot(found.sampled, found.secant / 2))
    assert "before which nothing was recorded" in found.source


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
