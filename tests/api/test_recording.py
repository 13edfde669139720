"""A recording to hold: it answers as the commands do."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import gptfl
from tests.api.held import listed


def test_a_recording_says_what_it_holds(recording: gptfl.Recording) -> None:
    assert recording.runs == len(recording.dynamics.runs) == 24
    assert recording.metrics == ("loss",)
    assert recording.run(3).index == 3
    with pytest.raises(KeyError):
        recording.run(99)
    assert "syn.dynamics.h5" in recording._repr_html_()


def test_comparing_writes_nothing_and_gives_the_commands_table(
    space: Path, recording: gptfl.Recording, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tmp_path = tmp_path_factory.mktemp("saved")
    before = listed(space)
    table = recording.compare(["exposure-gp"], folds=3)
    assert listed(space) - {"compared"} == before  # fits that took long are kept
    known = gptfl.compare(dynamics=recording.path, estimators=["exposure-gp"], folds=3, figure=False)
    for row, other in zip(table.rows, known.rows, strict=True):
        assert row.estimator == other.estimator
        assert {name: value.value for name, value in row.scores.items()} == pytest.approx(
            {name: value.value for name, value in other.scores.items()}, nan_ok=True
        )
    frame = table.to_frame()
    assert list(frame["estimator"]) == [row.estimator for row in known.rows]
    saved = pd.read_csv(gptfl.save(table, tmp_path / "table.csv"))
    assert list(saved.columns) == list(frame.columns)
    np.testing.assert_allclose(saved["skill_low"], frame["skill_low"])
    assert {"mse_std", "skill_high", "oracle"} < set(frame.columns)
    assert "<pre" in table._repr_html_()
