"""Runs of a plain loop as the Recorder records them."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gptfl
from gptfl.errors import DataError, GptflError, UsageError
from gptfl.plugins.registry import build
from gptfl.recording.command import command_of
from gptfl.store.recordings import read_dynamics

POOL = [{"id": f"p{number}", "text": f"number {number}"} for number in range(6)]
TEST = [{"id": f"t{number}", "prompt": "a", "target": f" {number}"} for number in range(3)]
BATCHES = [["p0", "p1"], ["p2", "p3", "p4"], ["p0", "p5"], ["p1", "p1"]]
RATES = [0.4, 0.3, 0.2, 0.1]


class Loop:
    """A made-up training: what was seen moves the scores."""

    def __init__(self) -> None:
        self.at = np.array([2.0, 3.0, 4.0])

    def take(self, batch: list[str], rate: float) -> None:
        self.at = self.at * np.exp(-rate * np.mean([1 + int(name[1:]) for name in batch]) * np.array([0.1, 0.2, 0.15]))


def recorder(where: Path, loop: Loop, **options: Any) -> gptfl.Recorder:
    given: dict[str, Any] = {
        "pool": POOL,
        "test": TEST,
        "every": 2,
        "measure": lambda: loop.at,
        "workspace": where,
        "say": lambda line: None,
    }
    return gptfl.Recorder("loop", **{**given, **options})


def record_run(own: gptfl.Recorder, loop: Loop, batches: list[list[str]] = BATCHES, **options: Any) -> None:
    loop.at = Loop().at
    with own.run(**options):
        for batch, rate in zip(batches, RATES, strict=False):
            loop.take(batch, rate)
            own.step(batch, rate)


def test_a_run_is_recorded_as_it_was(tmp_path: Path) -> None:
    loop = Loop()
    own = recorder(tmp_path, loop)
    record_run(own, loop, BATCHES[:3], seed=7)
    dynamics = read_dynamics(own.path)
    (run,) = dynamics.runs
    assert run.curriculum.batches.tolist() == [[0, 1, -1], [2, 3, 4], [0, 5, -1]]
    assert run.curriculum.learning_rates.tolist() == RATES[:3]
    # The last step is measured, too.
    assert (run.steps.tolist(), run.seed, run.role) == ([0, 2, 3], 7, "fit")
    again = Loop()
    np.testing.assert_allclose(run.metrics["loss"][0], again.at, rtol=1e-6)
    for batch, rate in zip(BATCHES[:3], RATES, strict=False):
        again.take(batch, rate)
    np.testing.assert_allclose(run.metrics["loss"][-1], again.at, rtol=1e-6)
    assert dynamics.settings.own_run
    assert dynamics.settings["made_by"] == "gptfl.Recorder"


def test_ids_may_be_numbers_and_tensors(tmp_path: Path) -> None:
    loop = Loop()
    own = recorder(tmp_path, loop, pool=[{"id": number, "text": str(number)} for number in range(4)])
    with own.run():
        own.step(torch.tensor([3, 1]), torch.tensor(0.5))
        own.step(np.array([2]), np.float32(0.25))
        own.step(0, 0)
    (run,) = read_dynamics(own.path).runs
    assert run.curriculum.batches.tolist() == [[3, 1], [2, -1], [0, -1]]
    assert run.curriculum.learning_rates.tolist() == [0.5, 0.25, 0.0]


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path: Path) -> None:
    loop = Loop()
    record_run(recorder(tmp_path / "whole", loop), loop)
    loop = Loop()
    first = recorder(tmp_path / "cut", loop)
    kept: dict[str, Any] = {}

    def interrupted() -> None:
        with first.run(seed=0):
            for batch, rate in zip(BATCHES[:3], RATES, strict=False):
                loop.take(batch, rate)
                first.step(batch, rate)
            kept.update(json.loads(json.dumps(first.state_dict())))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not first.path.exists()
    second = recorder(tmp_path / "cut", loop)
    with second.run(resume=kept):
        loop.take(BATCHES[3], RATES[3])
        second.step(BATCHES[3], RATES[3])
    one, other = (read_dynamics(tmp_path / name / "loop.dynamics.h5") for name in ("whole", "cut"))
    assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("places", [[0], [99]]),
        ("places", [[], [0]]),
        ("places", 7),
        ("rates", [0.1]),
        ("rates", ["a", "b"]),
        ("measured", []),
        ("measured", [2, 0]),
        ("measured", [0, 9]),
        ("values", {"loss": [[1.0]]}),
        ("values", {}),
        ("losses", {"1": [1.0, 2.0, 3.0, 4.0, 5.0]}),
        ("losses", [1]),
        ("seed", None),
        ("seconds", "x"),
        ("recording", None),
    ],
)
def test_a_damaged_state_is_reported(tmp_path: Path, key: str, value: Any) -> None:
    loop = Loop()
    first = recorder(tmp_path, loop)
    with first.run():
        for batch, rate in zip(BATCHES[:2], RATES, strict=False):
            first.step(batch, rate)
        kept = json.loads(json.dumps(first.state_dict()))
        first.step(BATCHES[2], RATES[2])
    for state in ({**kept, key: value}, {name: one for name, one in kept.items() if name != key}):
        with pytest.raises(DataError, match="the state to resume from is"):
            first.begin(resume=state)
    assert len(read_dynamics(first.path).runs) == 1


def test_runs_are_appended_and_every_command_takes_them(tmp_path: Path) -> None:
    loop = Loop()
    random = np.random.default_rng(1)
    own = recorder(tmp_path, loop)
    for _ in range(5):
        record_run(own, loop, [[f"p{place}" for place in random.permutation(6)[:2]] for _ in RATES])
    assert [run.role for run in read_dynamics(own.path).runs] == ["fit", "fit", "fit", "test", "fit"]
    space = {"workspace": tmp_path}
    gptfl.compare(estimators=["mean-run"], figure=False, **space)
    fitted = gptfl.fit("exposure-gp", settings={"features": False}, **space)
    fitted.simulate(["p1", "p2"])
    gptfl.rank(how="replace", **space)
    with pytest.raises(DataError, match="gptfl can't carry out your recipe"):
        fitted.verify(["p1", "p2"])
    with pytest.raises(DataError, match="recorded while you trained: no command makes it"):
        command_of(own.path, build([]))
    with pytest.raises(DataError, match="holds runs of your own training"):
        gptfl.collect("tiny", "errands", name="loop", pool=8, test=4, runs=2, **space)


def test_few_runs_are_compared_each_in_turn(tmp_path: Path) -> None:
    loop = Loop()
    own = recorder(tmp_path, loop)
    for turn in range(3):
        record_run(own, loop, BATCHES[turn:] + BATCHES[:turn])
    found = gptfl.compare(estimators=["mean-run"], figure=False, workspace=tmp_path)
    assert "3 runs are too few to set one apart: took --folds 3, each in turn" in found.notes


def test_several_metrics_are_measured(tmp_path: Path) -> None:
    loop = Loop()
    measures = {"loss": lambda: loop.at, "reward": lambda: torch.tensor([1.0, 2.0, 3.0])}
    own = recorder(tmp_path, loop, measure=measures, higher_is_better=["reward"])
    record_run(own, loop)
    dynamics = read_dynamics(own.path)
    assert dynamics.metrics["reward"].higher_is_better
    assert not dynamics.metrics["loss"].higher_is_better
    assert dynamics.runs[0].metrics["reward"].tolist() == [[1.0, 2.0, 3.0]] * 3


def test_a_measurement_leaves_random_streams_and_modes(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout(0.5))
    model[1].eval()
    modes: list[bool] = []

    def measure() -> list[float]:
        modes.append(model.training or torch.is_grad_enabled())
        torch.rand(3), np.random.rand(3)
        return [1.0, 2.0, 3.0]

    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    own = recorder(tmp_path, Loop(), model=model, measure=measure)
    with own.run():
        own.step(["p0"], 0.1)
    assert modes == [False, False]
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]
    assert (model.training, model[0].training, model[1].training) == (True, True, False)


def test_a_run_from_other_weights_is_refused(tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 2)
    own = recorder(tmp_path, Loop(), model=model)
    with own.run():
        own.step(["p0"], 0.1)
    with torch.no_grad():
        model.weight += 1
    with pytest.raises(DataError, match="start from the same weights, or record under another name"), own.run():
        pass


def test_own_losses_are_kept_in_a_table(tmp_path: Path) -> None:
    own = recorder(tmp_path, Loop())
    with own.run():
        own.step(["p0", "p1"], 0.1, losses=torch.tensor([0.5, 0.25]))
    table = (tmp_path / "loop.own-losses" / "run-0000.csv").read_text()
    assert table.split() == ["step,id,loss", "1,p0,0.5", "1,p1,0.25"]


@pytest.mark.parametrize("said", [3, 1, 2, None])
def test_a_run_of_other_steps_than_were_said_says_so(tmp_path: Path, said: int | None) -> None:
    loop, lines = Loop(), []
    own = recorder(tmp_path, loop, say=lines.append)
    record_run(own, loop, BATCHES[:2], steps=said)
    off = f", where steps={said} was said" if said in (1, 3) else ""
    assert lines[-1] == f"recorded run-0000 (2 steps{off}) in {own.path}"


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (lambda own: own.step([], 0.1), "step 1 has no ids: give the ids"),
        (lambda own: own.step("p0", 0.1), "are the text 'p0': give a list of ids"),
        (lambda own: own.step(None, 0.1), "the ids of a batch are None"),
        (lambda own: own.step(["p9"], 0.1), "the id 'p9' is not in the pool"),
        (lambda own: own.step([1.5], 0.1), "training example 0 of the batch has the id 1.5"),
        (lambda own: own.step(["p0"], "0.1"), "lr is '0.1', no step size"),
        (lambda own: own.step(["p0"], float("nan")), "lr is nan, no step size"),
        (lambda own: own.step(["p0"], None), "lr is None, no step size"),
        (lambda own: own.step(["p0"], -1.0), "lr is -1.0, no step size"),
        (lambda own: own.step(["p0"], 0.1, losses=[1.0, 2.0]), "step 1 has 1 ids and 2 losses"),
        (lambda own: own.run().__enter__(), "a run is being recorded already"),
        (lambda own: None, "the run took no step, and nothing is recorded"),
    ],
)
def test_wrong_steps_are_reported_in_one_line(
    tmp_path: Path, step: Callable[[gptfl.Recorder], object], message: str
) -> None:
    own = recorder(tmp_path, Loop())
    with pytest.raises(GptflError, match=re.escape(message)) as found, own.run():
        step(own)
    assert "\n" not in str(found.value)
    assert not own.path.exists()
    # What failed is over.
    with own.run():
        own.step(["p0"], 0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every=0"),
        ({"measure": None}, "there is nothing to measure"),
        ({"measure": 3}, "measure 'loss' is a int"),
        ({"pool": [{"text": "a"}]}, "training example 0 has no 'id'"),
        ({"pool": []}, "there is no training example"),
        ({"pool": [{"id": "a"}]}, "training example 0 has no text (its keys: id)"),
        ({"test": ["a"]}, "test example 0 is a str"),
        ({"groups": {"g": ["x"]}}, "group 'g' names 'x', which is no test example"),
        ({"stop_when": "never"}, "stop_when='never'"),
        ({"higher_is_better": ["f1"]}, "higher_is_better names 'f1', which isn't measured"),
    ],
)
def test_wrong_recorders_are_reported_in_one_line(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(GptflError, match=re.escape(message)) as found:
        recorder(tmp_path, Loop(), **options)
    assert "\n" not in str(found.value)


def test_a_name_that_begins_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the name 'a/b' can't begin the names of files"):
        gptfl.Recorder("a/b", pool=POOL, test=TEST, measure=lambda: [1, 2, 3], workspace=tmp_path)


def test_a_measure_of_the_wrong_length_is_refused(tmp_path: Path) -> None:
    own = recorder(tmp_path, Loop(), measure=lambda: [1.0, 2.0])
    with pytest.raises(DataError, match=re.escape("gave numbers of shape (2,): give 3")), own.run():
        pass
    with pytest.raises(UsageError, match="there is no run to record"):
        own.step(["p0"], 0.1)


def test_a_recording_of_gptfls_own_is_not_added_to(tmp_path: Path) -> None:
    from gptfl.core import Dynamics
    from gptfl.store.recordings import write_dynamics

    own = recorder(tmp_path, Loop())
    write_dynamics(own.path, Dynamics(own.pool, own.test, own.metrics, (), {"task": "errands"}))
    with pytest.raises(DataError, match="holds no runs of your own training"), own.run():
        pass


def test_a_name_that_is_no_option_is_reported_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"gptfl\.Recorder has no option 'stop_if': did you mean 'stop_when'"):
        recorder(tmp_path, Loop(), stop_if=1.0)
    with pytest.raises(TypeError, match=r"gptfl\.GptflCallback has no option 'evry': did you mean 'every'"):
        gptfl.GptflCallback("own", evry=2)
