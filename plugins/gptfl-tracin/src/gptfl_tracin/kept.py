"""What a simulator keeps of gradient products, and what it makes of that again."""

from collections.abc import Mapping, Sequence

import numpy as np

from gptfl.core.blocked_rows import BlockedRows
from gptfl_tracin.products import Products, ProductsElsewhere, SketchedProducts


def products_state(products: Sequence[Products]) -> dict[str, np.ndarray]:
    """Products or the sketches that they are of, where these are in memory, else how large they are."""
    sketched = [one for one in products if isinstance(one, SketchedProducts)]
    if len(sketched) == len(products) and not any(isinstance(one.train, BlockedRows) for one in sketched):
        return {side: np.stack([getattr(one, side) for one in sketched]) for side in ("train", "test")}
    if any(isinstance(one, BlockedRows) for one in products):
        return {"shape": np.array(products[0].shape)}
    return {"products": np.stack([np.asarray(one) for one in products])}


def missing_products(state: Mapping[str, np.ndarray], sketches: bool) -> list[str]:
    """The arrays that a state should have and hasn't, or has ill-shaped."""
    if "shape" in state:
        shape = np.asarray(state["shape"])
        fits = shape.shape == (2,) and shape.dtype.kind in "iu" and (shape >= 0).all()
        return [] if fits else ["shape"]
    names = ("train", "test") if sketches else ("products",)
    return [name for name in names if name not in state or state[name].ndim != 3]


def products_from(state: Mapping[str, np.ndarray], points: int) -> Sequence[Products]:
    """The products of a state that lacks nothing; no more than their size where they aren't kept."""
    if "shape" in state:
        return [ProductsElsewhere((int(state["shape"][0]), int(state["shape"][1])))] * points
    if "products" in state:
        return list(state["products"])
    train, test = state["train"], state["test"]
    if len(train) != len(test) or train.shape[2] != test.shape[2]:
        return []
    return [SketchedProducts(*one) for one in zip(train, test, strict=True)]
