"""gptfl attribute: a finished training's checkpoints, held against what was recorded while it trained."""

import json
import re
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file

import gptfl
from gptfl.cli.main import run
from gptfl.core import Dynamics
from gptfl.errors import GptflError
from gptfl.plugins.registry import build
from gptfl.recording.command import command_of
from gptfl.store.recordings import read_dynamics
from tests.models import WORDS, save_small

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")  # peft uses an old name


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


class Finished:
    """A fine-tuning that is over: its model, rows and checkpoints, and what the callback recorded of it."""

    def __init__(self, folder: Path, lora: bool = False) -> None:
        random = np.random.default_rng(0)
        texts = [
            {
                "id": f"r{number}",
                "prompt": " ".join(random.choice(WORDS.split(), 3 + number % 4)),
                "target": " " + " ".join(random.choice(WORDS.split(), 1 + number % 3)),
            }
            for number in range(16)
        ]
        self.train, self.eval = lines(folder / "train.jsonl", texts[:12]), lines(folder / "eval.jsonl", texts[12:])
        self.model = save_small(folder / "base", "gpt2", blocks=1, width=16)
        self.out, self.recorded = folder / "out", folder / "recorded"
        tokenizer = hf.AutoTokenizer.from_pretrained(self.model)

        def tokens(row: dict[str, Any]) -> dict[str, Any]:
            whole, prompt = (tokenizer(text)["input_ids"] for text in (row["prompt"] + row["target"], row["prompt"]))
            return {"id": row["id"], "input_ids": whole, "labels": [-100] * len(prompt) + whole[len(prompt) :]}

        made = [tokens(row) for row in texts]
        model = hf.AutoModelForCausalLM.from_pretrained(self.model)
        if lora:
            from peft import LoraConfig, get_peft_model

            config = LoraConfig(
                r=2, lora_alpha=8, target_modules=["c_attn"], fan_in_fan_out=True, task_type="CAUSAL_LM"
            )
            model = get_peft_model(model, config)
        callback = gptfl.GptflCallback(
            "own", workspace=self.recorded, every=3, sketches_at=[6], own_losses=True, say=lambda line: None
        )
        trainer = hf.Trainer(
            model=model,
            args=hf.TrainingArguments(
                str(self.out),
                per_device_train_batch_size=4,
                num_train_epochs=2,
                learning_rate=1e-2 if lora else 1e-3,
                max_grad_norm=0.0,
                logging_steps=1,
                save_steps=3,
                report_to=[],
                use_cpu=True,
                dataloader_pin_memory=False,
                disable_tqdm=True,
            ),
            train_dataset=datasets.Dataset.from_list(made[:12]),
            eval_dataset=datasets.Dataset.from_list(made[12:]),
            data_collator=hf.DataCollatorForSeq2Seq(tokenizer),
            processing_class=tokenizer,
            callbacks=[callback],
        )
        trainer.train()
        self.order = self.recorded / "own.own-losses" / "run-0000.csv"

    def attribute(self, where: Path, **options: Any) -> tuple[Any, Dynamics]:
        given = {"train": self.train, "eval": self.eval, "workspace": where, "name": "got", **options}
        found = gptfl.attribute(str(self.model), self.out, **given)
        return found, read_dynamics(where / "got.dynamics.h5")

    def own(self) -> Dynamics:
        return read_dynamics(self.recorded / "own.dynamics.h5")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return Finished(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return Finished(tmp_path_factory.mktemp("adapted"), lora=True)


def by_id(dynamics: Dynamics, values: np.ndarray, side: str, axis: int = -1) -> np.ndarray:
    """Values in the order of the examples' ids."""
    names = [one.id for one in getattr(dynamics, side)]
    return np.take(values, np.argsort(names), axis)


def check_same_products(got: Dynamics, own: Dynamics, product: str) -> None:
    """The same losses at the checkpoints, exposures, and products of gradients at the last."""
    (one,), (other,) = got.runs, own.runs
    assert one.steps.tolist() == other.steps.tolist() == [0, 3, 6]
    losses = (by_id(side, run.metrics["loss"], "test") for side, run in ((got, one), (own, other)))
    np.testing.assert_allclose(*losses, rtol=1e-4)
    products = []
    for side in (got, own):
        assert side.sketches is not None
        assert side.sketches.products is not None
        values = getattr(side.sketches.products, product)[-1]
        products.append(by_id(side, by_id(side, values, "pool", 0), "test"))
    assert np.corrcoef(products[0].ravel(), products[1].ravel())[0, 1] > 0.99
    assert np.polyfit(products[1].ravel(), products[0].ravel(), 1)[0] == pytest.approx(1.0, abs=0.05)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """The files of torch's that are opened, and whether only weights are read of them."""
    plain, seen = torch.load, []

    def spy(path: Any, *args: Any, **options: Any) -> Any:
        seen.append((Path(path).name, options.get("weights_only")))
        return plain(path, *args, **options)

    monkeypatch.setattr(torch, "load", spy)
    return seen


def test_checkpoints_tell_what_was_recorded_while_it_trained(
    whole: Finished, tmp_path: Path, opened: list[tuple[str, bool]]
) -> None:
    found, got = whole.attribute(tmp_path, order=whole.order, optimiser_state=True)
    assert set(opened) == {("optimizer.pt", True)}
    own = whole.own()
    check_same_products(got, own, "raw")
    check_same_products(got, own, "preconditioned")
    names, theirs = ([one.id for one in side.pool] for side in (got, own))
    batches = [
        [[who[place] for place in batch] for batch in side.runs[0].curriculum.batches]
        for who, side in ((names, got), (theirs, own))
    ]
    assert batches[0] == batches[1]
    np.testing.assert_allclose(
        got.runs[0].curriculum.learning_rates, own.runs[0].curriculum.learning_rates, rtol=0.25, atol=1e-4
    )
    (ranking,) = found.rankings
    assert ranking.estimator == "exposure-gp"
    assert ranking.low is not None
    assert ranking.high is not None
    assert ((ranking.low < ranking.influence) & (ranking.influence < ranking.high)).all()
    assert any("fitted to one run" in note for note in found.notes)


def test_without_order_or_optimiser_every_example_counts_alike(
    whole: Finished, tmp_path: Path, opened: list[tuple[str, bool]]
) -> None:
    found, got = whole.attribute(tmp_path, on="test:r13", output=tmp_path / "table.csv")
    assert not opened
    (run,) = got.runs
    assert [sorted(batch) for batch in run.curriculum.batches.tolist()] == [list(range(12))] * 6
    assert got.sketches is not None
    assert got.sketches.steps.tolist() == [0, 3, 6]
    notes = " ".join(found.notes)
    assert "which examples each step was trained on isn't known" in notes
    assert "gradients are plain" in notes
    assert len((tmp_path / "table.csv").read_text(encoding="utf-8").splitlines()) == 13
    # The commands take the recording, and say what one run can't tell.
    assert gptfl.rank(on="test:r12", workspace=tmp_path).rankings[0].estimator == "exposure-gp"
    with pytest.raises(GptflError, match="nothing of it can be held out to compare by"):
        gptfl.compare(workspace=tmp_path, figure=False)
    predicted = gptfl.simulate(subset=[one.id for one in got.pool[:6]], workspace=tmp_path)
    assert any("nothing of a single run can be held out" in note for note in predicted.notes)
    # The same again takes the place of the one before; a recording of another kind doesn't give way.
    whole.attribute(tmp_path, on="test:r13")
    with pytest.raises(GptflError, match="is a recording of another kind"):
        whole.attribute(whole.recorded, name="own")
    with pytest.raises(GptflError, match="was made from checkpoints"):
        command_of(tmp_path / "got.dynamics.h5", build([]))


def test_tokens_of_an_answer_are_reported_apart(whole: Finished, tmp_path: Path) -> None:
    found, got = whole.attribute(tmp_path, on="test:r14", tokens=True)
    assert found.tokens is not None
    assert "".join(found.tokens.tokens) == next(one.target for one in got.test if one.id == "r14")
    # One run has nothing but first order; products are from wider sketches than the tokens'.
    (ranking,) = found.rankings
    assert np.corrcoef(found.tokens.influence.mean(axis=1), ranking.influence)[0, 1] > 0.98
    with pytest.raises(GptflError, match="gptfl attribute --tokens tells it from checkpoints"):
        gptfl.rank(on="test:r14", tokens=True, model=str(whole.model), workspace=tmp_path)


def test_adapters_are_read(adapted: Finished, tmp_path: Path) -> None:
    _, got = adapted.attribute(tmp_path, order=adapted.order)
    assert got.sketches is not None
    assert got.sketches.steps.tolist() == [3, 6]
    check_same_products(got, adapted.own(), "raw")


def test_a_single_checkpoint_will_do(whole: Finished, tmp_path: Path) -> None:
    given = {"train": whole.train, "eval": whole.eval, "workspace": tmp_path, "name": "one"}
    gptfl.attribute(str(whole.model), whole.out / "checkpoint-6", **given)
    assert read_dynamics(tmp_path / "one.dynamics.h5").runs[0].steps.tolist() == [0, 6]


def test_weights_that_were_not_trained_have_no_gradients(whole: Finished, tmp_path: Path) -> None:
    base = load_file(whole.model / "model.safetensors")
    folder = tmp_path / "out" / "checkpoint-2"
    folder.mkdir(parents=True)
    kept = whole.out / "checkpoint-6"
    for name in ("config.json", "trainer_state.json"):
        (folder / name).write_text((kept / name).read_text(encoding="utf-8"), encoding="utf-8")
    moved = {name: value + 0.01 if ".attn." in name else value for name, value in base.items()}
    save_file(moved, folder / "model.safetensors", metadata={"format": "pt"})
    given = {"train": whole.train, "eval": whole.eval, "workspace": tmp_path, "name": "few"}
    found = gptfl.attribute(str(whole.model), tmp_path / "out", **given)
    assert any(re.search(r"^4 of \d+ weights were trained; gradients are of these$", note) for note in found.notes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"checkpoints": "base"}, "holds no checkpoint-N, and no trainer_state.json"),
        ({"checkpoints": "nowhere"}, "can't be read"),
        ({"order": "a,b\n1,r0\n"}, "has no columns step and id"),
        ({"order": "step,id\n1,r99\n"}, 'line 2: no row to train on has the id "r99"'),
        ({"order": "step,id\n0,r0\n"}, 'line 2: step "0"'),
        ({"order": "step,id\n1,r0\n"}, "has no ids of step 2"),
        ({"on": "test:r99"}, "r99"),
        ({"loss_mean": "rows"}, "'rows' is unknown"),
        ({"name": "a/b"}, "can't begin the names of files"),
        ({"eval": None}, "no rows to test on are named, and all others were trained on"),
    ],
)
def test_what_makes_no_sense_is_refused_before_a_model_is_loaded(
    whole: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr("gptfl.training.load.load_model", lambda *args, **kwargs: pytest.fail("it was loaded"))
    given: dict[str, Any] = {"train": whole.train, "eval": whole.eval, "workspace": tmp_path, **options}
    if "order" in options:
        given["order"] = tmp_path / "order.csv"
        given["order"].write_text(options["order"], encoding="utf-8")
    folder = whole.model.parent / given.pop("checkpoints", "out")
    with pytest.raises(GptflError, match=re.escape(message)) as found:
        gptfl.attribute(str(whole.model), folder, **given)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peft_type": "IA3"}, 'has peft_type = "IA3": gptfl reads peft_type = LORA'),
        ({"use_dora": True}, "has use_dora = True: gptfl reads plain LoRA"),
        ({"target_modules": "all-linear"}, "has target_modules ="),
        ({"r": "two"}, "has r ="),
    ],
)
def test_adapters_of_other_kinds_are_refused(
    adapted: Finished, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    folder = tmp_path / "checkpoint-6"
    folder.mkdir()
    for one in (adapted.out / "checkpoint-6").iterdir():
        if one.is_file():
            (folder / one.name).write_bytes(one.read_bytes())
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    (folder / "adapter_config.json").write_text(json.dumps({**config, **change}), encoding="utf-8")
    with pytest.raises(GptflError, match=re.escape(message)):
        gptfl.attribute(str(adapted.model), tmp_path, train=adapted.train, eval=adapted.eval, workspace=tmp_path)


def test_the_command_shows_the_table(
    whole: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--model", whole.model, "--checkpoints", whole.out, "--train", whole.train, "--eval", whole.eval]
    more = ["--workspace", tmp_path, "--top", "3", "--harmful"]
    monkeypatch.setattr("sys.argv", ["gptfl", "attribute", *map(str, (*words, *more))])
    with pytest.raises(SystemExit) as left:
        run()
    assert left.value.code == 0
    captured = capsys.readouterr()
    assert (
        "Influence of each of 12 training examples on the mean of all 4 test examples, by exposure-gp" in captured.out
    )
    assert "fitted to one run" in captured.err
