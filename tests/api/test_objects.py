"""Recordings and simulators to hold: they answer as the commands do, and write nothing."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import gptfl
from gptfl.errors import DataError, UsageError
from gptfl.options.common import InputOptions
from gptfl.options.simulation import LearningOptions, SimulatedRunOptions
from gptfl.store import files


@pytest.fixture
def recording(space: Path) -> gptfl.Recording:
    """The synthetic recording of 24 runs."""
    return gptfl.open_recording(space / "syn.dynamics.h5")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the simulator lies that every test has a copy of, once there is one."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def simulator(recording: gptfl.Recording, kept: Path) -> gptfl.Simulator:
    """An exposure model fitted to it."""
    if not any(kept.iterdir()):
        shutil.copy2(recording.fit("exposure-gp").path, kept)
    (made,) = kept.iterdir()
    return gptfl.open_simulator(shutil.copy2(made, recording.path.parent))


def ids(recording: gptfl.Recording, count: int, start: int = 0) -> list[str]:
    return [example.id for example in recording.pool[start : start + count]]


def listed(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


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


def test_a_simulation_is_the_commands_and_writes_nothing(
    space: Path, recording: gptfl.Recording, simulator: gptfl.Simulator
) -> None:
    before = listed(space)
    run = simulator.simulate(subset=ids(recording, 5), orders=2)
    assert listed(space) == before
    assert run.predictions is None
    written = gptfl.simulate(simulator.path, subset=ids(recording, 5), orders=2)
    np.testing.assert_array_equal(run.values, written.values)
    assert run.notes == written.notes
    assert listed(space) > before


def test_a_simulation_makes_a_frame_and_a_figure(
    tmp_path: Path, recording: gptfl.Recording, simulator: gptfl.Simulator
) -> None:
    run = simulator.simulate(subset=ids(recording, 5), orders=2)
    frame = run.to_frame()
    assert len(frame) == run.values.size
    row = frame[(frame.curriculum == "order 2") & (frame.step == run.steps[-1]) & (frame.test == run.tests[1])]
    assert row.value.item() == pytest.approx(float(run.values[1, -1, 1]))
    low, high = run.prediction.intervals[0.9]
    assert row["low_0.9"].item() == pytest.approx(float(low[1, -1, 1]))
    assert row["high_0.9"].item() == pytest.approx(float(high[1, -1, 1]))
    assert len(run.plot().axes) > 1
    assert gptfl.save(run, tmp_path / "run.json").read_text().startswith("{")
    assert gptfl.save(run, tmp_path / "run.csv").read_text().startswith("curriculum,step,test,value")
    assert gptfl.plot(run, tmp_path / "run.png").stat().st_size > 1000


def test_many_subsets_are_what_each_of_them_is(recording: gptfl.Recording, simulator: gptfl.Simulator) -> None:
    subsets = [ids(recording, 5, start) for start in (0, 2, 4)]
    many = simulator.simulate_many(subsets, orders=2)
    for place, subset in enumerate(subsets):
        one = simulator.simulate(subset=subset, orders=2)
        # Other shapes of the same products differ in the last digits.
        np.testing.assert_allclose(many.final[place], one.final, rtol=1e-6)
        np.testing.assert_allclose(many.change[place], one.change, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(many.intervals[0.9][0][place], one.intervals[0.9][0], rtol=1e-5)
    assert many.order[0] == int(many.final.mean(axis=1).argmin())
    assert len(many.to_frame()) == many.final.size
    assert "<pre" in many._repr_html_()


def test_many_subsets_are_asked_in_parts(
    recording: gptfl.Recording, simulator: gptfl.Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    subsets = [ids(recording, 4, start) for start in range(5)]
    whole = simulator.simulate_many(subsets)
    monkeypatch.setattr("gptfl.simulation.many.MAX_NUMBERS", 1)
    np.testing.assert_allclose(simulator.simulate_many(subsets).values, whole.values, rtol=1e-6)


def test_influence_and_selection_are_the_commands(
    space: Path, recording: gptfl.Recording, simulator: gptfl.Simulator
) -> None:
    before = listed(space)
    who = simulator.influence()
    best = simulator.select(4, search=0)
    assert listed(space) == before
    ranked = gptfl.rank([simulator.path])
    np.testing.assert_array_equal(who.rankings[0].influence, ranked.rankings[0].influence)
    assert best.ids == gptfl.select(4, simulator.path, search=0).ids
    frame = who.to_frame()
    assert list(frame.sort_values("rank").id)[:3] == [who.pool[i].id for i in who.rankings[0].order[:3]]
    assert list(best.to_frame().id) == list(best.ids)
    assert "<pre" in best._repr_html_()


def test_what_can_not_be_asked_is_one_line(tmp_path: Path, recording: gptfl.Recording) -> None:
    simulator = recording.fit("mean-run")
    with pytest.raises(UsageError, match="each say what to train on"):
        simulator.simulate(subset=ids(recording, 2), drop=ids(recording, 2))
    with pytest.raises(UsageError, match="there is no subset to simulate"):
        simulator.simulate_many([])
    with pytest.raises(TypeError, match="simulate has no option 'rate'"):
        simulator.simulate(subset=ids(recording, 2), rate=1.0)
    with pytest.raises(DataError, match="no-such-id"):
        simulator.simulate_many([["no-such-id"]])
    run = simulator.simulate()
    with pytest.raises(UsageError, match=r"run\.doc: a Simulation is not saved as \.doc: end it in \.json, \.csv"):
        gptfl.save(run, tmp_path / "run.doc")
    with pytest.raises(UsageError, match="has no known suffix for a picture"):
        gptfl.plot(run, tmp_path / "run.doc")
    with pytest.raises(UsageError, match="has no picture"):
        simulator.influence().plot()


def test_a_simulator_keeps_its_trust(recording: gptfl.Recording) -> None:
    simulator = recording.fit("exposure-gp")
    opened = gptfl.open_simulator(simulator.path)
    kept = opened.opened.found.info["trust"]
    assert opened.trust.skill == kept["skill"]
    assert opened.trust.runs == kept["runs"]
    assert simulator.trust.skill == kept["skill"]
    opened.opened.memo.clear()
    info = {**opened.opened.found.info, "trust": {"skill": "high", "runs": -1}}
    object.__setattr__(opened.opened.found, "info", info)
    assert opened.trust.skill == pytest.approx(kept["skill"]), "what could be no skill is worked out anew"


@pytest.fixture
def opens(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file was opened."""
    counted: Counter[str] = Counter()
    plain = files.opened_file

    def opened(path: Path, *rest: object) -> object:
        counted[Path(path).name] += 1
        return plain(path, *rest)

    monkeypatch.setattr(files, "opened_file", opened)
    return counted


