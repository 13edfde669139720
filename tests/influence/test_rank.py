"""The order of the pool by one or several simulators."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import gptfl
from gptfl.errors import DataError, UsageError
from gptfl.influence.rank import InfluenceRequest, open_sources, rank_by, suspicion
from gptfl.influence.ranking import Ranking
from gptfl.influence.targets import InfluenceTarget
from gptfl.options.common import InputOptions
from gptfl.options.influence import InfluenceOptions
from gptfl.simulation.simulator import open_fitted
from gptfl.store.simulators import read_simulator, write_simulator
from tests.ranked import (
    DYNAMICS,
    FLIPPED,
    POOL,
    TEST,
    write,
)


def test_ties_stay_in_the_pools_order(ranked_space) -> None:
    gptfl.fit("mean-run", workspace=ranked_space)
    result = gptfl.rank(workspace=ranked_space)
    assert result.rankings[0].order == list(range(POOL))
    assert np.ptp(result.rankings[0].influence) == 0
    assert any("tells no example from another" in note for note in result.notes)


def test_a_metric_to_be_high_turns_the_sign(tmp_path, tellers) -> None:
    gained = replace(DYNAMICS, metrics={"loss": replace(DYNAMICS.metrics["loss"], higher_is_better=True)})
    signs = []
    for name, dynamics in (("low", DYNAMICS), ("high", gained)):
        folder = tmp_path / name
        folder.mkdir()
        write(folder, dynamics)
        gptfl.fit("kin", workspace=folder)
        signs.append(gptfl.rank(workspace=folder).rankings[0].influence)
    np.testing.assert_allclose(signs[0], -signs[1])


def test_two_simulators_of_one_estimator_keep_apart(ranked_space) -> None:
    made = [gptfl.fit("gptfluence", workspace=ranked_space, settings={"epochs": epochs}) for epochs in (1, 2)]
    result = gptfl.rank([one.path for one in made], workspace=ranked_space)
    assert [one.label for one in result.rankings] == [one.path.name.removesuffix(".simulator.h5") for one in made]


def test_simulators_of_two_recordings_or_metrics_are_not_mixed(ranked_space, tmp_path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write(other, FLIPPED)
    paths = [gptfl.fit("kin", workspace=folder).path for folder in (ranked_space, other)]
    with pytest.raises(DataError, match="was fitted to other examples than"):
        gptfl.rank(paths)
    found = read_simulator(paths[0])
    write_simulator(
        ranked_space / "syn.kin.gain.simulator.h5", replace(found, metric=replace(found.metric, name="gain"))
    )
    with pytest.raises(UsageError, match="is a simulator of gain, not loss"):
        gptfl.rank([paths[0], ranked_space / "syn.kin.gain.simulator.h5"])


def test_what_is_checked_first_has_most_suspicion() -> None:
    ranking = Ranking("a", "a", "drop", np.array([1.0, -2.0]), 4, Path("x"))
    assert suspicion(ranking, InfluenceTarget("self", None)).tolist() == [1.0, -2.0]
    assert suspicion(ranking, InfluenceTarget("mean", np.arange(3))).tolist() == [-1.0, 2.0]


def test_without_a_word_zero_is_as_if_a_row_were_not_there_where_that_can_be_told(ranked_space) -> None:
    subject = InfluenceTarget("mean", np.arange(TEST))
    asked = InfluenceRequest(subject, None, None, None, 1, 5)
    for name, how in (("bayes", "remove"), ("kin", None)):
        gptfl.fit(name, workspace=ranked_space)
        source = open_fitted(None, None, ranked_space, name, None)
        assert asked.how_of(source) is None
        assert replace(asked, absent=True).how_of(source) == how
        assert replace(asked, absent=True, how="drop").how_of(source) == "drop"


def test_simulators_are_named_or_the_one_made_last_and_their_recording_is_read_once(ranked_space) -> None:
    paths = [gptfl.fit(name, workspace=ranked_space).path for name in ("kin", "bayes")]
    inputs = InputOptions(workspace=ranked_space)
    assert [one.path for one in open_sources(InfluenceOptions(), inputs)] == [paths[1]]
    both = open_sources(InfluenceOptions(simulators=(paths[0],), estimators=("bayes",)), inputs)
    assert [one.path for one in both] == paths
    assert both[0].recording.dynamics is both[1].recording.dynamics
    request = InfluenceRequest(InfluenceTarget("mean", np.arange(TEST)), "drop", None, None, 1, 5)
    found = rank_by(both, request, lambda *_: None)
    assert [one.label for one in found.rankings] == ["kin", "bayes"]
    assert found.flipped is None
    assert found.detections == {}
    assert len(set(found.notes)) == len(found.notes)
