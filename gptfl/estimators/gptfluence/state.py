"""What gptfluence's state holds, checked array by array as it comes back."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gptfl.core.blocked_rows import Elsewhere
from gptfl.errors import DataError
from gptfl.estimators.gptfluence.mean_run import MeanTrajectory
from gptfl.estimators.gptfluence.pool_rows import PoolRows
from gptfl.estimators.gptfluence.projection import Form
from gptfl.estimators.gptfluence.update_rule import UpdateRule
from gptfl.estimators.gptfluence.vectors import Standard

AGAIN = "fit the simulator again"


def array_of(state: Mapping[str, np.ndarray], name: str, ndim: int) -> Tensor:
    """One array of a state as float32. Raises ``DataError`` where it is missing or not an array of numbers."""
    if name not in state:
        raise DataError(f"gptfluence's state lacks array {name!r}", AGAIN)
    found = np.asarray(state[name])
    if found.ndim != ndim or found.dtype.kind != "f" or not np.isfinite(found).all():
        raise DataError(f"gptfluence's array {name!r} is not a finite {ndim}-dimensional array of numbers", AGAIN)
    return torch.from_numpy(np.array(found, dtype=np.float32))


def pool_arrays(train: Tensor | PoolRows) -> dict[str, np.ndarray]:
    """The pool's vectors as arrays of a state; of those that lie in a file, only how many there are."""
    if isinstance(train, Tensor):
        return {"vectors.train": train.numpy()}
    return {"vectors.pool": np.array(len(train), dtype=np.int64)}


def pool_of(state: Mapping[str, np.ndarray], inputs: int) -> Tensor | PoolRows:
    """The pool's vectors, or where they are to be put. Raises ``DataError`` where a state says neither.

    Args:
        state: arrays by name, from a file.
        inputs: how long a vector is.
    """
    if "vectors.pool" not in state:
        return array_of(state, "vectors.train", 2)
    pool, standards = np.asarray(state["vectors.pool"]), standards_of(state, inputs)
    if pool.ndim != 0 or pool.dtype.kind != "i" or pool < 1 or standards is None:
        raise DataError("gptfluence's array 'vectors.pool' is not a number of examples that can be placed", AGAIN)
    return PoolRows(Elsewhere((int(pool), inputs)), standards[0])


def parameters_of(state: Mapping[str, np.ndarray], form: Form) -> dict[str, Tensor]:
    """The projections' parameters. Raises ``DataError`` where one hasn't the form's shape."""
    parameters = {}
    for name, shape in form.shapes().items():
        parameters[name] = array_of(state, name, len(shape))
        if tuple(parameters[name].shape) != shape:
            raise DataError(f"gptfluence's array {name!r} is {tuple(parameters[name].shape)}, not {shape}", AGAIN)
    return parameters


def standard_arrays(train: Standard, test: Standard) -> dict[str, np.ndarray]:
    """Where vectors lay before they were standardised, as arrays of a state."""
    both = {"vectors.mean": train.mean, "vectors.scale": np.array(train.scale)}
    if test is train:
        return both
    return {**both, "vectors.test_mean": test.mean, "vectors.test_scale": np.array(test.scale)}


def standards_of(state: Mapping[str, np.ndarray], inputs: int) -> tuple[Standard, Standard] | None:
    """The standards of both sides, often one; None for a simulator from before that was kept."""
    train = _standard(state, "vectors.mean", "vectors.scale", inputs)
    if train is None:
        return None
    return train, _standard(state, "vectors.test_mean", "vectors.test_scale", inputs) or train


def _standard(state: Mapping[str, np.ndarray], at: str, by: str, inputs: int) -> Standard | None:
    if at not in state and by not in state:
        return None
    for name, ndim in ((at, 1), (by, 0)):
        array_of(state, name, ndim)
    mean, scale = np.asarray(state[at], dtype=np.float64), float(state[by])
    if len(mean) != inputs or scale <= 0:
        raise DataError(f"gptfluence's {at} and {by} don't fit its vectors", AGAIN)
    return Standard(mean, scale)


def law_of(state: Mapping[str, np.ndarray], anchored: bool, step_size: bool, pool: int) -> tuple[float, UpdateRule]:
    """The metric's scale, and the update rule of the recurrence.

    Args:
        state: arrays by name, from a file.
        anchored: whether the factors say what an example changes, so that none changes nothing.
        step_size: whether learning rates count.
        pool: how many training examples there are.

    Raises ``DataError`` where they are missing or out of range.
    """
    scale, modal = (float(array_of(state, name, 0)) for name in ("scale", "modal"))
    if scale <= 0 or modal < 1 or modal != int(modal):
        raise DataError(f"gptfluence's scale {scale} or modal batch {modal} is out of range", "fit it again")
    rate = float(array_of(state, "rate", 0)) if step_size else None
    if rate is not None and rate <= 0:
        raise DataError(f"gptfluence's mean learning rate {rate} is out of range", "fit it again")
    # Without it, the simulator is from before examples counted by their share of a batch.
    batch = float(array_of(state, "batch", 0)) if "batch" in state else None
    if batch is not None and (batch < 1 or batch != int(batch)):
        raise DataError(f"gptfluence's usual batch {batch} is out of range", "fit it again")
    relative = None if "relative" not in state else array_of(state, "relative", 1).double().numpy()
    if relative is not None and (len(relative) != pool or not (relative > 0).all()):
        raise DataError("gptfluence's array 'relative' is not of its examples", "fit it again")
    return scale, UpdateRule(int(modal), anchored, rate, None if batch is None else int(batch), relative)


def course_arrays(course: MeanTrajectory, sums: Float[Tensor, "factor step width"]) -> dict[str, np.ndarray]:
    """The mean run as arrays of a state: its steps and values, and what was seen at each step on average."""
    return {
        "mean.steps": course.grid.astype(np.float64),
        "mean.values": course.mean,
        "mean.sizes": course.sizes.numpy(),
        "mean.totals": course.totals.numpy(),
        "mean.sums": sums.numpy(),
    }


def course_of(
    state: Mapping[str, np.ndarray], form: Form, test: int
) -> tuple[MeanTrajectory, Float[Tensor, "factor step width"]]:
    """The mean run of a state, and the projections of its batches. Raises ``DataError`` where it isn't one."""
    shapes = {"mean.steps": 1, "mean.values": 2, "mean.sizes": 1, "mean.totals": 1, "mean.sums": 3}
    found = {name: array_of(state, name, ndim) for name, ndim in shapes.items()}
    grid = np.asarray(state["mean.steps"]).astype(np.int64)
    sizes = found["mean.sizes"]
    fits = (
        found["mean.values"].shape == (len(grid), test)
        and found["mean.totals"].shape == sizes.shape
        and found["mean.sums"].shape == (form.factor, len(sizes), form.width)
    )
    if not fits or len(grid) == 0 or grid[0] < 0 or (np.diff(grid) <= 0).any() or grid[-1] > len(sizes):
        raise DataError("gptfluence's mean run doesn't fit its steps, test examples or projections", AGAIN)
    mean = np.asarray(state["mean.values"], dtype=np.float64)
    return MeanTrajectory(grid, mean, sizes, found["mean.totals"]), found["mean.sums"]
