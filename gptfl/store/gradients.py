"""Gradient products inside a recording."""

import math

import h5py
import numpy as np
from jaxtyping import Float

from gptfl.core import GradientProducts
from gptfl.core.blocked_products import BlockedProducts, any_finite, as_products
from gptfl.errors import DataError
from gptfl.interruption import uninterrupted
from gptfl.store import hdf5
from gptfl.store.large_files import LargeFile
from gptfl.store.stored_products import stored_products

PRODUCTS = ("raw", "preconditioned")
OWN = ("self_raw", "self_preconditioned")
OWN_COUNTED = "own_counted"
REMEDY = "record it again with gptfl collect --gradients reference"
LARGE = 2**25
"""Products that are so many numbers or more, of one kind, stay in their file, and are read some rows at a time."""


def put_gradients(
    file: h5py.File, gradients: GradientProducts, pool: int, test: int, large: LargeFile | None = None
) -> None:
    """Keep products in a recording.

    Args:
        file: the recording, open to write.
        gradients: the products.
        pool: how many training examples it has.
        test: how many test examples it has.
        large: the same recording, where products go to the disk some rows at a time.

    Raises ``DataError`` if it has some already or they don't fit it.
    """
    check_gradients(gradients, pool, test, str(hdf5.path_of(file)))
    if "gradients" in file:
        raise DataError(f"{hdf5.path_of(file)} has gradient products already", "record under another --name")
    put_products(file.create_group("gradients"), gradients, large)


def put_products(group: h5py.Group, gradients: GradientProducts, large: LargeFile | None = None) -> None:
    """Keep products in a group; with ``large``, the file that it is in, some rows at a time where they come so."""
    with uninterrupted():
        hdf5.put_number(group, "seed", gradients.seed)
        put_own_counted(group, gradients.own_counted)
        hdf5.put_array(group, "steps", gradients.steps)
        hdf5.put_array(group, "learning_rates", gradients.learning_rates)
        for name in OWN:
            hdf5.put_array(group, name, getattr(gradients, name))
    for name in PRODUCTS:
        given = getattr(gradients, name)
        if large is None or not isinstance(given, BlockedProducts):
            with uninterrupted():
                hdf5.put_array(group, name, np.asarray(given))
        elif any_finite(as_products(given)):
            large.put_rows(group, name, given.shape, given.dtype, given.blocks())
        else:
            large.put_unknown(group, name, given.shape, given.dtype)


def _products(group: h5py.Group, name: str) -> Float[np.ndarray, "point pool test"]:
    """Products of one kind, in memory or, where they are ``LARGE``, as they lie in the file."""
    shape = hdf5.get_shape(group, name, "f")
    if len(shape) != 3 or math.prod(shape) < LARGE or shape[0] == 0:
        return hdf5.get_array(group, name, 3, "f")
    return as_products(BlockedProducts(stored_products(hdf5.get_dataset(group, name, 3, "f"))))


def get_gradients(file: h5py.File, pool: int, test: int) -> GradientProducts | None:
    """The products of a recording; None if it has none. Raises ``DataError`` where they don't fit it."""
    if "gradients" not in file:
        return None
    return get_products(hdf5.get_group(file, "gradients"), pool, test)


def get_products(group: h5py.Group, pool: int, test: int, remedy: str = REMEDY) -> GradientProducts:
    """The products in a group.

    Args:
        group: of an open recording.
        pool: how many training examples it has.
        test: how many test examples it has.
        remedy: what to do about products that don't fit, for the message.

    Raises ``DataError`` where they don't fit so many examples.
    """
    gradients = GradientProducts(
        seed=hdf5.get_int(group, "seed"),
        steps=hdf5.get_array(group, "steps", 1, "i"),
        learning_rates=hdf5.get_array(group, "learning_rates", 1, "f"),
        **{name: _products(group, name) for name in PRODUCTS},
        **{name: hdf5.get_array(group, name, 2, "f") for name in OWN},
        own_counted=get_own_counted(group),
    )
    check_gradients(gradients, pool, test, str(hdf5.path_of(group)), remedy)
    return gradients


def put_own_counted(group: h5py.Group, counted: bool) -> None:
    """Keep that each example's own gradient counts in what divides it; nothing is kept where it doesn't."""
    if counted:
        hdf5.put_number(group, OWN_COUNTED, 1)


def get_own_counted(group: h5py.Group) -> bool:
    """Whether each example's own gradient counts in what divides it: not in files of older versions."""
    return OWN_COUNTED in group.attrs and hdf5.get_int(group, OWN_COUNTED) == 1


def check_gradients(gradients: GradientProducts, pool: int, test: int, where: str, remedy: str = REMEDY) -> None:
    """Refuse products that don't belong to so many examples and one run.

    Args:
        gradients: the products.
        pool: how many training examples there are.
        test: how many test examples there are.
        where: the file, for the message.
        remedy: what to do about it, for the message.

    Raises ``DataError``.
    """
    problem = _problem_with(gradients, pool, test)
    if problem:
        raise DataError(f"{where}: its gradient products {problem}", remedy)


def _problem_with(gradients: GradientProducts, pool: int, test: int) -> str:
    steps, rates = gradients.steps, gradients.learning_rates
    if rates.ndim != 1 or not np.isfinite(rates).all() or (rates < 0).any():
        return "have a learning rate that is negative or not finite"
    if steps.ndim != 1 or steps.dtype.kind != "i" or not len(steps) or (np.diff(steps) <= 0).any():
        return "are at steps that don't ascend"
    if not (steps[0] >= 0 and steps[-1] <= len(rates)):
        return f"are at step {int(steps[-1])} of {len(rates)}"
    shapes = dict.fromkeys(PRODUCTS, (len(steps), pool, test)) | dict.fromkeys(OWN, (len(steps), pool))
    for name, shape in shapes.items():
        found = getattr(gradients, name)
        if found.shape != shape or found.dtype.kind != "f":
            return f"({name}) have the shape {found.shape}, not {shape}"
    return ""
