"""Recordings and simulators to hold: what both take, and how often they read."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import gptfl
from gptfl.errors import UsageError
from gptfl.options.common import InputOptions
from gptfl.options.simulation import LearningOptions, SimulatedRunOptions
from gptfl.store import files
from tests.api.held import ids


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
