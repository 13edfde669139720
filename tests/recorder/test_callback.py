"""A Trainer's runs as the callback records them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
import transformers as hf

import gptfl
from gptfl.errors import DataError, GptflError, UsageError
from tests.recorder.own_runs import callback, recorded

Trainers = Callable[..., Any]


def weights(trainer: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


class Watch(hf.TrainerCallback):
    """What the trainer itself says of each step."""

    def __init__(self) -> None:
        self.batches: list[list[list[int]]] = []
        self.rates: list[float] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.rates.append(kwargs["lr_scheduler"].get_last_lr()[0])


def test_the_callback_is_one_of_transformers() -> None:
    assert issubclass(gptfl.GptflCallback, hf.TrainerCallback)


@pytest.mark.parametrize("workers", [0, 2])
def test_training_is_bit_for_bit_what_it_is_without(trainer_of: Trainers, tmp_path: Path, workers: int) -> None:
    # A Trainer sets the seed when it is made.
    plain = trainer_of(dataloader_num_workers=workers, logging_steps=1)
    plain.train()
    watched = trainer_of(callback(tmp_path, own_losses=True), dataloader_num_workers=workers, logging_steps=1)
    watched.train()
    own = [[entry for entry in one.state.log_history if "loss" in entry] for one in (plain, watched)]
    assert len(own[0]) == 6
    assert own[0] == own[1]
    trained = weights(watched)
    assert all(torch.equal(value, trained[name]) for name, value in weights(plain).items())
    assert watched.model.training == plain.model.training
    assert "get_batch_samples" not in vars(watched)


def test_batches_step_sizes_and_losses_are_those_of_the_trainer(
    trainer_of: Trainers, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    seen: list[list[str]] = []
    by_tokens = {tuple(row["input_ids"]): row["id"] for row in rows}
    watch = Watch()
    trainer = trainer_of(watch, callback(tmp_path))
    plain = trainer.training_step

    def spy(model: Any, inputs: Any, *rest: Any, **kwargs: Any) -> Any:
        assert set(inputs) == {"input_ids", "attention_mask", "labels"}
        seen.append(
            [
                by_tokens[tuple(ids[mask.bool()].tolist())]
                for ids, mask in zip(inputs["input_ids"], inputs["attention_mask"], strict=True)
            ]
        )
        return plain(model, inputs, *rest, **kwargs)

    trainer.training_step = spy
    trainer.train()
    dynamics = recorded(tmp_path)
    (run,) = dynamics.runs
    steps = [seen[at] + seen[at + 1] for at in range(0, len(seen), 2)]
    named = [[dynamics.pool[place].id for place in batch] for batch in run.curriculum.batches]
    assert named == steps
    np.testing.assert_array_equal(run.curriculum.learning_rates, watch.rates)
    assert run.steps.tolist() == [0, 2, 4, 6]
    # The last losses again, each example by itself as transformers computes them.
    trainer.model.eval()
    with torch.no_grad():
        again = [
            trainer.model(input_ids=torch.tensor([row["input_ids"]]), labels=torch.tensor([row["labels"]])).loss.item()
            for row in rows[18:]
        ]
    np.testing.assert_allclose(run.metrics["loss"][-1], again, rtol=1e-5)


def test_a_resumed_run_is_the_uninterrupted_one(trainer_of: Trainers, tmp_path: Path) -> None:
    whole = trainer_of(callback(tmp_path / "whole"), keep=3)
    whole.train()

    class Interrupt(hf.TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 5:
                raise KeyboardInterrupt

    cut = callback(tmp_path / "cut")
    with pytest.raises(KeyboardInterrupt):
        trainer_of(cut, Interrupt(), keep=3, output_dir=str(tmp_path / "again")).train()
    assert not (tmp_path / "cut").exists()
    late = trainer_of(callback(tmp_path / "cut"), keep=3, output_dir=str(tmp_path / "again"))
    late.train(resume_from_checkpoint=True)
    one, other = recorded(tmp_path / "whole"), recorded(tmp_path / "cut")
    assert one.fingerprint == other.fingerprint
    assert one.runs[0].metrics["loss"].tobytes() == other.runs[0].metrics["loss"].tobytes()


def test_a_checkpoint_of_another_training_is_refused(trainer_of: Trainers, tmp_path: Path) -> None:
    trainer_of(keep=3).train()
    with pytest.raises(DataError, match="the run's first 3 steps aren't known"):
        trainer_of(callback(tmp_path), keep=3).train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-3"))


def test_earlier_runs_forecast_the_next_and_trackers_get_it(trainer_of: Trainers, tmp_path: Path) -> None:
    lines: list[str] = []
    for seed in range(3):
        own = gptfl.GptflCallback("own", workspace=tmp_path, every=2, say=lines.append, groups={"few": ["r18", "r19"]})
        trainer = trainer_of(own, seed=seed)
        trainer.train()
    logged = [entry for entry in trainer.state.log_history if "gptfl/forecast" in entry]
    assert [entry["step"] for entry in logged] == [2, 4]
    for entry in logged:
        for tail in ("", "/few"):
            low, middle, high = (entry[f"gptfl/forecast{name}{tail}"] for name in ("_low", "", "_high"))
            assert low < middle < high
    forecasts = [line for line in lines if "will end at" in line]
    assert re.fullmatch(
        r"step 2 of 6: will end at loss \S+ \(.* to .*\), few .*; 90 % bands, from 2 earlier runs", forecasts[0]
    )
    assert "4 evaluations of 6 test examples, every 2 steps of 6" in lines
    assert any(re.fullmatch(r"the first evaluation took \S+ s, all 4 about \S+ s", line) for line in lines)


@pytest.mark.parametrize("rule", [lambda forecast: forecast.step == 2, 0.0])
def test_a_stop_rule_ends_the_run_which_is_recorded(trainer_of: Trainers, tmp_path: Path, rule: Any) -> None:
    for seed in range(2):
        trainer_of(callback(tmp_path), seed=seed).train()
    trainer_of(callback(tmp_path, stop_when=rule), seed=2).train()
    assert [run.curriculum.steps for run in recorded(tmp_path).runs] == [6, 6, 2]


def test_runs_on_parts_of_a_pool_share_a_recording(
    trainer_of: Trainers, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    pool = datasets.Dataset.from_list(rows[:18])
    for first in (0, 6):
        trainer_of(callback(tmp_path, pool=pool), data=pool.select(range(first, first + 12))).train()
    one, other = (set(run.curriculum.batches.ravel().tolist()) for run in recorded(tmp_path).runs)
    assert (one, other) == (set(range(12)), set(range(6, 18)))


def test_the_model_sees_no_ids_where_columns_are_kept(trainer_of: Trainers, tmp_path: Path) -> None:
    trainer_of(callback(tmp_path), remove_unused_columns=False).train()
    assert recorded(tmp_path).runs[0].curriculum.steps == 6


def test_the_best_model_at_the_end_is_not_measured_as_the_last(trainer_of: Trainers, tmp_path: Path) -> None:
    best = {"load_best_model_at_end": True, "eval_strategy": "steps", "eval_steps": 3, "learning_rate": 5.0}
    trainer_of(callback(tmp_path / "best"), keep=3, **best).train()
    best["load_best_model_at_end"] = False
    trainer_of(callback(tmp_path / "last"), keep=3, **best).train()
    one, other = (recorded(tmp_path / name).runs[0] for name in ("best", "last"))
    assert one.metrics["loss"].tobytes() == other.metrics["loss"].tobytes()


def test_a_simulator_that_was_fitted_before_forecasts(trainer_of: Trainers, tmp_path: Path) -> None:
    for seed in range(2):
        trainer_of(callback(tmp_path), seed=seed).train()
    fitted = gptfl.fit("exposure-gp", settings={"features": False}, workspace=tmp_path)
    own = callback(tmp_path, simulator=fitted.path, groups={"few": ["r18", "r19"]})
    trainer_of(own, seed=2).train()
    assert own.recorder.forecast.step == 4
    assert [one.name for one in own.recorder.forecast.groups] == ["", "few"]


def bad(rows: list[dict[str, Any]], case: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of the callback and of the trainer that can't be recorded."""
    without = datasets.Dataset.from_list([{k: v for k, v in row.items() if k != "id"} for row in rows[:12]])
    silent = {**rows[20], "labels": [-100] * len(rows[20]["input_ids"])}
    stream = datasets.Dataset.from_list(rows[:12]).to_iterable_dataset()
    cases: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "no ids": ({}, {"data": without}),
        "few ids": ({"ids": ["a"]}, {}),
        "not in the pool": ({"pool": rows[:11]}, {}),
        "no labels": ({"test": [silent]}, {}),
        "no target": ({"test": [{"id": "t", "prompt": "the sun", "target": ""}]}, {}),
        "a stream": ({}, {"data": stream, "max_steps": 2}),
        "twice": ({"ids": ["a"] * 12}, {}),
    }
    return cases[case]


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("no ids", "the training set has no column 'id': add one, name another"),
        ("few ids", "ids= has 1 ids and the training set 12 rows"),
        ("not in the pool", "the id 'r11' is not in the pool"),
        ("no labels", "test example 'r20' has no labels"),
        ("no target", "test example 't' has no labels"),
        ("a stream", "the training data is a stream"),
        ("twice", 'training example 1 has the id "a", as row 0 has'),
    ],
)
def test_what_cannot_be_recorded_is_refused_before_training(
    trainer_of: Trainers, rows: list[dict[str, Any]], tmp_path: Path, case: str, message: str
) -> None:
    own, options = bad(rows, case)
    trainer = trainer_of(callback(tmp_path, **own), **options)
    with pytest.raises(GptflError, match=re.escape(message)) as found:
        trainer.train()
    assert "\n" not in str(found.value)
    assert trainer.state.global_step == 0
    assert not (tmp_path / "own.dynamics.h5").exists()


def test_a_run_of_another_recording_is_refused_before_training(
    trainer_of: Trainers, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    first = trainer_of(callback(tmp_path))
    first.train()
    for own, options, message in (
        ({"every": 3}, {}, "was recorded with every=2, not 3"),
        ({"test": rows[17:]}, {}, "another test set: 6 examples, not 7"),
        ({}, {"data": datasets.Dataset.from_list(rows[1:13])}, "another pool: 'r0' is there"),
        ({"measure": {"other": lambda: np.zeros(6)}}, {}, "metrics=['loss'], not ['other']"),
    ):
        with pytest.raises(DataError, match=re.escape(message)):
            trainer_of(callback(tmp_path, **own), **options).train()
    # The same trainer again begins from weights that are trained by now.
    with pytest.raises(DataError, match="start from the same weights"):
        first.train()
    assert len(recorded(tmp_path).runs) == 1


def test_a_trainer_without_test_examples_is_refused(trainer_of: Trainers, tmp_path: Path) -> None:
    lacking = trainer_of(callback(tmp_path))
    lacking.eval_dataset = None
    with pytest.raises(UsageError, match="the callback has no test examples"):
        lacking.train()
