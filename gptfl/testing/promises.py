"""What every check shares."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from gptfl.errors import DataError


def require(kept: bool, broken: str) -> None:
    """Raise ``AssertionError`` that says which promise is broken, unless it is kept."""
    if not kept:
        raise AssertionError(broken)


def require_members(part: object, protocol: type, members: tuple[str, ...]) -> None:
    """Every member of the interface is there."""
    missing = [member for member in members if not hasattr(part, member)]
    require(not missing, f"{type(part).__name__} lacks {', '.join(missing)} of {protocol.__name__}")


def require_name(part: Any) -> str:
    """The part's name is a string that is not empty."""
    name = part.name
    require(isinstance(name, str) and bool(name), f"{type(part).__name__}.name is {name!r}, not a name")
    return str(name)


def through_json(values: Mapping[str, Any], what: str) -> dict[str, Any]:
    """The mapping after a round trip through JSON, which must not change it."""
    require(isinstance(values, Mapping), f"{what} is {type(values).__name__}, not a mapping")
    try:
        back = json.loads(json.dumps(dict(values), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise AssertionError(f"{what} can't be written as JSON: {error}") from error
    require(back == dict(values), f"{what} does not come back from JSON as it went in: {values!r} became {back!r}")
    return dict(back)


def require_finite(array: object, what: str) -> None:
    """A floating-point array without NaN or infinity."""
    require(isinstance(array, np.ndarray), f"{what} is {type(array).__name__}, not a numpy array")
    assert isinstance(array, np.ndarray)
    require(array.dtype.kind == "f", f"{what} has dtype {array.dtype}, not a floating-point one")
    bad = int((~np.isfinite(array)).sum())
    require(bad == 0, f"{what} holds {bad} values that are not finite")


def require_close(one: np.ndarray, other: np.ndarray, broken: str) -> None:
    """Equal but for rounding of single-precision matrix products."""
    scale = float(np.max(np.abs(one), initial=1.0))
    require(
        one.shape == other.shape and bool(np.allclose(one, other, rtol=1e-4, atol=1e-5 * scale)),
        f"{broken} (largest difference {_difference(one, other)})",
    )


def require_equal(one: np.ndarray, other: np.ndarray, broken: str) -> None:
    """Equal to the last bit."""
    require(np.array_equal(one, other, equal_nan=True), f"{broken} (largest difference {_difference(one, other)})")


def _difference(one: np.ndarray, other: np.ndarray) -> str:
    if one.shape != other.shape:
        return f"of shape: {one.shape} and {other.shape}"
    return f"{float(np.max(np.abs(one - other), initial=0.0)):.3g}"


def refuses(action: Any, what: str) -> None:
    """The action raises ``DataError``, and nothing else."""
    try:
        action()
    except DataError:
        return
    except Exception as error:
        raise AssertionError(f"{what} raises {type(error).__name__} rather than DataError: {error}") from error
    raise AssertionError(f"{what} raises nothing, where DataError is promised")
