"""TRL's trainers as the callback records them: several workers, accumulation, packing, preferences."""

import csv
import re
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
import transformers as hf

import gptfl
from gptfl.core import Dynamics
from gptfl.errors import GptflError
from gptfl.recorder import trl_rows
from gptfl.recorder.trl_rows import ids_of_packed, packs, prepared, prepares
from tests.models import WORDS
from tests.recorder.own_runs import recorded

trl = pytest.importorskip("trl")
# TRL uses old names of transformers.
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")
COMMON: dict[str, Any] = {
    "report_to": [],
    "use_cpu": True,
    "save_strategy": "no",
    "dataloader_pin_memory": False,
    "disable_tqdm": True,
    "learning_rate": 1e-3,
    "max_steps": 3,
    "bf16": False,
}


@pytest.fixture(scope="module")
def texts() -> list[dict[str, Any]]:
    """16 rows, of different lengths; the last 4 are for tests."""
    random = np.random.default_rng(0)
    found = []
    for number in range(16):
        prompt, target = (" ".join(random.choice(WORDS.split(), size)) for size in (2 + number % 4, 1 + number % 3))
        found.append({"id": f"r{number}", "prompt": f"{prompt} {number}", "completion": f" {target}"})
    return found


@pytest.fixture
def sft(small: Path, tokenizer: Any, texts: list[dict[str, Any]], tmp_path: Path) -> Callable[..., Any]:
    """An SFTTrainer of the tiny model with the callback, and what its batches held: id by id, step by step."""

    def made(own: dict[str, Any] | None = None, **options: Any) -> tuple[Any, list[list[str]]]:
        rows = datasets.Dataset.from_list(texts)
        callback = gptfl.GptflCallback("own", workspace=tmp_path, say=lambda line: None, **{"every": 3, **(own or {})})
        trainer = trl.SFTTrainer(
            model=hf.AutoModelForCausalLM.from_pretrained(small),
            args=trl.SFTConfig(str(tmp_path / "out"), **{**COMMON, "per_device_train_batch_size": 2, **options}),
            train_dataset=rows.select(range(12)),
            eval_dataset=rows.select(range(12, 16)),
            processing_class=tokenizer,
            callbacks=[callback],
        )
        seen: list[list[str]] = []
        plain = trainer.training_step

        def spy(model: Any, inputs: Any, *rest: Any, **kwargs: Any) -> Any:
            assert "gptfl_rows" not in inputs
            text = tokenizer.decode(inputs["input_ids"].flatten(), skip_special_tokens=True)
            # Every prompt ends with its number, so that they can be found in whatever order and row.
            seen.append([f"r{number}" for number in re.findall(r"\d+", text)])
            return plain(model, inputs, *rest, **kwargs)

        trainer.training_step = spy
        return trainer, seen

    return made


def named(dynamics: Dynamics) -> list[list[str]]:
    (run,) = dynamics.runs
    return [[dynamics.pool[place].id for place in batch if place >= 0] for batch in run.curriculum.batches]


