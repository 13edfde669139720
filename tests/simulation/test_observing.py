"""What ``simulate`` says of how sure it is, and how it goes on from scores that were recorded."""

import json
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

import gptfl
from gptfl.errors import DataError, UsageError
from gptfl.plugins.registry import Registry, build, using
from gptfl.report.simulation_plot import simulation_figure
from gptfl.simulation.caveats import NOVEL, novelty_note
from gptfl.simulation.counterfactual import Counterfactual
from gptfl.simulation.observing import check_observing, with_observed
from gptfl.store.predictions import read_predictions
from gptfl.store.recordings import write_dynamics
from tests import interval_estimator
from tests.synthetic import synthetic

DYNAMICS, _ = synthetic(runs=10)
POOL = [example.id for example in DYNAMICS.pool]
TESTS = [example.id for example in DYNAMICS.test]


def use_sure() -> AbstractContextManager[Registry]:
    return using(build([interval_estimator]))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    write_dynamics(folder / "made.dynamics.h5", DYNAMICS)
    with use_sure():
        gptfl.fit("sure", workspace=folder)
    return folder


@pytest.fixture
def space(made: Path, tmp_path: Path) -> Iterator[Path]:
    with use_sure():
        yield Path(shutil.copytree(made, tmp_path, dirs_exist_ok=True))


def observed(space: Path, *lines: dict) -> Path:
    path = space / "observed.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n")
    return path


def test_intervals_and_novelty_are_kept(space: Path) -> None:
    result = gptfl.simulate(workspace=space, subset=POOL[:8], orders=3)
    stored = read_predictions(result.predictions)
    assert set(stored.intervals) == set(result.intervals) == {0.5, 0.9}
    for level, (low, high) in stored.intervals.items():
        np.testing.assert_allclose(result.intervals[level][0], low[:, -1].mean(axis=0))
        np.testing.assert_allclose(result.intervals[level][1], high[:, -1].mean(axis=0))
    np.testing.assert_array_equal(stored.novelty, [0.25] * 3)
    np.testing.assert_array_equal(result.novelty, [0.25] * 3)
    assert not any("far from" in note for note in result.notes)
    gptfl.fit("unsure", workspace=space)
    plain = gptfl.simulate(workspace=space, estimator="unsure", subset=POOL[:8])
    assert (plain.intervals, plain.novelty) == ({}, None)
    assert read_predictions(plain.predictions).novelty is None


def test_a_far_question_is_said_to_be_one(space: Path) -> None:
    gptfl.fit("sure", workspace=space, settings={"novelty": 0.93})
    notes = gptfl.simulate(workspace=space, subset=POOL[:8]).notes
    expected = (
        "this lies far from what was recorded: 93% of what these examples may do is left open by the recorded runs"
    )
    assert any(note.startswith(expected) for note in notes)
    assert novelty_note(None) == novelty_note(np.array([NOVEL, 0.1])) == ()
    assert novelty_note(np.array([0.1, 0.9]))[0].startswith("1 of 2 curricula lie")


