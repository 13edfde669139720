"""Arrays as a page's script reads them, unpacked again by hand."""

import base64
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gptfl.report.page.arrays import linear_json, packed, summed_json, triangles
from gptfl.simulation.forms import SummedForm, linear_form_of


def unpacked(one: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(one["data"]), f"<{one['type']}").reshape(one["shape"])


@pytest.mark.parametrize(
    "values", [np.arange(6).reshape(2, 3), np.array([[-1.5, np.nan]]), np.zeros((0, 4)), np.int8([3])]
)
def test_numbers_come_back_in_single_precision(values: np.ndarray) -> None:
    one = json.loads(json.dumps(packed(values)))
    assert one["type"] == ("i4" if values.dtype.kind == "i" else "f4")
    np.testing.assert_array_equal(unpacked(one), values)
    turned = packed(np.asfortranarray(values))
    assert turned == one


def test_symmetric_matrices_come_back_to_sixteen_bits() -> None:
    random = np.random.default_rng(0)
    half = random.normal(size=(3, 4, 4))
    values = half + half.transpose(0, 2, 1)
    values[2] = 0.0
    one = triangles(values)
    whole = np.frombuffer(base64.b64decode(one["data"]), "<i2").reshape(3, 10)
    found = np.zeros_like(values)
    place = 0
    for row in range(4):
        for column in range(row + 1):
            found[:, row, column] = found[:, column, row] = whole[:, place] / 32767 * one["most"]
            place += 1
    np.testing.assert_allclose(found, values, atol=np.abs(values).max() / 32767)
    np.testing.assert_array_equal(found[2], 0.0)


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_summed_effects_take_as_few_numbers_as_tell_them(rank: int) -> None:
    random = np.random.default_rng(0)
    effects = np.einsum("pk,krt->prt", random.normal(size=(8, rank)), random.normal(size=(rank, 3, 2)))
    form = SummedForm(np.array([0, 2, 4]), random.normal(size=(3, 2)), effects, -np.inf, 1.0)
    document = summed_json(form)
    arrays = {name: unpacked(one) for name, one in document["arrays"].items()}
    assert arrays["factors"].shape == (8, max(rank, 1))
    np.testing.assert_allclose(np.einsum("pk,rtk->prt", arrays["factors"], arrays["effects"]), effects, atol=1e-5)
    assert document["numbers"] == {"low": -1e300, "high": 1.0}
    assert json.loads(json.dumps(document, allow_nan=False))["kind"] == "summed"


def test_a_linear_form_has_every_array_that_its_predictions_take(fitted: SimpleNamespace) -> None:
    form = linear_form_of(fitted.source)
    document = json.loads(json.dumps(linear_json(form, 0.9), allow_nan=False))
    arrays = {name: unpacked(one) for name, one in document["arrays"].items() if name != "quadratic"}
    members = np.array([0, 3, 5])
    state = arrays["factors"][members].sum(axis=0) / arrays["weights"][members].sum()
    even = arrays["base"] + arrays["slope"] @ state
    expected = form.predict(members).values
    np.testing.assert_allclose(form.link.back(even.astype(np.float64))[1:], expected[1:], rtol=1e-4)
    assert document["numbers"]["reach"] == form.intervals.reach[0.9]
    assert linear_json(form, 0.123)["numbers"]["reach"] == 0.0