def test_a_recording_is_read_once_a_call(space: Path, simulator: gptfl.Simulator, opens: Counter[str]) -> None:
    name = "syn.dynamics.h5"
    gptfl.simulate(simulator.path)
    assert opens.pop(name) == 1
    gptfl.compare(workspace=space, estimators=["exposure-gp"], figure=False)
    assert opens.pop(name) == 1
    gptfl.fit(workspace=space)
    assert opens.pop(name) == 1
    gptfl.rank([simulator.path, simulator.path])
    assert opens.pop(name) == 1
    gptfl.select(3, simulator.path, search=0)
    assert opens.pop(name) == 1
    held = gptfl.open_simulator(simulator.path)
    held.simulate()
    held.influence()
    held.simulate_many([[example.id for example in held.opened.scope.pool[:3]]])
    assert opens.pop(name) == 1


def test_a_recording_is_read_once_to_featurize_export_or_inspect_it(
    space: Path, opens: Counter[str], tmp_path: Path
) -> None:
    name = "syn.dynamics.h5"
    gptfl.featurize("tfidf-svd", workspace=space, settings={"dims": 2})
    assert opens.pop(name) == 1
    gptfl.export(tmp_path / "csv", dynamics=space / name, format="csv")
    assert opens.pop(name) == 1
    gptfl.inspect(space / name)
    assert opens.pop(name) == 2, "what kind of file it is, and the file"


