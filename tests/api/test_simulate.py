import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gptfl
from gptfl.core import MetricInfo
from gptfl.errors import DataError, UsageError
from gptfl.recording.inspect import inspect
from gptfl.report import simulation
from gptfl.simulation.outcome import most_changed, spread_of
from gptfl.store.features import write_features
from gptfl.store.predictions import read_predictions
from gptfl.store.recordings import write_dynamics
from gptfl.store.simulators import read_simulator, write_simulator
from gptfl.store.workspace import Workspace
from tests.synthetic import synthetic

DYNAMICS, FEATURES = synthetic(runs=10)
POOL = [example.id for example in DYNAMICS.pool]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workspace")
    write_dynamics(folder / "made.dynamics.h5", DYNAMICS)
    write_features(folder / "made.synthetic.features.h5", FEATURES)
    gptfl.fit("mean-run", workspace=folder)
    gptfl.fit("gptfluence", workspace=folder, settings={"epochs": 40})
    return folder


@pytest.mark.usefixtures("laid_out")
def test_the_held_out_runs_are_simulated_by_the_simulator_made_last(made: Path) -> None:
    result = gptfl.simulate(workspace=made)
    tested = DYNAMICS.with_role("test")
    assert result.estimator == "gptfluence"
    assert any("the simulator made last" in note for note in result.notes)
    assert result.labels == tuple(run.name for run in tested)
    recorded = np.stack([run.metrics["loss"] for run in tested])
    assert np.array_equal(result.values[:, 0], recorded[:, 0])
    learned = (*DYNAMICS.with_role("fit"), *DYNAMICS.with_role("validation"))
    mean = np.mean([run.metrics["loss"] for run in learned], axis=0)
    np.testing.assert_allclose(result.reference.values, mean)
    np.testing.assert_allclose(result.final, result.values[:, -1].mean(axis=0))
    np.testing.assert_allclose(result.change, result.final - mean[-1])
    np.testing.assert_allclose(result.spread, result.values[:, -1].std(axis=0, ddof=1))
    assert result.mean_change == pytest.approx(result.mean_final - result.mean_reference)
    stored = read_predictions(result.predictions)
    assert np.array_equal(stored.values, result.values)
    assert stored.simulator == read_simulator(result.simulator).key
    assert result.figure.read_bytes()[:4] == b"\x89PNG"


def test_held_out_runs_come_with_what_was_recorded_and_the_skill(made: Path) -> None:
    result = gptfl.simulate(workspace=made)
    tested = DYNAMICS.with_role("test")
    truth = np.stack([run.metrics["loss"] for run in tested])
    assert result.recorded is not None
    np.testing.assert_allclose(result.recorded, truth[:, -1].mean(axis=0))
    assert result.mean_recorded == pytest.approx(truth[:, -1].mean())
    for change in (*result.helped, *result.hurt):
        assert change.recorded == result.recorded[result.tests.index(change.id)]
    learned = (*DYNAMICS.with_role("fit"), *DYNAMICS.with_role("validation"))
    mean = np.mean([run.metrics["loss"] for run in learned], axis=0)
    left = ((result.values - truth)[:, 1:] ** 2).sum()
    assert result.skill == pytest.approx(1 - left / ((mean - truth)[:, 1:] ** 2).sum())
    assert not any(note.startswith("trust") for note in result.notes)
    of_subset = gptfl.simulate(workspace=made, subset=POOL[:8])
    assert (of_subset.recorded, of_subset.mean_recorded, of_subset.skill) == (None, None, result.skill)
    assert of_subset.notes[-1].startswith(f"trust: on the {len(tested)} held-out run")
    assert f"has skill {result.skill:.2f} (" in of_subset.notes[-1]
    assert gptfl.simulate(workspace=made, estimator="mean-run").skill == pytest.approx(0, abs=1e-12)


def test_without_held_out_runs_there_is_no_skill(tmp_path: Path) -> None:
    runs = tuple(replace(run, role="fit") if run.role == "test" else run for run in DYNAMICS.runs)
    write_dynamics(tmp_path / "made.dynamics.h5", replace(DYNAMICS, runs=runs))
    gptfl.fit("mean-run", workspace=tmp_path)
    result = gptfl.simulate(workspace=tmp_path, subset=POOL[:8])
    assert result.skill is None
    assert result.notes[-1].startswith(
        "trust: not known, for the recording has no held-out run; gptfl compare --folds K"
    )


