"""The order of the pool by one or several simulators."""

from dataclasses import replace

import numpy as np
import pytest

import gptfl
from gptfl.errors import DataError, UsageError
from gptfl.store.simulators import read_simulator, write_simulator
from tests.ranked import (
    DYNAMICS,
    FLIPPED,
    POOL,
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
