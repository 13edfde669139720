import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from gptfl.api.learning_curve import groups_of, learning_curve
from gptfl.api.sweep import sweep
from gptfl.core import REPEAT, FeatureSet
from gptfl.errors import DataError, UsageError
from gptfl.report.learning_curve import runs_csv, runs_table
from gptfl.store.features import read_features, write_features
from gptfl.store.recordings import read_dynamics, write_dynamics
from gptfl.testing import make_dynamics


def skills(found, label):
    return [row.scores["skill"].value for point in found.points for row in point.rows if row.estimator == label]


def test_skill_is_against_the_mean_of_all_runs_that_may_be_fitted_to(space):
    found = learning_curve([2, 5, 20], estimators=["recall"], workspace=space, held_out=4, figure=False)
    runs = read_dynamics(space / "syn.dynamics.h5").runs
    values = np.stack([run.metrics["loss"].astype(np.float64) for run in runs])
    recorded = values[20:, 1:]

    def error(count):
        return ((values[:count, 1:].mean(axis=0) - recorded) ** 2).sum()

    np.testing.assert_allclose(skills(found, "mean-run"), [1 - error(n) / error(20) for n in (2, 5, 20)], atol=1e-6)
    assert found.held_out == ("run-0020", "run-0021", "run-0022", "run-0023")
    assert found.fittable == 20
    assert found.estimators == ("recall",)


def test_without_a_number_the_test_runs_are_held_out_and_repeats_never(space):
    path = space / "syn.dynamics.h5"
    dynamics = read_dynamics(path)
    runs = [replace(run, role=REPEAT) if run.index == 23 else run for run in dynamics.runs]
    write_dynamics(path, replace(dynamics, runs=tuple(runs)))
    found = learning_curve([2], estimators=["recall"], workspace=space, figure=False)
    assert found.held_out == ("run-0003", "run-0009", "run-0015", "run-0021")
    assert found.fittable == 24 - 4 - 1
    last = learning_curve([2], estimators=["recall"], workspace=space, held_out=2, figure=False)
    assert last.held_out == ("run-0021", "run-0022")


def test_groups_are_disjoint_and_their_scores_averaged(space):
    once = learning_curve([3], estimators=["class-share"], workspace=space, held_out=4, figure=False)
    found = learning_curve([3, 8, 20], estimators=["class-share"], workspace=space, held_out=4, draws=3, figure=False)
    assert [point.groups for point in found.points] == [3, 2, 1]
    runs = list(range(20))
    assert groups_of(runs, 3, 3) == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert groups_of(runs, 8, 3) == [list(range(8)), list(range(8, 16))]
    assert any("3 of 3, 2 of 8, 1 of 20" in note for note in found.notes)
    (first,), (mean, *_) = skills(once, "class-share"), skills(found, "class-share")
    assert first != mean
    row = next(row for row in found.points[0].rows if row.estimator == "class-share")
    assert row.scores["skill"].interval is None
    assert row.scores["skill"].std > 0


def test_an_estimator_that_fails_is_reported_and_the_others_go_on(space):
    found = learning_curve([2, 3], estimators=["refusing", "recall"], workspace=space, held_out=4, figure=False)
    assert all(row.error for point in found.points for row in point.rows if row.name == "refusing")
    assert len(skills(found, "recall")) == 2
    assert runs_table(found).row_count == 2 * 4


def fitting(gradients, dynamics):
    """Products of a recording's shape."""
    shape = (len(gradients.steps), len(dynamics.pool), len(dynamics.test))
    return replace(
        gradients,
        raw=np.resize(gradients.raw, shape),
        preconditioned=np.resize(gradients.preconditioned, shape),
        self_raw=np.resize(gradients.self_raw, shape[:2]),
        self_preconditioned=np.resize(gradients.self_preconditioned, shape[:2]),
    )


