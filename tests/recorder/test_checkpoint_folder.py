"""What a finished training's checkpoints say of themselves, before any weight is read."""

import json
from pathlib import Path
from typing import Any

import pytest

from gptfl.errors import DataError, UsageError
from gptfl.recorder.checkpoint_folder import (
    ADAPTER,
    ADAPTER_WEIGHTS,
    STATE,
    CheckpointFolders,
    read_order,
    spread_steps,
)
from gptfl.training.weight_files import INDEX, SINGLE

LORA = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["v", "q"], "bias": "none"}


def checkpoint(folder: Path, state: Any = None, adapter: dict[str, Any] | None = None, weights: str = SINGLE) -> Path:
    folder.mkdir(parents=True)
    (folder / (weights if adapter is None else ADAPTER_WEIGHTS)).touch()
    if state is not None:
        (folder / STATE).write_text(json.dumps(state), encoding="utf-8")
    if adapter is not None:
        (folder / ADAPTER).write_text(json.dumps(adapter), encoding="utf-8")
    return folder


def test_checkpoints_come_in_the_order_of_their_steps(tmp_path: Path) -> None:
    for step in (100, 20, 3):
        checkpoint(tmp_path / f"checkpoint-{step}", {"last": step}, weights=INDEX)
    (tmp_path / "checkpoint-7").touch()
    (tmp_path / "checkpoint-x").mkdir()
    found = CheckpointFolders.of(tmp_path)
    assert (found.steps, found.adapter, found.state) == ((3, 20, 100), None, {"last": 100})
    assert found.folders[20] == tmp_path / "checkpoint-20"


def test_a_single_checkpoint_knows_its_step_by_its_state(tmp_path: Path) -> None:
    assert CheckpointFolders.of(checkpoint(tmp_path / "a", {"global_step": 12})).steps == (12,)
    for number, step in enumerate((0, -1, 1.0, True, "3", None, 10**8)):
        with pytest.raises(DataError, match=r"trainer_state\.json has global_step = "):
            CheckpointFolders.of(checkpoint(tmp_path / f"b{number}", {"global_step": step}))


def test_folders_that_hold_no_checkpoints_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "pickled" / "checkpoint-1").mkdir(parents=True)
    checkpoint(tmp_path / "mixed" / "checkpoint-1")
    checkpoint(tmp_path / "mixed" / "checkpoint-2", adapter=LORA)
    for name, message in (
        ("nowhere", "can't be read: No such file"),
        ("empty", r"holds no checkpoint-N, and no trainer_state\.json"),
        ("pickled", rf"has no {SINGLE} nor {INDEX}: save checkpoints in safetensors"),
        ("mixed", "some checkpoints hold adapters and others whole models"),
    ):
        with pytest.raises(DataError, match=message):
            CheckpointFolders.of(tmp_path / name)


def with_log(folder: Path, log: Any) -> CheckpointFolders:
    return CheckpointFolders.of(checkpoint(folder, {"global_step": 6, "log_history": log}))


def test_step_sizes_between_those_logged_lie_on_a_line(tmp_path: Path) -> None:
    odd = [{"step": 3}, {"step": "4", "learning_rate": 9.0}, 7, {"step": 5, "learning_rate": -1.0}]
    nan = [{"step": 1, "learning_rate": float("nan")}, {"step": 1, "learning_rate": 10**400}]
    found = with_log(tmp_path / "a", [{"step": 4, "learning_rate": 0.1}, {"step": 2, "learning_rate": 0.3}, *odd, *nan])
    rates, said = found.rates(None)
    assert rates.tolist() == pytest.approx([0.3, 0.3, 0.2, 0.1, 0.1, 0.1])
    assert said == "the learning rates that trainer_state.json logs at 2 steps"
    given, said = found.rates(0.5)
    assert (given.tolist(), said) == ([0.5] * 6, "--lr 0.5")
    for number, log in enumerate(([], None, {"step": 1, "learning_rate": 0.1})):
        with pytest.raises(DataError, match="logs no learning rate: give it with --lr"):
            with_log(tmp_path / f"b{number}", log).rates(None)


def test_adapters_are_written_as_the_option_takes_them(tmp_path: Path) -> None:
    assert CheckpointFolders.of(checkpoint(tmp_path / "whole", {"global_step": 1})).lora() is None
    checkpoint(tmp_path / "lora" / "checkpoint-1", adapter=LORA)
    found = CheckpointFolders.of(tmp_path / "lora")
    assert found.lora() == "r=4,alpha=8,dropout=0,targets=q+v"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peft_type": "IA3"}, 'has peft_type = "IA3": gptfl reads peft_type = LORA'),
        ({"bias": "all"}, 'has bias = "all"'),
        ({"use_rslora": True}, "has use_rslora = True: gptfl reads plain LoRA"),
        ({"rank_pattern": {"q": 2}}, "has rank_pattern ="),
        ({"target_modules": "all-linear"}, "has target_modules ="),
        ({"target_modules": []}, "has target_modules ="),
        ({"target_modules": [""]}, "has target_modules ="),
        ({"r": True}, "has r = True"),
        ({"lora_alpha": None}, "lora_alpha = None: give positive numbers"),
        ({"lora_alpha": 10**400}, "lora_alpha = 1000"),
        ({"lora_alpha": float("nan")}, "lora_alpha = nan"),
        ({"r": 0}, "has r = 0"),
    ],
)
def test_adapters_that_are_no_plain_lora_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    checkpoint(tmp_path / "checkpoint-1", adapter={**LORA, **change})
    found = CheckpointFolders.of(tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        found.lora()
    assert "\n" not in str(caught.value)


PLACES = {"a": 0, "b": 1, "größe,": 2}


def order(folder: Path, text: str | bytes) -> Path:
    (folder / "order.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder / "order.csv"


def test_the_order_of_a_table_is_that_of_its_steps(tmp_path: Path) -> None:
    text = '\ufeffid,step,loss\r\nb,2,0.5\r\n"größe,",1,\r\na,2,1\r\nb,9,3\r\n'
    assert read_order(order(tmp_path, text), 2, PLACES).tolist() == [[2, -1], [1, 0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "has no columns step and id"),
        ("", "has no columns step and id"),
        ("step,id\n0,a\n", 'line 2: step "0": count steps from 1'),
        ("step,id\n1.0,a\n", 'line 2: step "1.0"'),
        ("step,id\n" + "9" * 5000 + ",a\n", 'line 2: step "999'),
        ("step,id\n1\n", "line 2: no row to train on has the id None"),
        ("step,id\n1,z\n", 'line 2: no row to train on has the id "z"'),
        ("step,id\n1,a\n3,b\n", "has no ids of step 2: give all 3 steps"),
        (b"step,id\n1,\xff\n", "can't be read"),
        ("step,id\n1," + "x" * 200_000 + "\n", "can't be read: field larger"),
    ],
)
def test_a_table_that_tells_no_order_is_one_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_order(order(tmp_path, text), 3, PLACES)
    assert len(str(caught.value)) < 400


def test_steps_are_spread_with_the_last_among_them() -> None:
    assert spread_steps((2, 4, 6, 8, 10), 3) == (2, 6, 10)
    assert spread_steps((2, 4, 6), 1) == (6,)
    assert spread_steps((2, 4), 9) == (2, 4)
    with pytest.raises(UsageError, match="is 0"):
        spread_steps((2,), 0)
