"""What is known of a finished training before a model is loaded; tests/api/test_attribute.py goes the whole road."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gptfl.errors import GptflError
from gptfl.options.attribute import AttributeOptions
from gptfl.options.rows import RowOptions
from gptfl.plugins.registry import build
from gptfl.recorder import attribute
from gptfl.recorder.attribute import FinishedTraining, record_training
from gptfl.store.recordings import write_dynamics
from tests.synthetic import synthetic

Reading = Callable[..., FinishedTraining]


@pytest.fixture
def read(tmp_path: Path) -> Reading:
    """Reads a training of 3 rows and 2 tests over 4 steps, whose checkpoints hold no weights."""
    for step in (2, 4):
        folder = tmp_path / "out" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / "model.safetensors").touch()
        log = [{"step": 1, "learning_rate": 0.4}, {"step": 4, "learning_rate": 0.1}]
        (folder / "trainer_state.json").write_text(json.dumps({"log_history": log}))
    for name, count in (("train", 3), ("eval", 2)):
        rows = [{"id": f"{name[0]}{i}", "prompt": f"Größe {i}", "target": f" {i}"} for i in range(count)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))

    def reading(rows: dict[str, Any] | None = None, **options: Any) -> FinishedTraining:
        given = {"train": tmp_path / "train.jsonl", "eval": tmp_path / "eval.jsonl", **(rows or {})}
        known = {"model": "org/model", "checkpoints": tmp_path / "out", "workspace": tmp_path, **options}
        return FinishedTraining.read(AttributeOptions(rows=RowOptions(**given), **known))

    return reading


def test_without_an_order_every_row_counts_in_every_step(read: Reading) -> None:
    found = read()
    assert found.batches.tolist() == [[0, 1, 2]] * 4
    np.testing.assert_allclose(found.rates, [0.4, 0.3, 0.2, 0.1])
    assert any("which examples each step was trained on isn't known" in note for note in found.notes)
    assert found.name == "attribute-model"


def test_an_order_tells_the_batches(read: Reading, tmp_path: Path) -> None:
    order = tmp_path / "order.csv"
    order.write_text("step,id\n1,t0\n2,t1\n2,t2\n3,t0\n4,t2\n")
    found = read(order=order, lr=0.5)
    named = [[found.examples.pool[place].id for place in batch if place >= 0] for batch in found.batches]
    assert named == [["t0"], ["t1", "t2"], ["t0"], ["t2"]]
    assert found.rates.tolist() == [0.5] * 4
    assert not any("isn't known" in note for note in found.notes)


def test_gradients_are_sketched_at_checkpoints_and_of_whole_models_at_the_start(read: Reading, tmp_path: Path) -> None:
    assert read().points == (0, 2, 4)
    assert read(sketch_points=2).points == (0, 4)
    assert read(sketch_points=1).points == (4,)
    for step in (2, 4):
        folder = tmp_path / "out" / f"checkpoint-{step}"
        (folder / "adapter_config.json").write_text("{}")
        (folder / "adapter_model.safetensors").touch()
    assert read().points == (2, 4)
    assert read().sketched.points == 2


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ({}, {"loss_mean": "rows"}, "'rows' is unknown: use examples or tokens"),
        ({"eval": None}, {}, "no rows to test on are named, and all others were trained on"),
        ({}, {"sketch_dimensions": 2**30}, "take more than the .* GiB that gptfl reads"),
        ({}, {"test": 3}, "--test 3 is more than the 2 examples"),
    ],
)
def test_what_makes_no_sense_is_refused(
    read: Reading, rows: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(GptflError, match=message):
        read(rows, **options)


def test_a_name_and_the_number_of_steps_have_bounds(read: Reading, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GptflError, match="the name 'a/b' can't begin the names of files"):
        read(name="a/b").name  # noqa: B018
    monkeypatch.setattr(attribute, "MOST_SHARES", 11)
    with pytest.raises(GptflError, match="4 steps of 3 examples each are too many to keep: give --order FILE"):
        read()


def test_a_recording_of_another_kind_is_left_alone(read: Reading, tmp_path: Path) -> None:
    path = tmp_path / "attribute-model.dynamics.h5"
    write_dynamics(path, synthetic(2)[0])
    before = path.read_bytes()
    with pytest.raises(GptflError, match="is a recording of another kind: give another --name"):
        record_training(read(), build([]), lambda *given: None)
    assert path.read_bytes() == before
