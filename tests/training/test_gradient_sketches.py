"""Sketches at points along a reference run: how near their products come, and what is not finite."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gptfl.core import Dynamics, GradientSketches
from gptfl.core.runs import with_tests
from gptfl.errors import DataError
from gptfl.store.recordings import read_dynamics
from gptfl.training import gradient_sketches, kept_sketches
from gptfl.training.gradient_sketches import Estimated, SketchSetup
from tests.recording.test_collect import record

WIDE = 20_000


def sketches_of(dynamics: Dynamics) -> GradientSketches:
    assert dynamics.sketches is not None
    return dynamics.sketches


@pytest.mark.parametrize("lora", [None, "r=2,alpha=4,dropout=0"])
def test_products_of_sketches_are_near_the_recorded_ones(neox: Path, tmp_path: Path, lora: str | None) -> None:
    options: dict[str, Any] = {"gradients": "reference", "gradient_points": 2, "lora": lora}
    result = record(neox, tmp_path, sketches=True, sketch_points=2, sketch_dimensions=WIDE, runs=1, **options)
    dynamics = read_dynamics(result.path)
    exact = dynamics.gradients
    assert exact is not None
    for place, point in enumerate(sketches_of(dynamics).points):
        for train, test, products in (
            (point.train, point.test, exact.raw),
            (point.preconditioned, point.test, exact.preconditioned),
            (point.split_train, point.split_test, exact.preconditioned),
        ):
            if train is None or test is None:
                assert place == 0
                continue
            lengths = np.linalg.norm(train, axis=1)[:, None] * np.linalg.norm(test, axis=1)
            error = (train @ test.T - products[place]) / lengths
            assert np.abs(error).max() < 0.1
            assert np.sqrt(np.mean(error**2)) < 0.02
        if point.split_train is not None:
            found = np.linalg.norm(point.split_train, axis=1) ** 2
            np.testing.assert_allclose(found, exact.self_preconditioned[place], rtol=0.1)
        np.testing.assert_allclose(np.linalg.norm(point.train, axis=1) ** 2, exact.self_raw[place], rtol=0.1)


@pytest.mark.parametrize("lora", [None, "r=2,alpha=4,dropout=0"])
def test_products_are_estimated_beside_narrow_sketches(neox: Path, tmp_path: Path, lora: str | None) -> None:
    options: dict[str, Any] = {"gradients": "reference", "gradient_points": 2, "lora": lora}
    result = record(neox, tmp_path, sketches=True, sketch_points=2, sketch_dimensions=16, runs=1, **options)
    dynamics = read_dynamics(result.path)
    exact, found = dynamics.gradients, sketches_of(dynamics).products
    assert exact is not None
    assert found is not None
    np.testing.assert_array_equal(found.steps, exact.steps)
    assert found.seed == exact.seed
    assert np.isnan(found.preconditioned[0]).all()
    for name in ("raw", "preconditioned"):
        one, other = getattr(found, name)[-1], getattr(exact, name)[-1]
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.99
        np.testing.assert_allclose(getattr(found, f"self_{name}")[-1], getattr(exact, f"self_{name}")[-1], rtol=0.1)
    # Exact ones go before estimates, and these before nothing.
    assert dynamics.known_products is exact
    assert dataclasses.replace(dynamics, gradients=None).known_products is found
    assert dataclasses.replace(dynamics, gradients=None, sketches=None).known_products is None
    some = with_tests(dynamics, np.array([1, 0]))
    np.testing.assert_array_equal(sketches_of(some).products.raw, found.raw[:, :, [1, 0]])  # type: ignore[union-attr]


def test_large_pools_and_wide_sketches_go_without_estimates(
    neox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"sketches": True, "sketch_points": 2, "sketch_dimensions": 16, "runs": 1}
    monkeypatch.setattr(gradient_sketches, "WIDE_MEMORY", 2000)
    few = sketches_of(read_dynamics(record(neox, tmp_path / "a", **options).path))
    monkeypatch.setattr(gradient_sketches, "WIDE", 16)
    same = sketches_of(read_dynamics(record(neox, tmp_path / "b", **options).path))
    assert few.products is None
    assert same.products is None
    assert same.fingerprint == few.fingerprint


def test_a_sketch_that_is_not_finite_is_named(neox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compute = kept_sketches.sketch_each

    def holed(*given: Any) -> Any:
        found = compute(*given)
        found[0][0][2, 3] = torch.nan
        return found

    monkeypatch.setattr(kept_sketches, "sketch_each", holed)
    # Test examples are sketched first.
    with pytest.raises(DataError, match=r"the gradient of test example '.*' is not finite at step 0 of the reference"):
        record(neox, tmp_path, sketches=True, runs=1)


def test_estimates_are_products_of_the_sketches() -> None:
    random = torch.Generator().manual_seed(0)
    plain, divided = (torch.randn(2, 4, 6, generator=random) for _ in range(2))
    pool, test = [plain[0], divided[0]], [plain[1][:3], divided[1][:3]]
    found = Estimated.of(pool, test)
    for place, (products, own) in enumerate(
        ((found.raw, found.self_raw), (found.preconditioned, found.self_preconditioned))
    ):
        for i in range(4):
            assert own[i] == pytest.approx(float((pool[place][i] ** 2).sum()), rel=1e-5)
            for j in range(3):
                assert products[i, j] == pytest.approx(
                    float((pool[place][i] * test[place][j]).sum()), rel=1e-4, abs=1e-5
                )
    alone = Estimated.of(pool[:1], test[:1])
    np.testing.assert_array_equal(alone.raw, found.raw)
    assert np.isnan(alone.preconditioned).all()
    assert np.isnan(alone.self_preconditioned).all()


@pytest.mark.parametrize(("examples", "dimensions", "wide"), [(1, 8192, 2**17), (1000, 8192, 2**15), (1000, 2**15, 0)])
def test_wide_sketches_take_so_much_memory_at_most(examples: int, dimensions: int, wide: int) -> None:
    side: Any = range(examples // 2)
    pool: Any = range(examples - examples // 2)
    tape: Any = None
    setup = SketchSetup(tape, pool, side, dimensions, None, 0)
    assert setup.wide == wide
    assert 4 * 8 * setup.wide * examples <= 2**30
