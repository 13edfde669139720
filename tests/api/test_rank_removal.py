"""Ranking as if a row were not there: influence, verdicts on it, and what can't be answered so."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import gptfl
from gptfl.errors import DataError, UsageError
from gptfl.influence.removal import average_worth, has_removal, removal, slope_at_end
from gptfl.influence.targets import InfluenceTarget
from gptfl.simulation.simulator import open_fitted
from tests.ranked import DYNAMICS, IDS, POOL, TEST, TESTS, use_kin, write


@pytest.fixture(autouse=True)
def registry():
    with use_kin():
        yield


@pytest.fixture
def space(tmp_path: Path) -> Path:
    return write(tmp_path)


def test_zero_is_as_if_the_row_were_not_there(space) -> None:
    """Every row's share of a run beside what the average one is worth, which the end of the runs tells."""
    gptfl.fit("bayes", workspace=space)
    once = gptfl.rank(workspace=space, on=TESTS[1:4], how="closed-form").rankings[0]
    result = gptfl.rank(workspace=space, on=TESTS[1:4], fdr=0.2)
    ranking = result.rankings[0]
    assert (ranking.how, ranking.step) == ("remove", 8)
    run = DYNAMICS.runs[0]
    rates, steps = run.curriculum.learning_rates, list(run.steps)
    total = rates.sum()
    since = max(step for step in steps[:-1] if rates[step:].sum() >= 0.1 * total)
    before = max(step for step in steps[:-1] if rates[step:since].sum() >= 0.2 * total)
    slopes = []
    for one in DYNAMICS.runs:
        first, last, end = (one.metrics["loss"][steps.index(step), 1:4].mean() for step in (before, since, 8))
        slopes.append(((last - end) / rates[since:].sum(), (first - last) / rates[before:since].sum()))
    lengths = np.array([rates[since:].sum(), rates[before:since].sum()])
    ends = [slope_at_end(np.delete(slopes, i, axis=0).mean(axis=0), lengths) for i in range(len(slopes))]
    slope, secant = slope_at_end(np.mean(slopes, axis=0), lengths), np.mean(slopes, axis=0)[0]
    error = np.hypot(np.sqrt(len(slopes) - 1) * np.std(ends), slope - secant) * total / POOL
    worth = slope * total / POOL
    times = run.curriculum.batches.size / POOL
    np.testing.assert_allclose(ranking.influence, times * once.influence + worth)
    spread = np.hypot(times * (once.high - once.low), 2 * 1.6448536 * error)
    np.testing.assert_allclose(ranking.high - ranking.low, spread)
    assert "than as if it were not there" in ranking.meaning
    assert "loss at step 8 is so much lower" in ranking.meaning
    assert ranking.verdicts is not None
    assert ranking.verdicts.fdr == 0.2
    assert ranking.order == once.order
    note = next(one for one in result.notes if one.startswith("an average row's share"))
    assert f"worth {worth:+.3g}" in note


def test_what_the_recording_does_not_tell_of_removing_is_left_to_other_ways(space, tmp_path) -> None:
    assert "replace" in gptfl.rank(workspace=_fitted(space, "kin")).rankings[0].how
    with pytest.raises(DataError, match="kin can't tell --how remove without an influence_of: use --how drop"):
        gptfl.rank(workspace=space, how="remove")
    gptfl.fit("bayes", workspace=space)
    with pytest.raises(DataError, match="bayes can't tell --how remove on the examples themselves"):
        gptfl.rank(workspace=space, on="self", how="remove")
    short = [replace(run, steps=run.steps[:-1], metrics={"loss": run.metrics["loss"][:-1]}) for run in DYNAMICS.runs]
    alone = replace(DYNAMICS, runs=(DYNAMICS.runs[0], *short[1:]))
    source = open_fitted(None, None, space, None, None)
    lone = replace(source, recording=replace(source.recording, dynamics=alone))
    assert average_worth(lone, np.arange(TEST)) is not None  # most runs end earlier, and tell of that end
    single = replace(source, recording=replace(source.recording, dynamics=replace(DYNAMICS, runs=DYNAMICS.runs[:1])))
    assert average_worth(single, np.arange(TEST)) is None
    assert not has_removal(single, InfluenceTarget("mean", np.arange(TEST)))
    with pytest.raises(DataError, match="doesn't tell what the end of a run does: fewer than two runs"):
        removal(single, InfluenceTarget("mean", np.arange(TEST)), None, lambda *_: None)


def _fitted(space: Path, name: str) -> Path:
    gptfl.fit(name, workspace=space)
    return space


def test_rows_of_one_verdict_alone(space) -> None:
    gptfl.fit("bayes", workspace=space)
    verdicts = gptfl.rank(workspace=space).rankings[0].verdicts
    assert verdicts.count("harmful") > 0
    gptfl.rank(workspace=space, only="harmful", output=space / "harmful.csv")
    harmful = [line.split(",")[2] for line in (space / "harmful.csv").read_text().splitlines()[1:]]
    assert sorted(harmful) == sorted(IDS[place] for place in range(POOL) if verdicts.of(place) == "harmful")
    gptfl.simulate(workspace=space, drop=space / "harmful.csv")
    with pytest.raises(UsageError, match="only 'bad' is unknown"):
        gptfl.rank(workspace=space, only="bad")
    gptfl.fit("kin", workspace=space)
    with pytest.raises(DataError, match="--only harmful: kin has no verdicts"):
        gptfl.rank(workspace=space, only="harmful", orders=1)