@pytest.mark.parametrize(
    "options",
    [
        {"dataloader_num_workers": 2, "gradient_accumulation_steps": 2},
        {"padding_free": True, "max_length": None},
        {"packing": True, "max_length": 24, "eval_packing": False},
    ],
    ids=["workers", "padding-free", "packed"],
)
@pytest.mark.filterwarnings("ignore")  # TRL and torch warn of what the options ask for on a CPU
def test_the_ids_are_those_of_the_batches(
    sft: Callable[..., Any], texts: list[dict[str, Any]], tmp_path: Path, options: dict[str, Any]
) -> None:
    trainer, seen = sft({"pool": texts[:12], "own_losses": True}, **options)
    trainer.train()
    each = options.get("gradient_accumulation_steps", 1)
    steps = [[name for batch in seen[at : at + each] for name in batch] for at in range(0, len(seen), each)]
    assert named(recorded(tmp_path)) == steps
    if options.get("packing"):
        assert max(map(len, seen)) > 2
    with (tmp_path / "own.own-losses" / "run-0000.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["id"] for row in table] == [name for step in steps for name in step]


def test_own_losses_are_those_of_the_rows_by_themselves(sft: Callable[..., Any], small: Path, tmp_path: Path) -> None:
    for number, options in enumerate(({}, {"padding_free": True, "max_length": None})):
        trainer, _ = sft({"own_losses": True}, max_steps=1, **options)
        by_id = {row["id"]: row for row in trainer.train_dataset}
        trainer.train()
        with (tmp_path / "own.own-losses" / f"run-000{number}.csv").open() as file:
            table = list(csv.DictReader(file))
        model = hf.AutoModelForCausalLM.from_pretrained(small).eval()
        for row in table:
            one = {key: torch.tensor([by_id[row["id"]][key]]) for key in ("input_ids", "labels")}
            with torch.no_grad():
                assert float(row["loss"]) == pytest.approx(model(**one).loss.item(), rel=1e-4)


def test_test_examples_have_the_tokens_that_the_trainer_evaluates(
    sft: Callable[..., Any], texts: list[dict[str, Any]], tmp_path: Path
) -> None:
    trainer, _ = sft({"test": texts[12:]})
    trainer.train()
    trainer.model.eval()
    with torch.no_grad():
        one = {key: torch.tensor([trainer.eval_dataset[0][key]]) for key in ("input_ids", "labels")}
        expected = trainer.model(**one).loss.item()
    assert recorded(tmp_path).runs[0].metrics["loss"][-1][0] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("own", "options", "message"),
    [
        ({}, {"eval_packing": False}, "packing=True drops the column of ids: give pool="),
        ({"pool": 12}, {}, "the Trainer packs its eval set"),
        ({"pool": 11}, {"eval_packing": False}, "tokens that are no example of the pool"),
        (
            {"pool": 12},
            {"packing_strategy": "wrapped", "eval_packing": False},
            "packing_strategy='wrapped' cuts examples",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_packed_rows_that_cannot_be_told_apart_are_refused(
    sft: Callable[..., Any], texts: list[dict[str, Any]], own: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    given = {"pool": texts[: own["pool"]]} if own else {}
    trainer, seen = sft(given, packing=True, max_length=24, **options)
    with pytest.raises(GptflError, match=re.escape(message)) as found:
        trainer.train()
    assert "\n" not in str(found.value)
    assert not seen


def test_preferences_are_recorded_with_their_margins(
    small: Path, tokenizer: Any, texts: list[dict[str, Any]], tmp_path: Path
) -> None:
    rows = [
        {"id": row["id"], "prompt": row["prompt"], "chosen": row["completion"], "rejected": " moon sea"}
        for row in texts
    ]
    trainer = trl.DPOTrainer(
        model=hf.AutoModelForCausalLM.from_pretrained(small),
        args=trl.DPOConfig(str(tmp_path / "out"), **COMMON, per_device_train_batch_size=4),
        train_dataset=datasets.Dataset.from_list(rows[:12]),
        eval_dataset=datasets.Dataset.from_list(rows[12:]),
        processing_class=tokenizer,
        callbacks=[gptfl.GptflCallback("own", workspace=tmp_path, every=3, say=lambda line: None)],
    )
    trainer.train()
    dynamics = recorded(tmp_path)
    (run,) = dynamics.runs
    assert sorted(run.curriculum.batches.ravel().tolist()) == list(range(12))
    assert run.steps.tolist() == [0, 3]
    assert dynamics.metrics["margin"].higher_is_better
    trainer.model.eval()
    row = trainer.eval_dataset[1]
    sums = {}
    for answer in ("chosen", "rejected"):
        ids = torch.tensor([row["prompt_ids"] + row[f"{answer}_ids"]])
        with torch.no_grad():
            likely = trainer.model(input_ids=ids).logits.log_softmax(-1)[0, :-1].gather(1, ids[0, 1:, None])[:, 0]
        sums[answer] = likely[len(row["prompt_ids"]) - 1 :].sum().item()
    assert run.metrics["margin"][-1][1] == pytest.approx(sums["chosen"] - sums["rejected"], rel=1e-3, abs=1e-3)
    assert run.metrics["loss"][-1][1] == pytest.approx(-sums["chosen"] / len(row["chosen_ids"]), rel=1e-3)


class Trainer:
    """Stands for one that prepares rows by giving each letter a number."""

    def __init__(self, packed: list[list[dict[str, Any]]], **args: Any) -> None:
        self.args = types.SimpleNamespace(packing=True, max_length=4, **args)
        self.processing_class = None
        self.train_dataset = [
            {
                "input_ids": [one for part in parts for one in part["input_ids"]],
                "labels": [one for part in parts for one in part["labels"]],
                "seq_lengths": [len(part["input_ids"]) for part in parts],
            }
            for parts in packed
        ]

    def _prepare_dataset(self, rows: Any, *given: Any) -> Any:
        args = given[1]
        return [{**row, **{key: one[: args.max_length] for key, one in tokens(row["t"]).items()}} for row in rows]


def tokens(text: str) -> dict[str, list[int]]:
    ids = [ord(letter) for letter in text]
    return {"input_ids": ids, "labels": [-100, *ids[1:]]}


def test_examples_of_packed_rows_are_found_by_their_tokens_those_alike_by_their_order() -> None:
    pool = [{"id": name, "t": text} for name, text in (("a", "xyzuv"), ("b", "pq"), ("c", "pq"), ("d", "r"))]
    long, pair, one = ({key: value[:4] for key, value in tokens(text).items()} for text in ("xyzuv", "pq", "r"))
    trainer = Trainer([[pair, one], [long], [pair, pair]])
    assert ids_of_packed(trainer, pool, "id") == [("b", "d"), ("a",), ("c", "b")]
    with pytest.raises(GptflError, match="packed row 1 of the training set holds 4 tokens that are no example"):
        ids_of_packed(trainer, pool[1:], "id")
    with pytest.raises(GptflError, match="training example 1 has no 'id'"):
        ids_of_packed(trainer, [pool[0], {"t": "pq"}], "id")


def test_packing_in_evaluation_is_as_in_training_unless_said() -> None:
    for packing, other, train, evaluation in (
        (True, None, True, True),
        (True, False, True, False),
        (False, True, False, True),
    ):
        trainer = types.SimpleNamespace(args=types.SimpleNamespace(packing=packing, eval_packing=other))
        assert (packs(trainer), packs(trainer, train=False)) == (train, evaluation)


def test_rows_of_other_trainers_and_of_tokens_stay_as_they_are() -> None:
    rows = [{"id": 1, "t": "a"}, {"input_ids": [1]}, "text"]
    assert trl_rows.test_rows(types.SimpleNamespace(), rows, "id") == rows
    assert not prepares(Trainer([]))


def test_what_cannot_be_prepared_is_one_line() -> None:
    with pytest.raises(GptflError, match=r"Trainer can't prepare these rows \(KeyError: 't'\): give rows in the shape"):
        prepared(Trainer([]), [{"x": "a"}], "id", ["0"])
