"""What one of several processes does for test_distributed: many short runs, whose values the first one saves."""

import sys
from pathlib import Path

import numpy as np
import torch

from gptfl.errors import DataError
from gptfl.training.checkpoints import CheckpointWriter
from gptfl.training.distributed import join, leave
from gptfl.training.models import load_pretrained
from gptfl.training.names import resolve_model
from gptfl.training.trainer import RecordingTrainer, TrainerSettings
from tests.training.test_distributed import RECIPES, plans
from tests.training.test_trainer import POOL, RATE, TEST, Accuracy, Loss


def main(models: list[Path], target: Path) -> None:
    torch.set_num_threads(1)
    group = join("cpu", shard=False)
    values = {}
    for model in models:
        for name, recipe in RECIPES.items():
            recipe = dict(recipe)
            own = type(group)(group.rank, group.size, bool(recipe.pop("shard", False)), group.device)
            loaded = load_pretrained(resolve_model(str(model)), torch.device("cpu"))
            writer = CheckpointWriter(target / f"{model.name}-{name}", (0, 3), "r")
            trainer = RecordingTrainer(
                loaded, POOL, TEST, (Loss(), Accuracy()), TrainerSettings(RATE, **recipe), own, writer  # type: ignore[arg-type]
            )  # fmt: skip
            for index, plan in enumerate(plans()):
                run = trainer.run(plan, lambda done, total: None)
                values |= {f"{model.name}/{name}/{index}/{key}": one for key, one in run.metrics.items()}
            if own.shard:
                held = sum(p.to_local().numel() for p in trainer.network.trainable)  # type: ignore[operator]
                all_of = sum(p.numel() for p in trainer.network.trainable)
                values[f"{model.name}/{name}/held"] = np.array(held / all_of)
    values["gathered"] = np.array(group.gathered(group.rank))
    values["told"] = np.array(group.broadcast(7 + group.rank))
    many = [torch.full((3,), float(group.rank + 1)), torch.ones(2**24), torch.eye(2).t()]
    group.add(many)
    values["added"] = np.array([float(one.sum()) for one in many])
    try:
        RecordingTrainer(loaded, POOL, TEST, (Loss(),), TrainerSettings(RATE, train_layers=9), group)
    except DataError as error:
        values["refused"] = np.array(str(error))
    if group.main:
        np.savez(target / "values.npz", **values)
    leave()


if __name__ == "__main__":
    main([Path(one) for one in sys.argv[2:]], Path(sys.argv[1]))
