"""Arrays and forms as a page's script reads them (``assets/form.js``)."""

import base64
from typing import Any

import numpy as np

from gptfl.core.linear_form import LinearForm
from gptfl.simulation.forms import SummedForm

KEPT = 1e-5
"""Singular values below this share of the largest say nothing of summed effects."""


def packed(values: np.ndarray) -> dict[str, Any]:
    """Numbers in single precision, or whole ones in 32 bits, little-endian, as base64 with their shape."""
    whole = np.issubdtype(values.dtype, np.integer)
    data = np.ascontiguousarray(values, dtype="<i4" if whole else "<f4").tobytes()
    return {"type": "i4" if whole else "f4", "shape": list(values.shape), "data": base64.b64encode(data).decode()}


def triangles(values: np.ndarray) -> dict[str, Any]:
    """Symmetric matrices, one after the other: what is on and below the diagonal, in 16 bits of each one's greatest."""
    rows, columns = np.tril_indices(values.shape[1])
    most = np.maximum(np.abs(values).max(axis=(1, 2)), 1e-300)
    whole = np.round(values[:, rows, columns] / most[:, None] * 32767).astype("<i2")
    return {
        "type": "triangles",
        "shape": list(values.shape),
        "most": [float(one) for one in most],
        "data": base64.b64encode(whole.tobytes()).decode(),
    }


def linear_json(form: LinearForm, level: float) -> dict[str, Any]:
    """A linear form with the intervals of one level."""
    variance, breadth, intervals = form.variance, form.breadth, form.intervals
    arrays = {
        "steps_at": form.recipe.steps,
        "learning_rates": form.recipe.learning_rates,
        "first": form.first,
        "weights": form.weights,
        "factors": form.factors,
        "base": form.base,
        "slope": form.slope,
        "square_factors": variance.factors,
        "squares": variance.squares,
        "rows": variance.rows,
        "known": variance.known,
        "spread": variance.spread,
        "noise": variance.noise,
        "breadth_least": breadth.least,
        "breadth_most": breadth.most,
        "lately": breadth.lately,
        "extremes": np.nan_to_num(intervals.extremes, posinf=3e38, neginf=-3e38),
    }
    link = form.link
    numbers = {
        "link": {"name": link.name, "low": _bound(link.low), "high": _bound(link.high)},
        "batch_size": form.recipe.batch_size,
        "breadth_share": breadth.share,
        "breadth_rounding": breadth.rounding,
        "interval_scale": intervals.scale,
        "reach": intervals.reach.get(level, 0.0),
        "trials": form.trials,
    }
    kept = {name: packed(one) for name, one in arrays.items()}
    kept["quadratic"] = triangles(variance.quadratic)
    return {"kind": "linear", "arrays": kept, "numbers": numbers}


def summed_json(form: SummedForm) -> dict[str, Any]:
    """Summed effects, in as few numbers as tell them."""
    pool = len(form.effects)
    left, values, right = np.linalg.svd(form.effects.reshape(pool, -1), full_matrices=False)
    rank = max(1, int((values > KEPT * values[0]).sum()))
    cells = (right[:rank].T * values[:rank]).reshape(*form.whole.shape, rank)
    arrays = {"steps_at": form.steps, "whole": form.whole, "factors": left[:, :rank], "effects": cells}
    numbers = {"low": _bound(form.low), "high": _bound(form.high)}
    return {"kind": "summed", "arrays": {name: packed(one) for name, one in arrays.items()}, "numbers": numbers}


def _bound(value: float) -> float:
    """A bound as JSON can hold it."""
    return float(np.clip(value, -1e300, 1e300))