def test_the_picture_shades_the_90_percent_interval(space: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.axes import Axes

    shaded = []
    fill = Axes.fill_between

    def spy(self, x, low, high, **given):
        shaded.append((given["label"], np.asarray(low), np.asarray(high)))
        return fill(self, x, low, high, **given)

    monkeypatch.setattr(Axes, "fill_between", spy)
    values = np.arange(24.0).reshape(2, 3, 4)
    intervals = {level: (values - level, values + level) for level in (0.5, 0.9)}
    simulation_figure(
        steps=np.arange(3), values=values, intervals=intervals, reference=values[0], recorded=None,
        shown=[("a", 1, "helped")], title="t", against="b", metric=DYNAMICS.metrics["loss"],
    )  # fmt: skip
    (spread, interval) = shaded
    assert spread[0].startswith("spread over 2 curricula")
    assert interval[0] == "90% interval of a run"
    np.testing.assert_allclose(interval[1], values[:, :, 1].mean(axis=0) - 0.9)
    np.testing.assert_allclose(interval[2], values[:, :, 1].mean(axis=0) + 0.9)


def test_a_prediction_goes_on_from_what_was_observed(space: Path) -> None:
    plain = gptfl.simulate(workspace=space, subset=POOL[:8])
    first = float(DYNAMICS.runs[0].metrics["loss"][0, 2]) + 0.5
    path = observed(
        space,
        {"step": 3, "id": TESTS[1], "value": float(plain.values[0, 1, 1]) + 0.25},
        {"step": 0, "id": TESTS[2], "value": first},
    )
    result = gptfl.simulate(workspace=space, subset=POOL[:8], observe=path)
    expected = plain.values[0].copy()
    expected[1:, 1] += 0.25
    expected[0, 2] = first
    np.testing.assert_allclose(result.values[0], expected)
    assert any("goes on from 2 recorded scores of 2 test examples up to step 3" in note for note in result.notes)
    assert result.predictions != plain.predictions
    assert read_predictions(result.predictions).settings["observe"] == str(path)


def test_of_several_curricula_nothing_can_be_observed(space: Path) -> None:
    path = observed(space, {"step": 3, "id": TESTS[1], "value": 1})
    with pytest.raises(UsageError, match=r"observed.jsonl is of one run, and 8 examples are 2 curricula: name"):
        gptfl.simulate(workspace=space, subset=POOL[:8], orders=2, observe=path)
    with pytest.raises(UsageError, match=r"is of one run, and 2 held-out runs are 2 curricula"):
        gptfl.simulate(workspace=space, observe=path)


def test_an_estimator_that_does_not_go_on_is_reported_of_one_that_does(space: Path) -> None:
    gptfl.fit("unsure", workspace=space)
    path = observed(space, {"step": 3, "id": TESTS[1], "value": 1})
    with pytest.raises(DataError, match=r"unsure doesn't go on from what was recorded of a run: leave it out, .*sure"):
        gptfl.simulate(workspace=space, estimator="unsure", subset=POOL[:8], observe=path)


GOOD = {"step": 3, "id": TESTS[1], "value": 1.5}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"id": TESTS[1], "value": 1}, '"step" is missing, no whole number'),
        ({"step": 3.0, "id": TESTS[1], "value": 1}, '"step" is 3.0, no whole number'),
        ({"step": True, "id": TESTS[1], "value": 1}, '"step" is True'),
        ({"step": 3, "id": TESTS[1]}, '"value" is missing, no number'),
        ({"step": 3, "id": TESTS[1], "value": "1"}, '"value" is "1", no number'),
        ({"step": 3, "id": TESTS[1], "value": True}, '"value" is True, no number'),
        ({"step": 3, "id": TESTS[1], "value": 10**301}, '"value" is 1000'),
        ({"step": 3, "value": 1}, '"id" is missing, no id'),
        ({"step": 3, "id": "nobody", "value": 1}, "'nobody' is not an id of the test set of 8"),
        ({"step": 4, "id": TESTS[1], "value": 1}, "step 4 is not predicted at: give scores at steps 0, 3, 6, 9"),
        (GOOD, f"'{TESTS[1]}' at step 3 was there before"),
    ],
)
def test_what_is_no_score_is_refused_with_its_place(space: Path, line: dict, message: str) -> None:
    path = observed(space, GOOD, line)
    with pytest.raises(DataError, match=r"observed.jsonl, line 2: ") as caught:
        gptfl.simulate(workspace=space, subset=POOL[:8], observe=path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_score_after_the_start_is_nothing_to_go_on_from(space: Path) -> None:
    with pytest.raises(DataError, match=r"observed.jsonl holds no score after step 0: write one a line"):
        gptfl.simulate(
            workspace=space, subset=POOL[:8], observe=observed(space, {"step": 0, "id": TESTS[1], "value": 1})
        )
    with pytest.raises(DataError, match=r"nowhere.jsonl does not exist"):
        gptfl.simulate(workspace=space, subset=POOL[:8], observe=space / "nowhere.jsonl")


def test_scores_stand_at_their_step_and_test_example(source_of, tmp_path: Path) -> None:
    source = source_of("mean-run")
    asked = Counterfactual(subset=("train-0", "train-1")).request(source, 0)
    lines = [(4, "test-3", -1.5), (0, "test-1", 9), (2, "test-0", 0.0)]
    path = tmp_path / "größe.jsonl"
    path.write_text("".join(f'{{"step": {step}, "id": "{id}", "value": {value}}}\n' for step, id, value in lines))
    found = with_observed(source, asked, path)
    expected = np.full((1, len(asked.query.steps), 5), np.nan)
    expected[0, 2, 3], expected[0, 1, 0] = -1.5, 0.0
    np.testing.assert_array_equal(found.query.observed, expected)
    first = asked.query.first.copy()
    first[0, 1] = 9
    np.testing.assert_array_equal(found.query.first, first)
    assert found.notes[-1] == "goes on from 3 recorded scores of 3 test examples up to step 4"
    with pytest.raises(DataError, match=r"größe\.jsonl: mean-run doesn't go on from what was recorded of a run"):
        check_observing(source, path)
