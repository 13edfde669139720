"""Sketches along a run: whether any are taken, when, and what is said of them."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import transformers as hf
from safetensors.torch import load_file, save_file

from gptfl.core import Example, GradientSketches
from gptfl.errors import UsageError
from gptfl.recorder.file import Identity
from gptfl.recorder.run import RunSoFar
from gptfl.recorder.sketch_spec import SketchSpec
from gptfl.recorder.sketcher import Sketcher
from gptfl.training.load import load_model
from tests.recorder.own_runs import callback, recorded, sketched

Trainers = Callable[..., Any]


def test_one_run_is_sketched_and_the_cost_is_reported(trainer_of: Trainers, tmp_path: Path) -> None:
    lines: list[str] = []
    for seed in range(2):
        trainer_of(callback(tmp_path, sketches_at=3, sketch_dimensions=64, say=lines.append), seed=seed).train()
    assert sketched(tmp_path).steps.tolist() == [0, 3, 6]
    assert sketched(tmp_path).dimensions == 64
    pattern = r"gradient sketches of 12 training and 6 test examples: the first took \S+ s, all 3 about \S+ s"
    assert sum(bool(re.fullmatch(pattern, line)) for line in lines) == 1
    assert sum(line.startswith("the recording has gradient sketches of an earlier run") for line in lines) == 1


class Interrupt(hf.TrainerCallback):
    """Stops a training before its sixth step."""

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 5:
            raise KeyboardInterrupt


def interrupt(trainer_of: Trainers, where: Path, **options: Any) -> Callable[..., Any]:
    """Interrupt a run after 5 of 6 steps; what goes on with it from the checkpoint of step 4."""
    with pytest.raises(KeyboardInterrupt):
        trainer_of(callback(where, **options), Interrupt(), keep=4, max_grad_norm=0.5, **TRAINER).train()

    def go_on(**others: Any) -> None:
        again = callback(where, **{**options, **others})
        trainer_of(again, keep=4, max_grad_norm=0.5, **TRAINER).train(resume_from_checkpoint=True)

    return go_on


TRAINER = {"weight_decay": 0.01}


def bits(found: GradientSketches) -> dict[str, Any]:
    """All that sketches hold, but what they took."""
    points = [
        {name: None if one is None else one.tobytes() for name, one in arrays_of(point).items()}
        for point in found.points
    ]
    products = {} if found.products is None else arrays_of(found.products)
    return {
        "points": points,
        "products": {name: one.tobytes() for name, one in products.items() if isinstance(one, np.ndarray)},
        "rates": found.learning_rates.tobytes(),
        "rest": (found.seed, found.steps.tolist(), found.dimensions, found.modules, found.own_counted),
    }


def arrays_of(one: Any) -> dict[str, Any]:
    names = [field.name for field in dataclasses.fields(one) if field.name != "step"]
    return {name: getattr(one, name) for name in names}


@pytest.mark.parametrize("at", ["auto", 3, [1, 5], [5, 6], [2, 4]])
def test_sketches_across_a_resume_are_those_of_a_whole_run(trainer_of: Trainers, tmp_path: Path, at: Any) -> None:
    options = {"sketches_at": at, "sketch_dimensions": 64}
    trainer_of(callback(tmp_path / "whole", **options), max_grad_norm=0.5, **TRAINER).train()
    lines: list[str] = []
    go_on = interrupt(trainer_of, tmp_path / "cut", **options)
    go_on(say=lines.append)
    assert bits(sketched(tmp_path / "cut")) == bits(sketched(tmp_path / "whole"))
    assert recorded(tmp_path / "cut").fingerprint == recorded(tmp_path / "whole").fingerprint
    assert [path.name for path in (tmp_path / "cut").iterdir() if path.is_dir()] == []
    assert not [line for line in lines if "none are taken" in line]


def test_a_built_in_model_is_resumed_with_its_sketches(tmp_path: Path) -> None:
    tokenizer = load_model("tiny").tokenizer
    rows = []
    for one in range(8):
        question, answer = (tokenizer(text)["input_ids"] for text in (f"{one} and 1 are", f" {one + 1}"))
        labels = [-100] * len(question) + answer
        rows.append({"id": str(one), "input_ids": question + answer, "labels": labels})

    lines: list[str] = []

    def train(where: str, *more: Any, out: str, **resume: Any) -> None:
        arguments = {"report_to": [], "use_cpu": True, "dataloader_pin_memory": False, "disable_tqdm": True}
        trainer = hf.Trainer(
            model=load_model("tiny").model,
            args=hf.TrainingArguments(
                str(tmp_path / out), max_steps=6, per_device_train_batch_size=2, save_steps=4, **arguments
            ),
            train_dataset=datasets.Dataset.from_list(rows),
            eval_dataset=datasets.Dataset.from_list(rows[:2]),
            data_collator=hf.DataCollatorForSeq2Seq(tokenizer),
            callbacks=[callback(tmp_path / where, sketches_at="auto", sketch_dimensions=32, say=lines.append), *more],
        )
        trainer.train(**resume)

    train("whole", out="a")
    with pytest.raises(KeyboardInterrupt):
        train("cut", Interrupt(), out="b")
    # transformers 5 saves the head of GPT-NeoX by its former name, and doesn't find it again when it resumes.
    weights = tmp_path / "b" / "checkpoint-4" / "model.safetensors"
    named = {name.replace("embed_out", "lm_head"): weight for name, weight in load_file(weights).items()}
    train("other", out="b", resume_from_checkpoint=str(tmp_path / "b" / "checkpoint-4"))
    assert [line.partition(" of the run,")[0] for line in lines if "another training" in line] == [
        "lm_head.weight is not as at step 4"
    ]
    lines.clear()
    save_file(named, weights, metadata={"format": "pt"})
    train("cut", out="b", resume_from_checkpoint=str(tmp_path / "b" / "checkpoint-4"))
    assert not [line for line in lines if "another training" in line]
    assert bits(sketched(tmp_path / "cut")) == bits(sketched(tmp_path / "whole"))


def test_a_resume_without_the_earlier_points_says_so_and_takes_none(trainer_of: Trainers, tmp_path: Path) -> None:
    go_on = interrupt(trainer_of, tmp_path)
    lines: list[str] = []
    go_on(sketches_at=3, sketch_dimensions=64, say=lines.append)
    assert (
        "the run goes on from step 4, and its checkpoint has no gradient sketches of steps 0, 3: none are taken"
        in lines
    )
    assert recorded(tmp_path).sketches is None
    assert len(recorded(tmp_path).runs) == 1


@pytest.mark.parametrize(("lost", "said"), [(True, "does not exist"), (False, "is damaged")])
def test_a_resume_whose_files_are_gone_or_others_says_so(
    trainer_of: Trainers, tmp_path: Path, lost: bool, said: str
) -> None:
    go_on = interrupt(trainer_of, tmp_path / "own", sketches_at=3, sketch_dimensions=64)
    first = next((tmp_path / "own" / "own.sketches-so-far").glob("step-000003-*"))
    if lost:
        first.unlink()
    else:
        first.write_bytes(first.read_bytes()[:-4] + b"\0\0\0\1")
    lines: list[str] = []
    go_on(say=lines.append)
    wanted = f"the run goes on from step 4 without its gradient sketches, and none are taken: {first} {said}"
    assert wanted in lines
    assert recorded(tmp_path / "own").sketches is None


def test_a_resume_asks_for_what_the_run_began_with(trainer_of: Trainers, tmp_path: Path) -> None:
    go_on = interrupt(trainer_of, tmp_path, sketches_at=3, sketch_dimensions=64)
    wanted = (
        "sketch_dimensions=64, sketch_modules=None, not 32, None: give what it began with, or leave sketches_at out"
    )
    with pytest.raises(UsageError, match=re.escape(wanted)):
        go_on(sketch_dimensions=32)
    lines: list[str] = []
    go_on(sketches_at=[0, 2], say=lines.append)
    assert any("from step 4, and its checkpoint has no gradient sketches of step 2: none are" in line for line in lines)


def test_a_run_that_leaves_its_sketches_out_can_be_resumed_again(trainer_of: Trainers, tmp_path: Path) -> None:
    go_on = interrupt(trainer_of, tmp_path, sketches_at=3, sketch_dimensions=64)
    go_on(sketches_at=None, sketch_dimensions=None)
    assert recorded(tmp_path).sketches is None
    assert len(recorded(tmp_path).runs[0].curriculum.learning_rates) == 6


def test_how_it_trains_says_nothing_where_no_sketches_are_wanted() -> None:
    for more in ({"optimiser": object()}, {"loss_mean": "tokens"}):
        with pytest.raises(UsageError, match="optimiser and loss_mean say how to sketch gradients, and none are asked"):
            Sketcher(None, ((), ()), print, **more)


def test_without_a_spec_nothing_is_taken_and_nothing_said() -> None:
    lines: list[str] = []
    idle = Sketcher(None, ((), ()), lines.append)
    run: Any = None
    idle.begin(run, ((), ()), None, None, there=False)
    idle.look(run)
    assert idle.finish(run) is None
    assert lines == []


class Live:
    """Stands for sketches along a run, at steps 2 and 5."""

    def __init__(self) -> None:
        self.points = (2, 5)
        self.clipped: list[float] = []
        self.seen: list[int] = []

    def __call__(self, step: int, batches: np.ndarray) -> float | None:
        self.seen.append(step)
        return 0.5 if step in self.points else None

    def sketches(self, rates: list[float]) -> tuple[list[float], list[float]]:
        return rates, self.clipped


def test_steps_of_which_nothing_is_known_are_clipped_like_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    live, example = Live(), (Example("a", "b", "c"),)
    monkeypatch.setattr("gptfl.recorder.sketches.LiveSketches.of", lambda *given, **more: live)
    rows = [{"input_ids": [1, 2], "labels": [1, 2]}]
    sketcher = Sketcher(SketchSpec.of({"sketches_at": [2, 5]}), (rows, rows), lines.append, object(), "tokens")
    run = RunSoFar(Identity(example, example, {}, 1, "x", "m", None), 0, 6, None, None, ("loss",))
    sketcher.begin(run, (example, example), object(), None, there=False)
    sketcher.look(run)
    run.places, run.rates = [[0], [0]], [0.1, 0.1]
    sketcher.look(run, 0.25)
    run.places, run.rates = [[0]] * 3, [0.1] * 3
    sketcher.look(run)
    assert live.seen == [0, 2, 3]
    assert live.clipped == [0.25, 0.25, 1.0]
    assert lines == ["gradient sketches of 1 training and 1 test examples: the first took 0.5 s, all 2 about 1 s"]
    assert sketcher.finish(run) == ([0.1] * 3, live.clipped)
    assert lines[1:] == ["the run ended before step 5, and has no sketches there"]
    assert sketcher.finish(run) is None
