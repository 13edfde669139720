"""``collect --sketches``: what it adds to a recording, that one reference run serves all, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gptfl.core import Dynamics, Example, GradientSketches, SketchPoint, silent
from gptfl.errors import DataError, UsageError
from gptfl.features.extend import beside
from gptfl.features.featurize import featurize
from gptfl.recording.inspect import inspect
from gptfl.recording.recording import open_recording
from gptfl.simulation.fit import fit
from gptfl.store.features import read_features
from gptfl.store.recordings import read_dynamics
from gptfl.store.simulators import read_simulator
from gptfl.store.sketches import pack, unpack
from gptfl.training import kept_sketches
from tests.recording.test_collect import record, same_recording


def sketches_of(dynamics: Dynamics) -> GradientSketches:
    assert dynamics.sketches is not None
    return dynamics.sketches


def test_sketches_can_be_added_and_are_those_of_doing_it_at_once(neox: Path, tmp_path: Path) -> None:
    options = {"sketches": True, "sketch_dimensions": 40}
    plain = read_dynamics(record(neox, tmp_path / "a").path)
    added = record(neox, tmp_path / "a", **options)
    assert added.recorded_now == 0
    assert added.notes[:2] == (
        "all 3 runs are recorded already",
        "gradient sketches at steps 0, 1, 3, 4 of a reference run added",
    )
    found = read_dynamics(added.path)
    same_recording(found, plain)
    both = read_dynamics(record(neox, tmp_path / "b", gradients="reference", gradient_points=2, **options).path)
    same_recording(both, plain)
    one, other = sketches_of(found), sketches_of(both)
    assert one.fingerprint == other.fingerprint
    assert one.steps.tolist() == [0, 1, 3, 4]
    assert [point.preconditioned is None for point in one.points] == [True, False, False, False]
    assert (one.points[1].train.shape, one.points[1].test.shape) == ((12, 40), (5, 40))
    assert one.seconds is not None
    assert one.seconds > 0
    assert both.gradients is not None
    assert both.gradients.seed == one.seed

    before = added.path.read_bytes()
    assert record(neox, tmp_path / "a", **options).notes[0] == "all 3 runs are recorded already"
    assert added.path.read_bytes() == before
    more = read_dynamics(record(neox, tmp_path / "a", gradients="reference", gradient_points=2, runs=4).path)
    assert more.gradients is not None
    assert more.gradients.fingerprint == both.gradients.fingerprint
    assert sketches_of(more).fingerprint == one.fingerprint
    assert dict(inspect(added.path).rows)["sketches"] == (
        "40 dimensions at steps 0, 1, 3, 4 of a reference run, of all trained weights"
    )


def test_estimates_are_what_an_estimator_takes_that_does_not_require_exact_products(neox: Path, tmp_path: Path) -> None:
    path = record(neox, tmp_path, sketches=True, sketch_dimensions=16).path
    featurize(workspace=tmp_path)
    fit("exposure-gp", workspace=tmp_path)
    state = read_simulator(next(tmp_path.glob("*.simulator.h5"))).state
    products = sketches_of(read_dynamics(path)).products
    assert products is not None
    np.testing.assert_allclose(state["products:raw"], -products.raw, rtol=1e-6)
    with pytest.raises(DataError, match=r"tracin-cp needs gradients, which .* doesn't hold"):
        fit("tracin-cp", workspace=tmp_path)


def test_some_weights_alone_are_sketched(neox: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"sketches": True, "sketch_dimensions": 30, "sketch_points": 1, "runs": 1}
    mlp = read_dynamics(record(neox, tmp_path / "a", sketch_modules="*mlp*", **options).path)
    whole = read_dynamics(record(neox, tmp_path / "b", **options).path)
    some, every = (np.linalg.norm(sketches_of(one).points[0].train, axis=1) for one in (mlp, whole))
    assert (some < every).mean() > 0.8
    assert sketches_of(mlp).modules == "*mlp*"
    with pytest.raises(UsageError, match=r"sketch_modules '\*foo' fits no trained weight of .*small-neox"):
        record(neox, tmp_path / "c", sketch_modules="*foo", **options)


def test_what_is_kept_is_what_was_taken_but_for_rounding(
    neox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[list[SketchPoint]] = []
    make = kept_sketches.KeptSketching.sketches

    def keep(self: Any, *arguments: Any) -> GradientSketches:
        found = make(self, *arguments)
        taken.append([*found.points])
        return found

    monkeypatch.setattr(kept_sketches.KeptSketching, "sketches", keep)
    result = record(neox, tmp_path, sketches=True, sketch_points=2, sketch_dimensions=16, runs=1)
    found = sketches_of(read_dynamics(result.path))
    for one, other in zip(found.points, taken[0], strict=True):
        np.testing.assert_array_equal(one.train, unpack(*pack(other.train)))
        np.testing.assert_array_equal(one.test, unpack(*pack(other.test)))
    assert found.points[1].preconditioned is not None


def test_an_interrupted_reference_run_leaves_the_recording_whole(
    neox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"sketches": True, "sketch_points": 2, "sketch_dimensions": 16, "runs": 1}
    compute, calls = kept_sketches.sketch_each, []

    def interrupted(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return compute(*given)

    monkeypatch.setattr(kept_sketches, "sketch_each", interrupted)
    with pytest.raises(KeyboardInterrupt):
        record(neox, tmp_path / "a", **options)
    kept = [*(tmp_path / "a").glob("*.blocks-*/block-*.h5")]
    assert len(kept) >= 2
    path = tmp_path / "a" / "errands-small-neox.dynamics.h5"
    assert (len(read_dynamics(path).runs), read_dynamics(path).sketches) == (1, None)

    def counted(*given: Any) -> Any:
        calls.append(given)
        return compute(*given)

    calls.clear()
    monkeypatch.setattr(kept_sketches, "sketch_each", counted)
    resumed = read_dynamics(record(neox, tmp_path / "a", **options).path)
    again = len(calls)
    fresh = read_dynamics(record(neox, tmp_path / "b", **options).path)
    assert len(calls) - again == again + 2
    assert not [*(tmp_path / "a").glob("*.blocks-*")]
    assert sketches_of(resumed).fingerprint == sketches_of(fresh).fingerprint


def test_few_runs_are_of_the_contrast_design_with_sketches_unless_named(neox: Path, tmp_path: Path) -> None:
    few: dict[str, Any] = {"few_runs": True, "runs": None, "sketch_dimensions": 8, "sketch_points": 2}
    dynamics = read_dynamics(record(neox, tmp_path / "few", **few).path)
    assert (len(dynamics.runs), dynamics.settings["design"]) == (6, "contrast")
    assert sketches_of(dynamics).points[0].train.shape == (12, 8)
    named = read_dynamics(record(neox, tmp_path / "named", **{**few, "runs": 2, "design": "uniform"}).path)
    assert (len(named.runs), named.settings["design"]) == (2, "uniform")
    assert named.sketches is not None


def test_sketches_become_features_that_estimators_take(neox: Path, tmp_path: Path) -> None:
    path = record(neox, tmp_path, sketches=True, sketch_points=2, sketch_dimensions=16, texts=False).path
    result = featurize(workspace=tmp_path)
    assert result.path.name == "errands-small-neox.gradients.features.h5"
    assert result.dims == {"raw-0": 16, "split-4": 16, "raw-4": 16}
    assert list(result.dims) == ["raw-0", "raw-4", "split-4"]
    assert "takes gradients, since the recording holds gradient sketches" in result.notes[0]
    features = read_features(result.path)
    found = sketches_of(read_dynamics(path))
    assert features.seconds == found.seconds
    np.testing.assert_array_equal(features.sets["raw-4"].train, found.points[1].train)
    np.testing.assert_array_equal(features.sets["split-4"].test, found.points[1].split_test)
    assert features.sets["raw-0"].kind == "gradient"
    again = featurize("gradients", workspace=tmp_path)
    assert (again.embedded, again.reused) == (0, 17)
    assert featurize("gradients", workspace=tmp_path, settings={"points": 0, "dimensions": 5}).dims == {"raw-0": 5}
    pool = featurize("gradients", workspace=tmp_path, settings={"points": 4, "divided": "pool"}).path
    np.testing.assert_array_equal(read_features(pool).sets["preconditioned-4"].train, found.points[1].preconditioned)
    with pytest.raises(UsageError, match="--data x is not needed: encoder gradients reads no texts"):
        featurize("gradients", workspace=tmp_path, data="x")
    new = (Example("new", "a", " yes"),)
    with pytest.raises(DataError, match=r"keeps no reference run, which gradients of new rows .*--keep-reference"):
        beside(features, new, (), open_recording(path), silent)


def test_a_recording_without_sketches_has_no_gradient_features(neox: Path, tmp_path: Path) -> None:
    record(neox, tmp_path, runs=1)
    with pytest.raises(DataError, match=r"no gradient sketches: .*gptfl collect ... --sketches"):
        featurize("gradients", workspace=tmp_path)
    assert len(list(tmp_path.glob("*.h5"))) == 1
