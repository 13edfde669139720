import json

import numpy as np
import pytest

from gptfl.api.compare import compare
from gptfl.api.sweep import sweep
from gptfl.errors import DataError, UsageError


def test_each_point_is_a_comparison_of_its_own(space):
    found = sweep({"strength": [0.5, 2.0]}, estimator="class-share", workspace=space, folds=3, figure=False)
    assert [point.values for point in found.points] == [{"strength": 0.5}, {"strength": 2.0}]
    for point in found.points:
        alone = compare(
            workspace=space,
            estimators=["class-share"],
            settings={"class-share": dict(point.values)},
            folds=3,
            figure=False,
        )
        row = next(row for row in alone.rows if row.estimator.startswith("class-share"))
        assert point.row.scores["mse"].value == row.scores["mse"].value
    values = [point.row.scores["mse"].value for point in found.points]
    assert values[0] != values[1]


@pytest.mark.usefixtures("laid_out")
def test_axes_multiply_and_every_changes_what_is_scored(space, tmp_path):
    table, picture = tmp_path / "sweep.json", tmp_path / "sweep.png"
    found = sweep(
        {"every": [1, 4], "strength": [1.0, 2.0]},
        estimator="class-share",
        workspace=space,
        output=table,
        figure=picture,
    )
    assert [tuple(point.values.values()) for point in found.points] == [(1, 1.0), (1, 2.0), (4, 1.0), (4, 2.0)]
    steps = [point.comparison.held_out.steps.shape[1] for point in found.points]
    assert steps[0] == steps[1] > steps[2] == steps[3]
    written = json.loads(table.read_text())
    assert written["axes"] == {"every": [1, 4], "strength": [1.0, 2.0]}
    np.testing.assert_allclose(
        [point["mse"] for point in written["points"]], [point.row.scores["mse"].value for point in found.points]
    )
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("axes", "more", "words"),
    [
        ({}, {}, "nothing says what to vary"),
        ({"strength": []}, {}, "names no value"),
        ({"strength": [1.0, 1.0]}, {}, "twice"),
        ({"every": [0]}, {}, "every=0"),
        ({"every": [1, 2]}, {"every": 3}, "is both swept and given"),
        ({"encoder": ["synthetic"]}, {"encoder": "synthetic"}, "is both swept and given"),
        ({"strength": [1.0]}, {"settings": {"class-share": {"strength": 1.0}}}, "both swept and set"),
        ({"strength": [-1.0]}, {}, "strength"),
        ({"strength": list(range(1, 300))}, {}, "299 combinations"),
    ],
)
def test_wrong_grids_are_refused_before_any_work(space, axes, more, words):
    with pytest.raises(UsageError, match=words):
        sweep(axes, estimator="class-share", workspace=space, figure=False, **more)


def test_an_encoder_without_features_is_refused(space):
    with pytest.raises(DataError, match="no features of syn by the encoder 'minilm'"):
        sweep({"encoder": ["synthetic", "minilm"]}, estimator="class-share", workspace=space, figure=False)
