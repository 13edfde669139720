"""What gptfluence's state holds comes back, and nothing else does."""

from typing import Any

import numpy as np
import pytest
import torch

from gptfl.errors import DataError
from gptfl.estimators.gptfluence.mean_run import MeanTrajectory
from gptfl.estimators.gptfluence.projection import Form
from gptfl.estimators.gptfluence.state import (
    array_of,
    course_arrays,
    course_of,
    law_of,
    parameters_of,
    standard_arrays,
    standards_of,
)
from gptfl.estimators.gptfluence.vectors import Standard

FORM = Form(2, "linear", shared=False, inputs=3, width=4)
LAW: dict[str, Any] = {"scale": np.array(2.0), "modal": np.array(3.0), "rate": np.array(0.1), "batch": np.array(4.0)}


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (None, "gptfluence's state lacks array 'a': fit the simulator again"),
        (np.ones(2), "'a' is not a finite 2-dimensional array of numbers"),
        (np.ones((2, 2), dtype=int), "'a' is not a finite"),
        (np.array([["x"]]), "'a' is not a finite"),
        (np.array([[np.inf]]), "'a' is not a finite"),
        (np.array([[np.nan]]), "'a' is not a finite"),
    ],
)
def test_an_array_of_another_kind_is_refused(array: np.ndarray | None, message: str) -> None:
    with pytest.raises(DataError) as caught:
        array_of({} if array is None else {"a": array}, "a", 2)
    assert message in str(caught.value)


def test_an_array_is_a_copy_in_single_precision() -> None:
    given = np.ones((2, 2))
    found = array_of({"a": given}, "a", 2)
    found[0, 0] = 5.0
    assert found.dtype == torch.float32
    assert given[0, 0] == 1.0


def test_projections_have_the_shape_of_their_form() -> None:
    state = {name: np.ones(shape) for name, shape in FORM.shapes().items()}
    assert {name: tuple(one.shape) for name, one in parameters_of(state, FORM).items()} == FORM.shapes()
    state["test.out.bias"] = np.ones((2, 1, 5))
    with pytest.raises(DataError, match=r"'test\.out\.bias' is \(2, 1, 5\), not \(2, 1, 4\)"):
        parameters_of(state, FORM)


def test_standards_come_back_one_or_two_or_none_of_an_old_simulator() -> None:
    train, test = Standard(np.arange(3.0), 2.0), Standard(np.ones(3), 0.5)
    same = standards_of(standard_arrays(train, train), 3)
    assert same is not None
    assert same[0] is same[1]
    np.testing.assert_array_equal(same[0].mean, train.mean)
    both = standards_of(standard_arrays(train, test), 3)
    assert both is not None
    assert (both[0].scale, both[1].scale) == (2.0, 0.5)
    assert standards_of({}, 3) is None
    for broken in ({"vectors.scale": np.array(0.0)}, {"vectors.scale": np.array(-1.0)}, {"vectors.mean": np.ones(4)}):
        with pytest.raises(DataError, match=r"vectors\.mean and vectors\.scale don't fit its vectors"):
            standards_of({**standard_arrays(train, train), **broken}, 3)
    with pytest.raises(DataError, match=r"lacks array 'vectors\.scale'"):
        standards_of({"vectors.mean": np.ones(3)}, 3)


def test_the_law_comes_back() -> None:
    scale, law = law_of({**LAW, "relative": np.array([1.0, 2.0, 0.5])}, anchored=True, step_size=True, pool=3)
    assert scale == 2.0
    assert (law.modal, law.anchored, law.batch) == (3, True, 4)
    assert law.rate == pytest.approx(0.1)
    np.testing.assert_array_equal(law.relative, [1.0, 2.0, 0.5])
    old = {name: LAW[name] for name in ("scale", "modal")}
    _, law = law_of(old, anchored=False, step_size=False, pool=3)
    assert (law.rate, law.batch, law.relative) == (None, None, None)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scale": np.array(0.0)}, "scale 0.0 or modal batch 3.0 is out of range"),
        ({"modal": np.array(0.0)}, "modal batch 0.0 is out of range"),
        ({"modal": np.array(2.5)}, "modal batch 2.5 is out of range"),
        ({"rate": np.array(0.0)}, "mean learning rate 0.0 is out of range"),
        ({"batch": np.array(1.5)}, "usual batch 1.5 is out of range"),
        ({"relative": np.ones(2)}, "'relative' is not of its examples"),
        ({"relative": np.array([1.0, 0.0, 1.0])}, "'relative' is not of its examples"),
    ],
)
def test_a_law_out_of_range_is_refused(changed: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(DataError, match=message):
        law_of({**LAW, **changed}, anchored=False, step_size=True, pool=3)


def course() -> tuple[MeanTrajectory, torch.Tensor]:
    mean = np.arange(6.0).reshape(3, 2)
    return MeanTrajectory(np.array([0, 2, 5]), mean, torch.full((5,), 3.0), torch.ones(5)), torch.ones(2, 5, 4)


def test_the_mean_run_comes_back() -> None:
    made, sums = course()
    found, again = course_of(course_arrays(made, sums), FORM, 2)
    np.testing.assert_array_equal(found.grid, made.grid)
    assert found.grid.dtype == np.int64
    np.testing.assert_array_equal(found.mean, made.mean)
    torch.testing.assert_close(found.sizes, made.sizes)
    torch.testing.assert_close(found.totals, made.totals)
    torch.testing.assert_close(again, sums)


@pytest.mark.parametrize(
    "changed",
    [
        {"mean.steps": np.array([0.0, 2.0])},
        {"mean.steps": np.array([0.0, 2.0, 2.0])},
        {"mean.steps": np.array([-1.0, 2.0, 5.0])},
        {"mean.steps": np.array([0.0, 2.0, 6.0])},
        {"mean.steps": np.empty(0), "mean.values": np.empty((0, 2))},
        {"mean.values": np.ones((3, 3))},
        {"mean.totals": np.ones(4)},
        {"mean.sums": np.ones((2, 5, 3))},
    ],
)
def test_a_mean_run_that_does_not_fit_is_refused(changed: dict[str, np.ndarray]) -> None:
    with pytest.raises(DataError, match="mean run doesn't fit its steps, test examples or projections"):
        course_of({**course_arrays(*course()), **changed}, FORM, 2)
