"""A simulator to hold: it answers as the commands do, and writes nothing."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import gptfl
from gptfl.errors import DataError, UsageError
from tests.api.held import ids, listed


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
