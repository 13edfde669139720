"""A reference run is kept at its points, and is what it was there when it is opened again."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from gptfl.errors import DataError
from gptfl.metrics import Loss
from gptfl.recording.trainers import TrainerMaker
from gptfl.store.workspace import REFERENCE
from gptfl.tasks.errands import Errands
from gptfl.training.reference_points import ReferenceKeeper, kept_bytes, moment_at, read_about
from gptfl.training.reference_run import Moment, follow_reference, reference_plan
from gptfl.training.trainer import RecordingTrainer, TrainerSettings

POINTS, PLAN = (0, 2, 3), reference_plan(7, 2, 3, 11)


@pytest.fixture(scope="module")
def trainer(neox: Path) -> RecordingTrainer:
    data = Errands().load(7, 3, 0)
    return TrainerMaker(str(neox), "cpu", data, (Loss(),), TrainerSettings(1e-3, clip_norm=0.1, loss_mean="tokens"))()


def looked_at(trainer: RecordingTrainer, moment: Moment) -> list[torch.Tensor]:
    """The weights at a point, and by what gradients of ones are divided there."""
    found = [weight.detach().clone() for weight in trainer.network.trainable]
    if moment.denominator is not None:
        for place, weight in enumerate(trainer.network.trainable):
            ones = torch.ones(1, weight.numel())
            found.append(moment.denominator(place, slice(None), ones).clone())
    return found


def keep(trainer: RecordingTrainer, folder: Path) -> dict[int, list[torch.Tensor]]:
    keeper, seen = ReferenceKeeper(folder, trainer), {}

    def visit(moment: Moment) -> None:
        keeper(moment)
        seen[moment.step] = looked_at(trainer, moment)

    assert read_about(folder) is None
    run = follow_reference(trainer, PLAN, POINTS, visit)
    assert read_about(folder) is None, "not all is there yet"
    keeper.finish(run, "examples", PLAN.seed, "recording")
    return seen


def test_a_point_is_what_it_was(trainer: RecordingTrainer, tmp_path: Path) -> None:
    seen = keep(trainer, tmp_path / "kept")
    about = read_about(tmp_path / "kept")
    assert about is not None
    assert (about.examples, about.seed, about.steps, about.own_counted) == ("examples", PLAN.seed, POINTS, True)
    assert about.recording == "recording"
    assert about.weights == trainer.network.loaded.weights_hash
    assert about.tokens == np.mean([len(row.tokens) for row in trainer.rows])
    assert about.shares[0] == 0.5
    assert all(0 < one < 1 for one in about.clipped)
    try:
        for place, step in enumerate(POINTS):
            moment = moment_at(tmp_path / "kept", about, place, trainer)
            for got, expected in zip(looked_at(trainer, moment), seen[step], strict=True):
                torch.testing.assert_close(got, expected, rtol=0, atol=0)
    finally:
        trainer.network.restore()
    sizes = sum(path.stat().st_size for path in (tmp_path / "kept").glob("*.safetensors"))
    assert 0.9 * sizes < kept_bytes(trainer, POINTS) <= sizes


def test_what_is_damaged_is_told(trainer: RecordingTrainer, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    keep(trainer, tmp_path)
    about = read_about(tmp_path)
    assert about is not None
    path = tmp_path / "step-000002.safetensors"
    whole = load_file(path)

    def refused(match: str) -> None:
        with pytest.raises(DataError, match=match) as caught:
            moment_at(tmp_path, about, 1, trainer)
        assert "\n" not in str(caught.value)

    name = next(name for name in whole if name.startswith("weight/"))
    for changed, match in (
        ({key: value for key, value in whole.items() if key != name}, "has no|is damaged"),
        ({**whole, name: whole[name][:1].clone()}, "has no weight/.* of shape"),
        ({**whole, name: torch.full_like(whole[name], torch.nan)}, "has no weight/.* of finite numbers"),
        ({**whole, "steps": torch.zeros(2)}, "has no steps of"),
    ):
        save_file(changed, path)
        refused(match)
    path.write_bytes(path.read_bytes()[:100])
    refused(r"step-000002\.safetensors is damaged")
    path.unlink()
    refused(r"step-000002\.safetensors is missing: make it again")
    trainer.network.restore()


@pytest.mark.parametrize(
    "change",
    [
        {"version": 3},
        {"version": 2},
        {"version": 2, "recording": None},
        {"steps": []},
        {"steps": [0, -1, 3]},
        {"steps": [0, "2", 3]},
        {"clipped": [1.0, 0.0, 1.0]},
        {"shares": [0.5, float("nan"), 0.5]},
        {"seed": "11"},
        {"weights": None},
        {"more": 1},
    ],
    ids=str,
)
def test_what_says_no_run_is_damaged(tmp_path: Path, change: dict[str, object]) -> None:
    good = {
        "examples": "e", "weights": "w", "seed": 1, "steps": [0, 2, 3], "own_counted": True,
        "shares": [0.5, None, 0.5], "clipped": [1.0, 1.0, 1.0], "tokens": None, "version": 1,
    }  # fmt: skip
    path = tmp_path / REFERENCE
    path.write_text(json.dumps(good))
    assert read_about(tmp_path) is not None
    path.write_text(json.dumps({**good, **change}))
    with pytest.raises(DataError, match=r"reference\.json is damaged \(.*\): make it again"):
        read_about(tmp_path)
    path.write_text("[1")
    with pytest.raises(DataError, match=r"reference\.json is damaged"):
        read_about(tmp_path)
