"""Two processes record what one does; what each has to do follows from its rank alone."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gptfl.errors import ResourceError
from gptfl.plugins.interfaces import Plan
from gptfl.training.batching import plan_batches, plan_shares
from gptfl.training.checkpoints import read_checkpoint
from gptfl.training.distributed import ALONE, ProcessGroup, join, own_device, started_size
from tests.zygote import Popen

RECIPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "top": {"train_layers": 2},
    "lora": {"lora": "r=2,dropout=0"},
    "lora-top": {"lora": "r=2,dropout=0", "train_layers": 1, "accumulate": 2},
    "shard": {"shard": True},
    "shard-top": {"shard": True, "train_layers": 2},
    "shard-lora": {"shard": True, "lora": "r=2,dropout=0", "accumulate": 2},
}


def plans() -> list[Plan]:
    """The second has batches smaller than the two processes."""
    return [
        Plan(0, 3, "fit", np.array([[0, 1, 2], [3, 4, 5], [5, 1, 3]])),
        Plan(1, 4, "fit", np.array([[2], [4], [0]])),
    ]


def start_all(copied: type[Popen], size: int, *arguments: str) -> None:
    """Start so many processes of tests.training.group, and wait for them."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = str(one.getsockname()[1])
    processes = [
        copied(
            [sys.executable, "-m", "tests.training.group", *arguments],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_PORT": port}
            | {"MASTER_ADDR": "127.0.0.1", "LOCAL_WORLD_SIZE": str(size), "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
        )
        for rank in range(size)
    ]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * size, "\n".join(errors)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    from tests.models import save_small

    root = tmp_path_factory.mktemp("models")
    return [save_small(root / family, family) for family in ("gpt-neox", "llama")]


@pytest.fixture(scope="module")
def together(
    models: list[Path], copied: type[Popen], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, np.ndarray]]:
    """What two processes recorded, of untied and tied embeddings."""
    target = tmp_path_factory.mktemp("together")
    start_all(copied, 2, str(target), *map(str, models))
    with np.load(target / "values.npz") as values:
        return target, dict(values)


@pytest.mark.parametrize("name", RECIPES)
def test_two_processes_record_what_one_does(
    models: list[Path], together: tuple[Path, dict[str, np.ndarray]], name: str
) -> None:
    from tests.training.test_trainer import make

    target, values = together
    recipe = {key: value for key, value in RECIPES[name].items() if key not in ("shard", "accumulate")}
    for model in models:
        alone = make(model, **recipe)
        for index, plan in enumerate(plans()):
            run = alone.run(plan, lambda done, total: None)
            for key, expected in run.metrics.items():
                np.testing.assert_allclose(values[f"{model.name}/{name}/{index}/{key}"], expected, atol=1e-4)
            assert abs(run.metrics["loss"][-1] - run.metrics["loss"][0]).max() > 1e-3
            # What was kept is whole, whoever held which part of it.
            kept = target / f"{model.name}-{name}" / f"run-000{index}" / "step-000003.safetensors"
            expected_weights = {name: weight.clone() for name, weight in alone.network.weights().items()}
            alone.network.restore()
            initial = alone.network.weights()
            for one, weight in read_checkpoint(kept, alone.network).weights.items():
                missed, moved = weight - expected_weights[one], expected_weights[one] - initial[one]
                # A key's bias has no gradient but rounding's, and Adam steps as far along that as along any other.
                if not one.endswith("query_key_value.bias"):
                    assert missed.norm() <= 0.05 * moved.norm(), one


def test_a_sharded_model_is_held_in_parts(together: tuple[Path, dict[str, np.ndarray]]) -> None:
    held = [float(value) for key, value in together[1].items() if key.endswith("/held")]
    assert len(held) == 6
    assert all(0.4 < share < 0.6 for share in held)


def test_words_and_sums_reach_everyone(together: tuple[Path, dict[str, np.ndarray]]) -> None:
    values = together[1]
    assert values["gathered"].tolist() == [0, 1]
    assert values["told"] == 7
    assert values["added"].tolist() == [9.0, 2.0**25, 4.0]
    assert "--train-layers 9" in str(values["refused"])


def test_rows_are_shared_out_evenly_and_all_of_them() -> None:
    lengths = np.random.default_rng(0).integers(1, 90, 57).tolist()
    assert plan_shares(lengths, 200, 16, 1) == [plan_batches(lengths, 200, 16)]
    shares = plan_shares(lengths, 200, 16, 3)
    assert sorted(row for share in shares for batch in share for row in batch) == list(range(57))
    sizes = [sum(lengths[row] for batch in share for row in batch) for share in shares]
    assert max(sizes) - min(sizes) < 90
    assert plan_shares([5], 200, 16, 2) == [[[0]], []]


def test_shares_of_a_batch_hold_each_example_once() -> None:
    assert [ProcessGroup(rank, 3).share([5, 6, 7, 8]) for rank in range(3)] == [[5, 8], [6], [7]]
    assert ProcessGroup(2, 3).share([1]) == []
    assert ALONE.share([1, 2]) == [1, 2]
    assert ALONE.broadcast("x") == "x"
    assert ALONE.gathered("x") == ["x"]


def test_who_was_started_with_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert started_size() == 1
    assert join("cpu", False) is ALONE
    assert own_device("cuda") == "cuda"
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert started_size() == 4
    assert own_device("cuda") == "cuda:1"
    assert own_device("cpu") == "cpu"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ResourceError, match="--processes 4: torch sees 2 GPUs: ask for as many"):
        join("cuda", False)