def test_other_questions_get_other_files_and_the_same_one_its_own(made: Path, tmp_path: Path) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text("\n".join(POOL[:4]))
    questions = [
        {},
        {"against": POOL[:4]},
        {"subset": ids},
        {"subset": POOL[:5]},
        {"drop": ids},
        {"subset": ids, "orders": 2},
        {"subset": ids, "steps": 5},
        {"subset": ids, "lr": 0.5},
        {"subset": ids, "against": POOL[:5]},
    ]
    names = [gptfl.simulate(workspace=made, **question).predictions.name for question in questions]
    assert len(set(names)) == len(names)
    assert names[0] == "made.gptfluence.loss.predictions.h5"
    assert gptfl.simulate(workspace=made, subset=POOL[:4]).predictions.name == names[2]
    found = Workspace(made).candidates("predictions", estimator="gptfluence", metric="loss")
    assert set(names) <= {path.name for path in found}


@pytest.mark.usefixtures("laid_out")
def test_a_subset_in_several_orders(made: Path, tmp_path: Path) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text("\n".join(POOL[:8]))
    where = {"output": tmp_path / "out.predictions.h5", "figure": tmp_path / "out.pdf"}
    result = gptfl.simulate(workspace=made, subset=ids, orders=3, **where)
    assert (result.what, result.labels) == ("8 examples", ("order 1", "order 2", "order 3"))
    assert result.predictions == where["output"]
    assert result.figure.read_bytes()[:4] == b"%PDF"
    assert np.isfinite(result.mean_spread)
    again = gptfl.simulate(workspace=made, subset=POOL[:8], **where)
    # One order alone is a product of another shape than three at once, so float32 rounds otherwise.
    np.testing.assert_allclose(again.values[0], result.values[0], rtol=1e-5)
    assert np.isnan(again.spread).all()
    assert set(read_predictions(where["output"]).batches.ravel()) == set(range(8))
    first = np.mean([run.metrics["loss"][0] for run in DYNAMICS.runs], axis=0)
    np.testing.assert_allclose(again.values[0, 0], first)


def test_a_drop_trains_on_the_rest_and_says_what_that_means(made: Path) -> None:
    result = gptfl.simulate(workspace=made, drop=POOL[:2], lr=0.5)
    assert set(read_predictions(result.predictions).batches.ravel()) == set(range(2, len(POOL)))
    assert any("extrapolation" in note for note in result.notes)
    assert any("doesn't look at learning rates" in note for note in result.notes)
    with pytest.raises(DataError, match="names the whole pool"):
        gptfl.simulate(workspace=made, drop=POOL)


def test_batches_from_a_file(made: Path, tmp_path: Path) -> None:
    run = DYNAMICS.runs[0]
    lines = [str([POOL[i] for i in batch]).replace("'", '"') for batch in run.curriculum.batches]
    path = tmp_path / "run.jsonl"
    path.write_text("\n".join(lines))
    result = gptfl.simulate(workspace=made, curriculum=path)
    stored = read_predictions(result.predictions)
    assert np.array_equal(stored.batches[0], run.curriculum.batches)
    assert np.array_equal(stored.learning_rates[0], run.curriculum.learning_rates)
    path.write_text("\n".join(lines[:5]))
    assert not any("extrapolation" in note for note in result.notes)
    short = gptfl.simulate(workspace=made, curriculum=path)
    assert any("recorded runs have 18 steps, this one has 5" in note for note in short.notes)
    assert short.steps.tolist() == [0, 3, 5]
    assert any("compared at step 5; the average recorded run goes on to step 18" in note for note in short.notes)


