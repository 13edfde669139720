"""Gradient products and derivatives in a recording's file."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from gptfl.core import Dynamics, GradientProducts, Run
from gptfl.core.blocked_products import BlockedProducts, ChosenColumns, as_products
from gptfl.errors import DataError
from gptfl.store.gradients import check_gradients, get_products, put_products
from gptfl.store.recordings import append_gradients, append_run, read_dynamics, write_dynamics
from tests.core.test_blocked_rows import Held


@pytest.fixture
def gradients() -> GradientProducts:
    """Products at two of three steps for the tiny recording's four pool and two test examples."""
    random = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return random.normal(size=shape).astype(np.float32)

    divided, own = draw(2, 4, 2), draw(2, 4)
    divided[0] = own[0] = np.nan
    return GradientProducts(7, np.array([0, 3]), np.array([0.3, 0.2, 0.1]), draw(2, 4, 2), divided, draw(2, 4), own)


def test_products_are_read_as_written_and_change_no_fingerprint(
    tmp_path: Path, dynamics: Dynamics, gradients: GradientProducts
) -> None:
    path = tmp_path / "a.h5"
    write_dynamics(path, dynamics)
    assert read_dynamics(path).gradients is None
    append_gradients(path, gradients)
    found = read_dynamics(path)
    assert found.gradients is not None
    assert found.gradients.fingerprint == gradients.fingerprint
    assert found.fingerprint == dynamics.fingerprint
    write_dynamics(tmp_path / "b.h5", found)
    whole = read_dynamics(tmp_path / "b.h5").gradients
    assert whole is not None
    assert whole.fingerprint == gradients.fingerprint


def test_products_in_blocks_are_added_as_those_in_memory_and_take_the_runs_in(
    tmp_path: Path, dynamics: Dynamics, gradients: GradientProducts, make_run: Callable[[int], Run]
) -> None:
    blocked = replace(
        gradients,
        raw=as_products(BlockedProducts([ChosenColumns(Held(one), np.arange(2)) for one in gradients.raw])),
        preconditioned=as_products(BlockedProducts([Held(one) for one in gradients.preconditioned])),
    )
    assert blocked.fingerprint == gradients.fingerprint
    path = tmp_path / "a.h5"
    write_dynamics(path, dynamics)
    append_run(path, make_run(5))
    link = tmp_path / "link.h5"
    link.symlink_to(path)
    append_gradients(link, blocked)
    assert link.is_symlink()
    found = read_dynamics(path)
    assert found.gradients is not None
    assert found.gradients.fingerprint == gradients.fingerprint
    assert [run.index for run in found.runs][-1] == 5
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.h5", "link.h5"]
    before = path.read_bytes()
    with pytest.raises(DataError, match="has gradient products already"):
        append_gradients(path, blocked)
    assert path.read_bytes() == before


def test_runs_can_be_added_after_products(
    tmp_path: Path, dynamics: Dynamics, gradients: GradientProducts, make_run: Callable[[int], Run]
) -> None:
    path = tmp_path / "a.h5"
    write_dynamics(path, replace(dynamics, gradients=gradients))
    append_run(path, make_run(5))
    found = read_dynamics(path)
    assert len(found.runs) == 3
    assert found.gradients is not None


def test_products_are_added_once(tmp_path: Path, dynamics: Dynamics, gradients: GradientProducts) -> None:
    path = tmp_path / "a.h5"
    write_dynamics(path, replace(dynamics, gradients=gradients))
    before = path.read_bytes()
    with pytest.raises(DataError, match="has gradient products already"):
        append_gradients(path, gradients)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": np.array([3, 0])}, "steps that don't ascend"),
        ({"steps": np.array([], dtype=np.int64)}, "steps that don't ascend"),
        ({"steps": np.array([0, 4])}, "at step 4 of 3"),
        ({"learning_rates": np.array([0.3, np.nan, 0.1])}, "not finite"),
        ({"raw": np.zeros((2, 4, 3))}, r"\(raw\) have the shape \(2, 4, 3\), not \(2, 4, 2\)"),
        ({"preconditioned": np.zeros((1, 4, 2))}, r"\(preconditioned\) have the shape"),
        ({"self_raw": np.zeros((2, 5))}, r"\(self_raw\) have the shape \(2, 5\), not \(2, 4\)"),
        ({"self_preconditioned": np.zeros((2, 4), dtype=np.int64)}, r"\(self_preconditioned\)"),
    ],
)
def test_products_that_do_not_fit_are_refused(
    tmp_path: Path, dynamics: Dynamics, gradients: GradientProducts, change: dict[str, np.ndarray], message: str
) -> None:
    path = tmp_path / "a.h5"
    write_dynamics(path, dynamics)
    before = path.read_bytes()
    with pytest.raises(DataError, match=f"its gradient products .*{message}.*--gradients reference"):
        append_gradients(path, replace(gradients, **change))
    assert path.read_bytes() == before


def test_a_file_with_other_products_than_examples_is_refused(
    tmp_path: Path, dynamics: Dynamics, gradients: GradientProducts
) -> None:
    path = tmp_path / "a.h5"
    write_dynamics(path, replace(dynamics, gradients=gradients))
    with h5py.File(path, "r+") as file:
        del file["gradients/raw"]
        file["gradients/raw"] = np.zeros((2, 4, 1), dtype=np.float32)
    with pytest.raises(DataError, match=r"a\.h5: its gradient products \(raw\) have the shape \(2, 4, 1\)"):
        read_dynamics(path)
    with h5py.File(path, "r+") as file:
        del file["gradients/raw"]
    with pytest.raises(DataError, match="raw can't be read"):
        read_dynamics(path)


def test_derivatives_are_read_as_written(tmp_path: Path, dynamics: Dynamics, make_run: Callable[[int], Run]) -> None:
    derived = {"update": np.arange(6.0).reshape(3, 2), "gradient": np.zeros((3, 2), dtype=np.float32)}
    whole = replace(dynamics, runs=(replace(make_run(0), derivatives=derived), make_run(3)))
    write_dynamics(tmp_path / "a.h5", whole)
    append_run(tmp_path / "a.h5", replace(make_run(4), derivatives=derived))
    runs = read_dynamics(tmp_path / "a.h5").runs
    assert [set(run.derivatives) for run in runs] == [{"gradient", "update"}, set(), {"gradient", "update"}]
    for name, values in derived.items():
        np.testing.assert_array_equal(runs[0].derivatives[name], values)
    with pytest.raises(DataError, match=r"run-0005 has derivatives \(update\) of shape \(2, 2\), not \(3, 2\)"):
        append_run(tmp_path / "a.h5", replace(make_run(5), derivatives={"update": np.zeros((2, 2))}))


def test_a_group_gives_back_what_it_was_given(tmp_path: Path, gradients: GradientProducts) -> None:
    with h5py.File(tmp_path / "größe.h5", "w") as file:
        put_products(file.create_group("own"), gradients)
        found = get_products(file["own"], 4, 2)
        assert found.fingerprint == gradients.fingerprint
        with pytest.raises(DataError, match=r"größe\.h5: its gradient products \(raw\) have the shape .*: try again$"):
            get_products(file["own"], 4, 3, remedy="try again")


def test_products_of_no_example_are_refused_for_their_steps_alone(gradients: GradientProducts) -> None:
    check_gradients(gradients, 4, 2, "x")
    nothing = replace(gradients, steps=np.array([], dtype=np.int64))
    with pytest.raises(DataError, match="x: its gradient products are at steps that don't ascend"):
        check_gradients(nothing, 4, 2, "x")