@pytest.mark.usefixtures("laid_out")
def test_the_cost_is_that_of_the_runs_and_of_the_gradients(space, tmp_path):
    plain = learning_curve([2], estimators=["exposure-gp"], workspace=space, figure=tmp_path / "a.png")
    assert plain.run_seconds is None
    assert "syn.dynamics.h5 doesn't tell how long its runs took: no panel over the cost" in plain.notes
    path, vectors = space / "syn.dynamics.h5", space / "syn.synthetic.features.h5"
    dynamics, features = read_dynamics(path), read_features(vectors)
    timed = [replace(run, seconds=10.0 if run.index < 12 else 20.0) for run in dynamics.runs]
    write_dynamics(path, replace(dynamics, runs=tuple(timed)))
    sets = {name: FeatureSet(one.train, one.test, "gradient") for name, one in features.sets.items()}
    write_features(vectors, replace(features, sets=sets))
    unknown = learning_curve([2], estimators=["exposure-gp", "recall"], workspace=space, figure=False)
    assert unknown.notes[-1].startswith("what the gradients of exposure-gp took isn't known")
    write_features(vectors, replace(features, sets=sets, seconds=100.0))
    exact = make_dynamics(gradients=True).gradients
    write_dynamics(path, replace(dynamics, runs=tuple(timed), gradients=fitting(exact, dynamics)))
    beside = learning_curve([2], estimators=["exposure-gp", "recall"], workspace=space, figure=False)
    assert beside.notes[-1].startswith("what the gradients of exposure-gp took isn't known")
    write_dynamics(path, replace(dynamics, runs=tuple(timed)))
    output = tmp_path / "runs.json"
    for _ in range(2):  # what it wrote itself may be overwritten
        found = learning_curve(
            [2, 4],
            estimators=["exposure-gp", "recall"],
            workspace=space,
            output=output,
            figure=tmp_path / "b.png",
        )
    assert found.run_seconds == 15.0
    assert [found.cost(point, "exposure-gp") for point in found.points] == [130.0, 160.0]
    assert [found.cost(point, "recall") for point in found.points] == [30.0, 60.0]
    written = json.loads(output.read_text())
    assert written["axes"] == {"runs": [2, 4]}
    costs = {(one["estimator"], one["runs"]): one["recording_seconds"] for one in written["points"]}
    assert costs["exposure-gp", 4] == 160.0
    assert [row["runs"] for row in csv.DictReader(runs_csv(found).splitlines())][:2] == ["2", "4"]
    one, two = ((tmp_path / name).read_bytes() for name in ("a.png", "b.png"))
    heights = [int.from_bytes(data[20:24]) for data in (one, two)]
    assert heights[1] > 1.5 * heights[0]  # a second line of panels


@pytest.mark.parametrize(
    ("counts", "options", "words"),
    [
        ([], {}, "nothing says how many runs"),
        ([1], {}, r"^runs=1: give whole numbers of at least 2"),
        ([2.5], {}, "runs=2.5"),
        (["x"], {}, "runs=x"),
        ([True], {}, "runs=True"),
        ([3, 3], {}, "twice"),
        ([2], {"held_out": 0}, "held_out is 0"),
        ([2], {"held_out": 23}, r"--held-out 23 of 24 usable runs .*give at most 22"),
        ([2], {"draws": 0}, "draws is 0"),
        ([2, 21], {"held_out": 4}, r"^runs=21: only 20 runs .*give at most 20"),
        ([2], {"output": "a.txt"}, "a.txt"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(space, counts, options, words):
    with pytest.raises(UsageError, match=words) as caught:
        learning_curve(counts, estimators=["recall"], workspace=space, figure=False, **options)
    assert "\n" not in str(caught.value)


def test_runs_that_belong_together_are_not_parted(space):
    path = space / "syn.dynamics.h5"
    dynamics = read_dynamics(path)
    write_dynamics(path, replace(dynamics, settings={**dynamics.settings, "design": "leave-out"}))
    with pytest.raises(UsageError, match=r"--held-out 3 parts runs .*a multiple of 2"):
        learning_curve([2], estimators=["recall"], workspace=space, held_out=3, figure=False)


def test_a_recording_without_test_runs_is_reported_what_to_give(space):
    path = space / "syn.dynamics.h5"
    dynamics = read_dynamics(path)
    write_dynamics(path, replace(dynamics, runs=tuple(replace(run, role="fit") for run in dynamics.runs)))
    with pytest.raises(DataError, match="no usable run of the recording is a test run: give --held-out N"):
        learning_curve([2], estimators=["recall"], workspace=space, figure=False)


def test_it_is_no_axis_beside_others(space):
    with pytest.raises(UsageError, match=r"^runs is no setting: use gptfl learning-curve"):
        sweep({"runs": [2], "scale": [1.0]}, estimator="recall", workspace=space, figure=False)
