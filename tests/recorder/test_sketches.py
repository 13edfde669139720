"""Gradient sketches along somebody's own run, held against gradients of autograd."""

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf

import gptfl
from gptfl.core import GradientSketches
from gptfl.errors import GptflError
from gptfl.recorder.sketches import LiveSketches
from tests.recorder.own_runs import callback, sketched

Trainers = Callable[..., Any]
CLOSE = 0.02
"""The error of a product from wide sketches, as a share of the lengths of its two gradients: seven standard deviations."""


def gradients(model: Any, rows: list[dict[str, Any]]) -> np.ndarray:
    """Each row's gradient of its mean loss, one parameter after the other."""
    model.eval()
    found = []
    for row in rows:
        given = {key: torch.tensor([row[key]]) for key in ("input_ids", "labels")}
        each = torch.autograd.grad(model(**given).loss, list(model.parameters()))
        found.append(torch.cat([one.flatten() for one in each]).double().numpy())
    return np.stack(found)


def check_products(estimated: np.ndarray, pool: np.ndarray, test: np.ndarray) -> None:
    exact = pool @ test.T
    lengths = np.linalg.norm(pool, axis=1)[:, None] * np.linalg.norm(test, axis=1)[None]
    assert (np.abs(estimated - exact) / lengths).max() < CLOSE
    assert (np.abs(exact) / lengths).max() > 5 * CLOSE


def test_a_trainers_recipe_is_followed(trainer_of: Trainers, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    trainer = trainer_of(callback(tmp_path, sketches_at=[6]), max_grad_norm=0.5, logging_steps=1)
    trainer.train()
    found = sketched(tmp_path)
    assert found.steps.tolist() == [6]
    assert found.products is not None
    pool, test = (gradients(trainer.model, some) for some in (rows[:12], rows[18:]))
    tokens = np.array([sum(label != -100 for label in row["labels"]) for row in rows[:12]])
    norms = np.array([entry["grad_norm"] for entry in trainer.state.log_history if "grad_norm" in entry])
    clipped = np.minimum(1.0, 0.5 / (norms + 1e-6))
    assert clipped.min() < 0.9
    share = clipped.mean() / 4  # two pieces of two rows make a step
    part, their_part = pool * share, test * share
    pool *= (tokens / tokens.mean() * clipped.mean())[:, None]
    check_products(found.products.raw[0], pool, test)
    second = torch.cat([trainer.optimizer.state[one]["exp_avg_sq"].flatten() for one in trainer.model.parameters()])
    roots = [
        np.sqrt(np.sqrt((0.999 * second.double().numpy() + 0.001 * one**2) / (1 - 0.999**7)) + 1e-8)
        for one in (part, their_part)
    ]
    check_products(found.products.preconditioned[0], pool / roots[0], test / roots[1])
    point = found.points[0]
    assert point.train.shape == (12, 8192)
    for one, name in ((point.preconditioned, "pool"), (point.split_train, "pool"), (point.split_test, "test")):
        assert one is not None, name


def test_training_is_bit_for_bit_what_it_is_without_sketches(trainer_of: Trainers, tmp_path: Path) -> None:
    weights = []
    for at in (None, "auto"):
        trainer = trainer_of(callback(tmp_path / str(at), sketches_at=at))
        trainer.train()
        weights.append({name: value.clone() for name, value in trainer.model.state_dict().items()})
        assert "clip_grad_norm_" not in vars(trainer.accelerator)
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert sketched(tmp_path / "auto").steps.tolist() == [0, 2, 4, 6]


def test_own_runs_with_sketches_are_fitted_and_ranked(trainer_of: Trainers, tmp_path: Path) -> None:
    for seed in range(3):
        trainer_of(callback(tmp_path, sketches_at="auto", sketch_dimensions=128), seed=seed).train()
    gptfl.featurize(workspace=tmp_path)
    assert gptfl.fit(workspace=tmp_path).estimator == "exposure-gp"
    found = gptfl.rank(on="test:r18", workspace=tmp_path)
    assert len(found.rankings[0].order) == 12


def loop(small: Path, rows: list[dict[str, Any]], where: Path, **options: Any) -> tuple[Any, GradientSketches]:
    """Two steps of plain gradient descent with momentum, recorded."""
    model = hf.AutoModelForCausalLM.from_pretrained(small)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.75)
    given = {"optimiser": optimizer, "loss_mean": "examples", "sketches_at": [2], **options}
    quiet: dict[str, Any] = {"say": lambda line: None, "workspace": where}
    recorder = gptfl.Recorder("own", pool=rows[:4], test=rows[18:21], model=model, **quiet, **given)
    with recorder.run(steps=2):
        for batch in (rows[:2], rows[2:4]):
            losses = [model(**{key: torch.tensor([row[key]]) for key in ("input_ids", "labels")}).loss for row in batch]
            torch.stack(losses).mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            recorder.step([row["id"] for row in batch], 1e-3, clip_factor=0.5)
    return model, sketched(where)


