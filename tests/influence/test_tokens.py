"""Influence by target token: sums of gradients, and what first order makes of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gptfl
from gptfl.core import TokenSketches
from gptfl.errors import GptflError
from gptfl.influence.tokens import sets_of
from gptfl.report.ranking import to_csv, to_json
from gptfl.store.recordings import read_dynamics


@pytest.fixture(scope="module")
def study(neox: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with four runs, sketches that hold the gradients well, and a simulator."""
    root = tmp_path_factory.mktemp("tokens")
    gptfl.collect(
        str(neox), "errands", workspace=root, runs=4, pool=12, test=6, subset_size=6, batch_size=3, steps=4, lr=1e-3,
        design="contrast", sketches=True, sketch_points=2, sketch_dimensions=4096, name="s",
    )  # fmt: skip
    gptfl.featurize("gradients", workspace=root)
    gptfl.fit("exposure-gp", workspace=root, settings={"products": False})
    return root


def test_tokens_add_up_to_the_example(study: Path, neox: Path) -> None:
    dynamics = read_dynamics(study / "s.dynamics.h5")
    example = max(dynamics.test, key=lambda one: len(one.target))
    found = gptfl.rank(on=f"test:{example.id}", tokens=True, model=str(neox), workspace=study)
    assert found.tokens is not None
    assert "".join(found.tokens.tokens).strip() == example.target.strip()
    assert found.tokens.influence.shape == (12, len(found.tokens.tokens))
    # First order says of the whole example what it says of its tokens on average.
    estimator: Any = gptfl.open_simulator(workspace=study).opened.named.estimator
    assert estimator.products is False
    model = estimator.model_
    place = dynamics.test.index(example)
    train = {name: one.train for name, one in model.sources.sets.items()}
    whole = {name: one.test[place : place + 1] for name, one in model.sources.sets.items()}
    expected = estimator.first_order_of(train, whole, place)[:, 0]
    np.testing.assert_allclose(
        found.tokens.influence.mean(axis=1), expected, atol=2e-2 * np.abs(expected).max(initial=1e-30)
    )
    assert np.abs(expected).max() > 0.0
    assert to_csv(found).splitlines()[0].split(",")[6] == "token 1"
    assert json.loads(to_json(found))["tokens"] == list(found.tokens.tokens)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on": "mean"}, "--tokens is of one test example: name it with --on test:ID"),
        ({}, "--tokens computes gradients again, and no model is named: add --model"),
        ({"estimators": ("exposure-gp", "exposure-gp")}, "--tokens is by one simulator, and 2 were named"),
        ({"model": "tiny"}, "has other weights than"),
    ],
)
def test_what_tells_no_tokens_is_refused(study: Path, quick_tiny: None, options: dict[str, Any], message: str) -> None:
    first = read_dynamics(study / "s.dynamics.h5").test[0].id
    with pytest.raises(GptflError, match=message) as found:
        gptfl.rank(**{"on": f"test:{first}", "tokens": True, "workspace": study, **options})
    assert "\n" not in str(found.value)


def test_sketches_become_the_vectors_of_the_sets_that_were_fitted() -> None:
    random = np.random.default_rng(0)
    raw, split = (random.normal(size=(3, 8)).astype(np.float32) for _ in range(2))
    tokens = TokenSketches(("a", "b", "c"), {("raw", 4): raw, ("split", 4): split})
    like = {name: np.zeros((2, 8)) for name in ("raw-4", "split-4", "preconditioned-4")}
    found = sets_of(tokens, like)
    np.testing.assert_array_equal(found["raw-4"], raw)
    np.testing.assert_array_equal(found["split-4"], split)
    np.testing.assert_array_equal(found["preconditioned-4"], raw)
    with pytest.raises(GptflError, match="fitted to minilm, which is no set of gradient sketches"):
        sets_of(tokens, {"minilm": np.zeros((2, 8))})


@pytest.mark.parametrize("batching", [{"group_by_length": True}, {"packing": "bfd", "max_length": 64}])
def test_the_reference_run_is_trained_again_in_batches_of_its_own_kind(
    batching: dict[str, Any], neox: Path, tmp_path: Path
) -> None:
    gptfl.collect(
        str(neox), "errands", workspace=tmp_path, runs=3, pool=12, test=4, subset_size=6, batch_size=2, steps=4, lr=1e-2,
        design="contrast", sketches=True, sketch_points=2, sketch_dimensions=256, name="s", **batching,
    )  # fmt: skip
    gptfl.featurize("gradients", workspace=tmp_path)
    gptfl.fit("exposure-gp", workspace=tmp_path)
    test = read_dynamics(tmp_path / "s.dynamics.h5").test[0]
    found = gptfl.rank(on=f"test:{test.id}", tokens=True, model=str(neox), workspace=tmp_path)
    assert found.tokens is not None
    assert np.isfinite(found.tokens.influence).all()
