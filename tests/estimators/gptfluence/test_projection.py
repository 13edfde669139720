"""Projections of vectors, against plain products."""

import pytest
import torch

from gptfl.estimators.gptfluence.projection import Form, fresh, hidden, project, uninformed
from gptfl.estimators.gptfluence.update_rule import UpdateRule


@pytest.mark.parametrize("projection", ["mlp", "linear"])
@pytest.mark.parametrize("shared", [True, False])
def test_fresh_projections_have_their_shapes_and_start_near_persistence(projection: str, shared: bool) -> None:
    form = Form(3, projection, shared, inputs=6, width=32)
    parameters = fresh(form, UpdateRule(4), torch.Generator().manual_seed(0))
    assert {name: tuple(value.shape) for name, value in parameters.items()} == form.shapes()
    vectors = torch.randn(40, 6, generator=torch.Generator().manual_seed(1))
    train, test = (project(vectors, parameters, side) for side in form.sides)
    whole = 4 * torch.bmm(train, test.transpose(1, 2))
    assert float((whole[0] - 1).abs().mean()) < 0.1
    assert float(whole[1:].abs().mean()) < 0.1


@pytest.mark.parametrize("projection", ["mlp", "linear"])
@pytest.mark.parametrize("shared", [True, False])
def test_projecting_is_a_plain_product_for_each_factor_and_example(projection: str, shared: bool) -> None:
    form = Form(2, projection, shared, inputs=3, width=4)
    random = torch.Generator().manual_seed(2)
    parameters = {name: torch.randn(shape, generator=random) for name, shape in form.shapes().items()}
    vectors = torch.randn(5, 3, generator=random)
    for side in form.sides:
        found = project(vectors, parameters, side)
        assert found.shape == (2, 5, 4)
        for factor in range(2):
            for row in range(5):
                inner = vectors[row]
                if projection == "mlp":
                    inner = (
                        inner @ parameters[f"{side}.hidden.weight"][factor]
                        + parameters[f"{side}.hidden.bias"][factor, 0]
                    )
                    inner = inner.clamp(min=0)
                torch.testing.assert_close(hidden(vectors, parameters, side)[factor, row], inner)
                expected = inner @ parameters[f"{side}.out.weight"][factor] + parameters[f"{side}.out.bias"][factor, 0]
                torch.testing.assert_close(found[factor, row], expected)


def test_sides_that_are_shared_have_one_set_of_parameters() -> None:
    assert Form(2, "linear", True, 3, 4).shapes() == {"both.out.weight": (2, 3, 4), "both.out.bias": (2, 1, 4)}
    apart = Form(2, "mlp", False, 3, 4).shapes()
    assert {name.partition(".")[0] for name in apart} == {"train", "test"}
    assert apart["train.hidden.weight"] == (2, 3, 4)
    assert apart["test.out.weight"] == (2, 4, 4)


def test_without_any_knowledge_each_layer_begins_as_pytorch_fills_it() -> None:
    form = Form(3, "mlp", False, inputs=25, width=100)
    parameters = uninformed(form, torch.Generator().manual_seed(0))
    for name, value in parameters.items():
        bound = (25 if ".hidden." in name else 100) ** -0.5
        assert float(value.abs().max()) <= bound
        assert float(value.abs().max()) > 0.9 * bound, name


def test_an_anchored_law_begins_with_no_change_at_all() -> None:
    form = Form(2, "linear", False, inputs=4, width=8)
    anchored = fresh(form, UpdateRule(4, anchored=True), torch.Generator().manual_seed(0))
    assert all(not value.any() for name, value in anchored.items() if name.endswith("bias"))
    plain = fresh(form, UpdateRule(4), torch.Generator().manual_seed(0))
    first = [plain[f"{side}.out.bias"][0, 0] for side in form.sides]
    assert 4 * float(first[0] @ first[1]) == pytest.approx(1.0)