def test_a_loops_recipe_is_followed(small: Path, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    model, found = loop(small, rows, tmp_path)
    assert found.products is not None
    pool, test = 0.5 * gradients(model, rows[:4]), gradients(model, rows[18:21])
    check_products(found.products.raw[0], pool, test)
    np.testing.assert_allclose(found.products.preconditioned[0], found.products.raw[0] / 0.25, rtol=1e-3)


def test_a_loop_that_goes_on_later_has_the_sketches_of_one_that_went_through(
    small: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    def begun(where: str) -> tuple[Any, Any, gptfl.Recorder]:
        model = hf.AutoModelForCausalLM.from_pretrained(small)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        given: dict[str, Any] = {"optimiser": optimizer, "loss_mean": "examples", "sketches_at": [0, 1, 3]}
        quiet: dict[str, Any] = {"say": lines.append, "workspace": tmp_path / where, "sketch_dimensions": 32}
        recorder = gptfl.Recorder("own", pool=rows[:4], test=rows[18:21], model=model, **quiet, **given)
        return model, optimizer, recorder

    def steps(model: Any, optimizer: Any, recorder: gptfl.Recorder, numbers: range) -> None:
        for number in numbers:
            row = rows[number]
            loss: Any = model(**{key: torch.tensor([row[key]]) for key in ("input_ids", "labels")}).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            recorder.step([row["id"]], 1e-3, clip_factor=1.0 / (number + 1.5))

    lines: list[str] = []
    whole = begun("whole")
    with whole[2].run(steps=3):
        steps(*whole, range(3))
    model, optimizer, recorder = begun("cut")
    recorder.begin(steps=3)
    steps(model, optimizer, recorder, range(2))
    saved = json.loads(json.dumps(recorder.state_dict()))
    weights, state = (copy.deepcopy(one.state_dict()) for one in (model, optimizer))
    recorder.abandon("early")
    later, optimizer, recorder = begun("cut")
    later.load_state_dict(weights)
    optimizer.load_state_dict(state)
    with recorder.run(steps=3, resume=saved):
        steps(later, optimizer, recorder, range(2, 3))
    one, other = sketched(tmp_path / "whole"), sketched(tmp_path / "cut")
    assert one.steps.tolist() == other.steps.tolist() == [0, 1, 3]
    for mine, theirs in zip(one.points, other.points, strict=True):
        np.testing.assert_array_equal(mine.train, theirs.train)
        np.testing.assert_array_equal(mine.test, theirs.test)
    assert not [line for line in lines if "another training" in line or "none are taken" in line]


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")  # peft uses an old name
def test_adapters_are_sketched_as_they_are_trained(
    small: Path, rows: list[dict[str, Any]], trainer_of: Trainers, tmp_path: Path
) -> None:
    from peft import LoraConfig, get_peft_model

    trainer = trainer_of(callback(tmp_path, sketches_at=[6]))
    config = LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True, task_type="CAUSAL_LM")
    trainer.model = trainer.model_wrapped = get_peft_model(trainer.model, config)
    trainer.train()
    found = sketched(tmp_path)
    assert found.products is not None
    adapted = trainer.model.eval()
    weights = [weight for weight in adapted.parameters() if weight.requires_grad]

    def each(row: dict[str, Any]) -> np.ndarray:
        loss = adapted(**{key: torch.tensor([row[key]]) for key in ("input_ids", "labels")}).loss
        return torch.cat([one.flatten() for one in torch.autograd.grad(loss, weights)]).double().numpy()

    tokens = np.array([sum(label != -100 for label in row["labels"]) for row in rows[:12]])
    pool, test = (np.stack([each(row) for row in some]) for some in (rows[:12], rows[18:]))
    exact = (tokens / tokens.mean())[:, None] * (pool @ test.T)
    # Of so few weights wide sketches miss little.
    np.testing.assert_allclose(np.corrcoef(found.products.raw[0].ravel(), exact.ravel())[0, 1], 1.0, atol=0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss_mean": None}, "loss_mean is None, and sketches weigh examples"),
        ({"optimiser": None}, "sketches_at without optimiser"),
        ({"sketches_at": None}, "optimiser and loss_mean say how to sketch gradients"),
    ],
)
def test_a_loop_says_how_it_trains(
    small: Path, rows: list[dict[str, Any]], tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(GptflError, match=re.escape(message)):
        loop(small, rows, tmp_path, **options)


def test_groups_of_other_step_sizes_are_refused(small: Path, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    weights = [torch.nn.Parameter(torch.zeros(2)) for _ in range(2)]
    groups = [{"params": [weights[0]], "lr": 1e-3}, {"params": [weights[1]], "lr": 1e-4}]
    with pytest.raises(GptflError, match=re.escape("AdamW, whose groups of weights differ in lr (0.0001, 0.001)")):
        loop(small, rows, tmp_path, optimiser=torch.optim.AdamW(groups))


def test_what_the_loss_is_the_mean_over_must_be_said() -> None:
    options: dict[str, Any] = {"seed": 0, "dimensions": 4, "modules": None, "name": "größe"}
    for said in (None, "batches"):
        with pytest.raises(GptflError, match=f"loss_mean is {said!r}, and sketches weigh examples as the training's"):
            LiveSketches.of(((), ()), ((), ()), None, None, (1,), loss_mean=said, **options)


def test_a_point_is_taken_once_and_no_other_step() -> None:
    taken: list[int] = []

    class Sketching:
        steps = taken
        setup = SimpleNamespace(tape=SimpleNamespace(network=None))

    live = LiveSketches((), (), (2, 5), torch.nn.Linear(1, 1), None, "tokens", Sketching(), 0, 0.0)  # type: ignore[arg-type]
    assert live(1, np.zeros((1, 2), dtype=int)) is None
    taken.append(2)
    assert live(2, np.zeros((2, 2), dtype=int)) is None
    assert live.spent == 0.0
    taken.clear()
    assert live.sketches([0.1, 0.1]) is None