@pytest.mark.usefixtures("laid_out")
def test_a_shorter_run_is_compared_at_its_own_last_step(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict = {}
    plain = simulation.simulation_figure

    def watched(**given: Any) -> Any:
        drawn.update(given)
        return plain(**given)

    monkeypatch.setattr(simulation, "simulation_figure", watched)
    result = gptfl.simulate(workspace=made, subset=POOL[:8], steps=5)
    learned = (*DYNAMICS.with_role("fit"), *DYNAMICS.with_role("validation"))
    mean = np.mean([run.metrics["loss"] for run in learned], axis=0)
    grid = DYNAMICS.runs[0].steps
    there = np.array([np.interp(5, grid, column) for column in mean.T])
    np.testing.assert_allclose(result.reference.final, there)
    assert result.reference.step == 5
    assert np.array_equal(result.reference.values[-1], result.reference.final)
    assert np.array_equal(result.change, result.final - result.reference.final)
    stored = read_predictions(result.predictions)
    assert np.array_equal(stored.reference[-1], result.reference.final)
    assert dict(inspect(result.predictions).rows)["final of the average recorded run"] == f"mean {there.mean():.4g}"
    assert np.array_equal(drawn["reference"][-1], result.reference.final)
    sign = 1 if result.metric.higher_is_better else -1
    for name, place, word in drawn["shown"]:
        assert result.tests[place] == name
        assert word == ("helped" if sign * (drawn["values"][:, -1, place].mean() - there[place]) > 0 else "hurt")
    same = gptfl.simulate(workspace=made, estimator="mean-run", subset=POOL[:8])
    assert np.array_equal(same.change, np.zeros(len(same.tests)))
    # Five falling step sizes add up to what fewer of the recorded ones do.
    shorter = gptfl.simulate(workspace=made, estimator="mean-run", subset=POOL[:8], steps=5)
    sums = np.append(0.0, np.cumsum(DYNAMICS.runs[0].curriculum.learning_rates))[grid]
    np.testing.assert_allclose(shorter.final, [np.interp(3.0, sums, column) for column in mean.T])


def test_effects_against_another_subset(made: Path) -> None:
    same = gptfl.simulate(workspace=made, subset=POOL[:8], against=POOL[:8], orders=2)
    assert np.array_equal(same.change, np.zeros(len(same.tests)))
    assert same.helped == same.hurt == ()
    assert same.reference.what == "another subset (8 examples)"
    assert read_predictions(same.predictions).against == same.reference.what
    assert "final of another subset (8 examples)" in dict(inspect(same.predictions).rows)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_what_effects_are_against_may_come_through_a_pipe(made: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "ids"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(pipe.write_text, "\n".join(POOL[:8]) + "\n", encoding="utf-8")
        same = gptfl.simulate(workspace=made, subset=POOL[:8], against=pipe)
    assert same.reference.what == "ids (8 examples)"
    assert np.array_equal(same.change, np.zeros(len(same.tests)))


@pytest.mark.parametrize("orders", [1, 3])
def test_the_average_run_is_the_one_that_mean_run_predicts(made: Path, orders: int) -> None:
    result = gptfl.simulate(workspace=made, estimator="mean-run", subset=POOL[:8], orders=orders)
    assert np.array_equal(result.change, np.zeros(len(result.tests)))
    assert result.mean_change == 0
    assert read_predictions(result.predictions).against == "the average recorded run"


def test_held_out_runs_of_another_grid_against_a_subset(tmp_path: Path) -> None:
    runs = [
        replace(
            run,
            steps=run.steps[:5:2],
            metrics={"loss": run.metrics["loss"][:5:2]},
            curriculum=replace(
                run.curriculum, batches=run.curriculum.batches[:12], learning_rates=run.curriculum.learning_rates[:12]
            ),
        )
        if run.role == "test"
        else run
        for run in DYNAMICS.runs
    ]
    write_dynamics(tmp_path / "made.dynamics.h5", replace(DYNAMICS, runs=tuple(runs)))
    write_features(tmp_path / "made.synthetic.features.h5", FEATURES)
    gptfl.fit("gptfluence", workspace=tmp_path, settings={"epochs": 5})
    result = gptfl.simulate(workspace=tmp_path, against=POOL[:8], orders=1)
    assert result.steps.tolist() == [0, 6, 12]
    assert result.reference.values.shape == result.values.shape[1:]
    np.testing.assert_allclose(result.change, result.final - result.reference.values[-1])


def test_longer_than_recorded_goes_where_the_estimator_can(made: Path) -> None:
    result = gptfl.simulate(workspace=made, subset=POOL[:8], steps=30)
    assert np.isfinite(result.values).all()
    assert np.isnan(result.reference.values[-1]).all()
    assert result.reference.step == 18
    at = result.steps.tolist().index(18)
    assert np.array_equal(result.reference.values[at], result.reference.final)
    assert np.array_equal(result.change, result.final - result.reference.final)
    assert any("compared with its step 18, so the change is also that of the length" in n for n in result.notes)
    shown = dict(inspect(result.predictions).rows)["final of the average recorded run"]
    assert shown == f"mean {result.mean_reference:.4g}, at step 18"
    with pytest.raises(DataError, match=r"step sizes add up to .* those of the recorded runs to at most 9.5"):
        gptfl.simulate(workspace=made, estimator="mean-run", subset=POOL[:8], steps=30)


def test_the_estimator_and_the_file_can_be_named(made: Path) -> None:
    result = gptfl.simulate(workspace=made, estimator="mean-run")
    assert result.estimator == "mean-run"
    assert gptfl.simulate(result.simulator).estimator == "mean-run"
    with pytest.raises(UsageError, match="a simulator of mean-run, not gptfluence"):
        gptfl.simulate(result.simulator, estimator="gptfluence")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"subset": POOL[:2], "drop": POOL[:2]}, "--subset and --drop each say"),
        ({"orders": 0, "subset": POOL[:2]}, "orders is 0"),
        ({"orders": 2}, "--orders needs --subset or --drop: the held-out runs"),
        ({"steps": 2, "curriculum": "x.jsonl"}, "--steps needs --subset or --drop: the file's batches"),
        ({"epochs": 2, "steps": 2, "subset": POOL[:2]}, "--epochs and --steps"),
        ({"seed": -1, "subset": POOL[:2]}, "seed is -1"),
        ({"seed": 2**63, "subset": POOL[:2]}, "seed is 9223372036854775808"),
        ({"orders": 10**6, "subset": POOL[:2]}, "--orders 1000000 comes to"),
        ({"figure": "figure.xyz"}, "no known suffix"),
    ],
)
def test_options_that_do_not_go_together_are_refused(made: Path, options: dict, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        gptfl.simulate(workspace=made, **options)


def test_a_simulator_of_another_recording_is_refused(made: Path, tmp_path: Path) -> None:
    path = gptfl.simulate(workspace=made).simulator
    other = tmp_path / "other.dynamics.h5"
    write_dynamics(other, synthetic(runs=10, pool=20)[0])
    with pytest.raises(DataError, match="fitted to other examples"):
        gptfl.simulate(path, dynamics=other)
    write_dynamics(other, replace(DYNAMICS, runs=DYNAMICS.runs[:8]))
    with pytest.raises(DataError, match="has changed since"):
        gptfl.simulate(path, dynamics=other)
    found = read_simulator(path)
    broken = tmp_path / "made.gptfluence.loss.simulator.h5"
    write_simulator(broken, replace(found, state={"scale": found.state["scale"]}))
    with pytest.raises(DataError, match="lacks array"):
        gptfl.simulate(broken, dynamics=made / "made.dynamics.h5")
    with pytest.raises(DataError, match="run gptfl fit first"):
        gptfl.simulate(workspace=tmp_path / "empty")


@pytest.mark.parametrize("higher", [True, False])
def test_helped_and_hurt_go_by_the_metric_s_direction(higher: bool) -> None:
    tests, now, was = tuple("abcd"), np.array([1.0, 2.0, 3.0, np.nan]), np.array([2.0, 2.0, 1.0, 1.0])
    helped, hurt = most_changed(tests, now, was, MetricInfo("m", higher))
    up, down = (helped, hurt) if higher else (hurt, helped)
    assert [change.id for change in up] == ["c"]
    assert [change.id for change in down] == ["a"]
    assert up[0].change == 2.0
    assert helped[0].gain > 0 > hurt[0].gain


def test_one_curriculum_has_no_spread() -> None:
    assert np.isnan(spread_of(np.zeros((1, 3)))).all()
    assert spread_of(np.array([[1.0], [3.0]])).tolist() == [pytest.approx(np.sqrt(2))]


@pytest.mark.parametrize("option", ["output", "figure"])
def test_outputs_overwrite_nothing_else(made: Path, tmp_path: Path, option: str) -> None:
    (tmp_path / "ids.png").write_text("\n".join(POOL[:3]))
    before = {path: path.read_bytes() for path in (*made.iterdir(), *tmp_path.iterdir())}
    targets = [tmp_path / "ids.png", *(made.glob("*.dynamics.h5") if option == "output" else ())]
    for target in targets:
        with pytest.raises(DataError, match=f"{target.name}.*is not overwritten: give another --{option}"):
            gptfl.simulate(workspace=made, subset=POOL[:3], **{option: target})
    with pytest.raises(DataError, match=r"ids\.png.*is not overwritten: give another --figure"):
        gptfl.simulate(workspace=made, subset=POOL[:3], output=tmp_path / "ids.h5")
    assert {path: path.read_bytes() for path in (*made.iterdir(), *tmp_path.iterdir())} == before
    for _ in range(2):
        gptfl.simulate(workspace=made, subset=POOL[:3], output=tmp_path / "x.h5")


def test_a_simulator_kept_elsewhere_needs_its_recording_named(made: Path, tmp_path: Path) -> None:
    path = gptfl.fit("mean-run", workspace=made, output=tmp_path / "mine.h5").path
    for workspace in (None, made):
        with pytest.raises(DataError, match=r"the recording that .*mine\.h5 was fitted to.*: name it with --dynamics"):
            gptfl.simulate(path, workspace=workspace)
    assert gptfl.simulate(path, dynamics=made / "made.dynamics.h5", output=tmp_path / "x.h5").estimator == "mean-run"


def test_a_simulator_of_every_kth_score_predicts_at_those_steps(tmp_path):
    dynamics, _ = synthetic(24)
    write_dynamics(tmp_path / "syn.dynamics.h5", dynamics)
    fitted = gptfl.fit("mean-run", workspace=tmp_path, every=4)
    recorded = dynamics.runs[0].steps
    result = gptfl.simulate(fitted.path, workspace=tmp_path)
    assert list(result.steps) == [int(recorded[i]) for i in sorted({*range(0, len(recorded), 4), len(recorded) - 1})]