def test_the_picture_can_be_left_out(space: Path, recording: gptfl.Recording, simulator: gptfl.Simulator) -> None:
    result = gptfl.simulate(simulator.path, subset=ids(recording, 5), figure=False)
    assert result.figure is None
    assert result.unkept == ()
    assert not list(space.glob("*.png"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda one: one.simulate(orders="x"), "simulate: orders is 'x': give a whole number"),
        (lambda one: one.simulate_many([["a"]], lr="x"), "simulate_many: lr is 'x': give a number"),
        (lambda one: one.simulate_many("ids.txt"), "simulate_many: subsets is 'ids.txt': give a sequence"),
        (lambda one: one.simulate_many([3]), "simulate_many: a subset is 3: give a text or a sequence"),
        (lambda one: one.influence(3), "influence: on is 3: give a text or a sequence"),
        (lambda one: one.select("3"), "select: size is '3': give a whole number"),
        (lambda one: one.verify(["a"], device=3), "verify: device is 3: give a text"),
        (lambda one: one.simulate(orders=0), "orders is 0: give 1 or more"),
    ],
)
def test_a_value_of_another_type_is_one_line(simulator: gptfl.Simulator, call: Callable, message: str) -> None:
    with pytest.raises(UsageError, match=f"^{message}$"):
        call(simulator)


def test_options_of_files_are_none_of_the_methods(recording: gptfl.Recording, simulator: gptfl.Simulator) -> None:
    for call, message in (
        (lambda: simulator.simulate(output="x"), "simulate has no option 'output'"),
        (lambda: simulator.simulate(dynamics="x"), "simulate has no option 'dynamics'"),
        (lambda: simulator.simulate(InputOptions()), "simulate takes no InputOptions"),
        (lambda: simulator.simulate_many([["a"]], drop="x"), "simulate_many has no option 'drop'"),
        (lambda: simulator.influence(top=3), "influence has no option 'top'"),
        (lambda: simulator.select(3, estimator="x"), "select has no option 'estimator'"),
        (lambda: simulator.select(), "missing 1 required positional argument: 'size'"),
        (lambda: simulator.verify(simulator="x"), "verify has no option 'simulator'"),
        (lambda: recording.compare(figure="x"), "compare has no option 'figure'"),
        (lambda: recording.compare(inputs=InputOptions(workspace="x")), "compare has no option 'workspace'"),
        (lambda: recording.fit(dynamics="x"), "fit has no option 'dynamics'"),
        (lambda: recording.featurize(workspace="x"), "featurize has no option 'workspace'"),
    ):
        with pytest.raises(TypeError, match=message):
            call()
    with pytest.raises(UsageError, match="is a simulator of loss, not bleu"):
        simulator.verify(["a"], metric="bleu")


def test_groups_and_single_options_say_the_same(recording: gptfl.Recording, simulator: gptfl.Simulator) -> None:
    subset = ids(recording, 4)
    plain = simulator.simulate(subset, orders=3, seed=7)
    grouped = simulator.simulate(SimulatedRunOptions(subset=(subset,), orders=np.int64(3)), seed=np.int64(7))
    np.testing.assert_array_equal(plain.values, grouped.values)
    many = simulator.simulate_many([subset], SimulatedRunOptions(orders=3), seed=7)
    np.testing.assert_allclose(many.final[0], plain.final, rtol=1e-6)
    tables = [recording.compare("mean-run", LearningOptions(every=2), folds=2)]
    tables.append(recording.compare(["mean-run"], every=2, folds=2))
    np.testing.assert_array_equal(tables[0].held_out.steps, tables[1].held_out.steps)
    assert tables[0].held_out.steps.shape < recording.compare([], folds=2).held_out.steps.shape
