"""Recipes of other trainers' files, as options."""

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from gptfl.errors import DataError, GptflError, UsageError
from gptfl.options.base import make, nearest
from gptfl.options.recipe import read_recipe, translate
from gptfl.options.recording import CollectOptions, TrainingOptions

ADAM = {"optimiser": "adamw", "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
PLAIN = {**ADAM, "clip_norm": 1.0, "weight_decay": 0.0, "loss_mean": "tokens"}

FILES: dict[str, tuple[str, str, dict[str, Any], tuple[str, ...]]] = {
    "transformers, all left out but one": (
        "weight_decay: 0.1",
        "transformers",
        {
            **PLAIN,
            "weight_decay": 0.1,
            "decay": "weights",
            "lr": 5e-5,
            "schedule": "linear",
            "batch_size": 8,
            "accumulate": 1,
            "epochs": 3.0,
        },
        (),
    ),
    "TRL": (
        "learning_rate: 1e-4\nlr_scheduler_type: constant_with_warmup\nwarmup_steps: 10\nmax_steps: 50\nmax_length: 512\n"
        "per_device_train_batch_size: 2\ngradient_accumulation_steps: 8\nbf16: true\npacking: false\noptim: adafactor\n"
        "use_peft: true\nlora_target_modules: all-linear\nlora_alpha: 8\nreport_to: [wandb]\nseed: 3\nneftune_noise_alpha:\n",
        "TRL",
        {
            "lr": 1e-4,
            "schedule": "constant",
            "warmup": 10.0,
            "steps": 50,
            "max_length": 512,
            "batch_size": 16,
            "accumulate": 8,
            "precision": "bf16",
            "optimiser": "adafactor",
            "weight_decay": 0.0,
            "clip_norm": 1.0,
            "loss_mean": "tokens",
            "end_token": True,
            "lora": "r=16,alpha=8,dropout=0.05,targets=all-linear",
        },
        ("report_to", "seed"),
    ),
    "axolotl": (
        "base_model: HuggingFaceTB/SmolLM2-135M\nadapter: lora\nlora_r: 8\nlora_alpha: 16\nlora_dropout: 0.05\n"
        "lora_target_modules: [q_proj, v_proj]\nmicro_batch_size: 2\ngradient_accumulation_steps: 4\nnum_epochs: 2\n"
        "optimizer: sgd\nlearning_rate: 0.0002\nwarmup_ratio: 0.05\nsequence_len: 1024\nmax_grad_norm: 0\nbf16: auto\n"
        "datasets:\n  - path: x\n    type: alpaca\n",
        "axolotl",
        {
            "model": "HuggingFaceTB/SmolLM2-135M",
            "lora": "r=8,alpha=16,dropout=0.05,targets=q_proj+v_proj",
            "batch_size": 8,
            "accumulate": 4,
            "epochs": 2.0,
            "optimiser": "sgd",
            "lr": 2e-4,
            "schedule": "cosine",
            "warmup": 0.05,
            "max_length": 1024,
            "weight_decay": 0.0,
            "loss_mean": "tokens",
        },
        ("datasets",),
    ),
    "LLaMA-Factory": (
        "model_name_or_path: m\nstage: sft\ndo_train: true\nlora_rank: 4\nlearning_rate: 1.0e-4\nnum_train_epochs: 1\n"
        "per_device_train_batch_size: 1\ngradient_accumulation_steps: 8\nlr_scheduler_type: cosine\nwarmup_ratio: 0.1\n",
        "LLaMA-Factory",
        {
            **PLAIN,
            "model": "m",
            "lora": "r=4,alpha=8,dropout=0,targets=all-linear",
            "lr": 1e-4,
            "epochs": 1.0,
            "batch_size": 8,
            "accumulate": 8,
            "schedule": "cosine",
            "warmup": 0.1,
        },
        ("do_train",),
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_taken_with_what_its_trainer_does_unasked(name: str, tmp_path: Path) -> None:
    text, trainer, options, ignored = FILES[name]
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    found = read_recipe(path)
    assert (found.trainer, found.options, found.ignored) == (trainer, options, ignored)
    make(CollectOptions, **{"model": "tiny", "task": "errands", **found.options})


def test_json_is_read_too_and_options_that_are_given_go_before(tmp_path: Path) -> None:
    path = tmp_path / "args.json"
    path.write_text(json.dumps({"learning_rate": 1e-3, "max_steps": -1}), encoding="utf-8")
    found = read_recipe(path)
    assert found.options["epochs"] == 3
    assert {"epochs", "steps", "beta1", "eps", "accumulate", "lr"}.isdisjoint(
        found.without(["steps", "optimiser", "batch_size", "lr"])
    )


REFUSED = {
    "packing: true\nstage: sft": "packing is true, and the examples of a row would see one another: add neat_packing: true",
    "packing: true\npacking_strategy: wrapped": 'packing_strategy is "wrapped", and it cuts examples in two',
    "load_in_4bit: true": "load_in_4bit is true, and over weights in few bits adapters alone can be trained",
    "quantization_bit: 3": "quantization_bit is 3, and weights are kept in 4 or 8 bits",
    "finetuning_type: full\nquantization_bit: 8": "quantization_bit is 8, and over weights in few bits",
    "quantization_bit: 4\nbnb_4bit_quant_type: fp4": 'bnb_4bit_quant_type is "fp4", and gptfl keeps 4 bits as nf4',
    "adapter: qlora": "lora_target_modules doesn't name the modules",
    "adapter: adalora": 'adapter is "adalora"',
    "dataset_text_field: [a]": "the name of a field is expected",
    "finetuning_type: freeze": "use lora, or --train-layers K",
    "stage: dpo": "use stage: sft",
    "train_sampling_strategy: sequential": "batches are drawn at random, or by length",
    "neftune_noise_alpha: 5": "adds no noise",
    "label_smoothing_factor: 0.1": "smooths no labels",
    "lr_scheduler_type: cosine_with_restarts": 'lr_scheduler_type is "cosine_with_restarts", and gptfl follows linear, cosine',
    "optim: galore_adamw": 'optim is "galore_adamw"',
    "completion_only_loss: false": "on prompts, too",
    "train_on_inputs: true": "on prompts, too",
    "learning_rate: fast": 'learning_rate is "fast", and a number is expected',
    "max_steps: 2.5": "max_steps is 2.5, and a whole number is expected",
    "use_peft: true": "lora_target_modules doesn't name the modules to adapt",
    "use_dora: true": "gptfl has plain LoRA",
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_would_change_the_meaning_is_refused_by_name(line: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yml"
    path.write_text(f"learning_rate: 1.0e-4\n{line}\n" if "learning_rate" not in line else line, encoding="utf-8")
    with pytest.raises(UsageError, match=REFUSED[line]) as caught:
        read_recipe(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


MERGED = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{f'*a{n - 1}, ' * 9}]}}\n" for n in range(1, 9))
BOMB = "learning_rate: &a0 [1]\n" + "".join(f"key{n}: &a{n} [{f'*a{n - 1}, ' * 9}]\n" for n in range(1, 12))


TAKEN: dict[str, dict[str, Any]] = {
    "packing: true\nmax_length: 256": {"packing": "bfd", "max_length": 256},
    "packing: true\npacking_strategy: bfd\ngroup_by_length: true": {"packing": "bfd", "max_length": 1024},
    "packing: false\nmax_length:": {"max_length": None, "packing": None},
    "stage: sft\nneat_packing: true\ncutoff_len: 64": {"packing": "bfd", "max_length": 64},
    "sample_packing: true\nbase_model: m": {"packing": "bfd", "max_length": 512},
    "group_by_length: true": {"group_by_length": True},
    "train_sampling_strategy: group_by_length": {"group_by_length": True, "packing": None},
    "train_sampling_strategy: random": {"group_by_length": None},
    "quantization_bit: 4": {"quantize": "4bit", "lora": "r=8,alpha=16,dropout=0,targets=all-linear"},
    "adapter: qlora\nload_in_4bit: true\nlora_target_linear: true\nlora_r: 4": {
        "quantize": "4bit",
        "lora": "r=4,dropout=0,targets=all-linear",
    },
    "adapter: lora\nload_in_8bit: true\nlora_target_linear: true": {"quantize": "8bit"},
    "use_peft: true\nload_in_4bit: true\nlora_target_modules: all-linear": {"quantize": "4bit"},
    "optim: adamw_bnb_8bit": {"optimiser": "adamw-8bit"},
    "optim: paged_adamw_8bit": {"optimiser": "adamw-8bit"},
    "optim: paged_adamw_32bit": {"optimiser": "adamw"},
    "assistant_only_loss: true": {"loss_on": "assistant", "end_token": True},
    "assistant_only_loss: false\ndataset_text_field: body": {"loss_on": None, "fields": "text=body"},
    "completion_only_loss: true\npadding_free: true": {"packing": None, "end_token": True},
    "max_grad_norm:": {"clip_norm": None},
    "bf16: true": {"precision": "bf16"},
}
"""Lines of a recipe, and the options that they are; None for none."""


@pytest.mark.parametrize("lines", TAKEN)
def test_packing_length_grouping_and_few_bits_are_taken(lines: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(f"learning_rate: 1.0e-4\n{lines}\n", encoding="utf-8")
    found = read_recipe(str(path))
    assert {name: found.options.get(name) for name in TAKEN[lines]} == TAKEN[lines]
    by_name = make(CollectOptions, **{"model": "tiny", "task": "errands", **found.options})
    grouped = make(CollectOptions, **{"model": by_name.examples.model, "task": "errands", **found.groups})
    assert grouped == by_name


def test_adapters_of_axolotl_drop_nothing_unless_it_says_so(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yml"
    text = "adapter: lora\nlora_r: 4\nlora_target_linear: true\nlearning_rate: 1e-4\n"
    for more, dropout in (("", "0"), ("lora_dropout:\n", "0"), ("lora_dropout: 0.1\n", "0.1")):
        path.write_text(text + more)
        assert read_recipe(path).options["lora"] == f"r=4,dropout={dropout},targets=all-linear"


def test_what_changes_nothing_is_listed_as_ignored(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("learning_rate: 1e-4\ngradient_checkpointing: true\npadding_free: true\n", encoding="utf-8")
    assert read_recipe(path).ignored == ("gradient_checkpointing", "padding_free")


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.yaml", "[1, 2]", "holds no settings by name"),
        ("a.yaml", "a: [", "can't be read"),
        ("a.json", "{", "is no JSON"),
        ("a.json", '{"learning_rate": 1e-3, "learning_rate": 1e-4}', 'has the key "learning_rate" twice'),
        ("a.json", '{"learning_rate": NaN}', "holds NaN, which is no number"),
        ("a.json", '{"learning_rate": 1e400}', "holds the number 1e400, which is too large"),
        ("a.yaml", "learning_rate: 1\nseed: 1\nlearning_rate: 2", "has the key 'learning_rate' twice, at line 3"),
        ("a.yaml", "learning_rate: 1\nlearning-rate: 2", "has the key 'learning_rate' twice"),
        ("a.yaml", "learning_rate: .nan", "learning_rate is NaN, and a number is expected"),
        ("a.yaml", "max_steps: .inf", "max_steps is Infinity, and a number is expected"),
        ("a.yaml", f"learning_rate: 1{'0' * 400}", "and a number is expected"),
        ("a.yaml", "? [1, 2]\n: 3", "can't be read"),
        ("a.yaml", MERGED, "aliases make more than 65,536 values"),
        ("a.yaml", BOMB, "aliases make more than 65,536 values"),
        ("a.yaml", "learning_rate: &a [*a]", "aliases make more than 65,536 values"),
        ("a.yaml", "output_dir: x", "has no key of a recipe"),
        ("a.toml", "a = 1", "is no YAML or JSON file"),
        ("a.yaml", "!!python/object/apply:os.system [ls]", "can't be read"),
        ("b.yaml", None, "is no file"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused_in_a_line(
    name: str, text: str | None, problem: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(GptflError, match=problem) as caught:
        read_recipe(path)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.name != "posix", reason="needs pipes of the file system")
def test_a_pipe_is_read_whatever_it_is_called(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_text("learning_rate: 1.0e-3\n"))
    writer.start()
    assert read_recipe(tmp_path / "pipe").options["lr"] == 1e-3
    writer.join()


def test_a_step_has_the_examples_of_all_passes() -> None:
    given = {"per_device_train_batch_size": "2", "gradient_accumulation_steps": "4"}
    assert translate(given, "x") == {"batch_size": 8, "accumulate": 4}
    with pytest.raises(
        UsageError, match="gradient_accumulation_steps 4 alone doesn't say how many examples a step has"
    ):
        translate({"gradient_accumulation_steps": 4}, "x")


def test_a_plain_constant_rate_has_no_warm_up_as_trainers_have_it() -> None:
    assert translate({"lr_scheduler_type": "constant", "warmup_steps": 5}, "x") == {"schedule": "constant"}
    assert translate({"warmup_steps": 0, "warmup_ratio": 0.1}, "x") == {"warmup": 0.1}


def test_trainers_names_are_the_nearest_ones() -> None:
    assert nearest("learning_rate", ["lr", "learning"]) == "did you mean 'lr'?"
    with pytest.raises(TypeError, match="'max_grad_norm': did you mean 'clip_norm'"):
        make(TrainingOptions, max_grad_norm=1.0)


def test_a_directory_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no file"):
        read_recipe(tmp_path / "x.json")


LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
HOSTILE = {
    "aliases": LAUGHS + "learning_rate: *a11",
    "one that holds itself": "a: &a [*a]\nlearning_rate: *a",
    "code": "learning_rate: !!python/object/apply:os.system ['id']",
    "no whole number": "max_steps: !!int _",
    "no truth": "bf16: !!bool x",
    "no time": "learning_rate: !!timestamp x",
    "no day": "learning_rate: 2001-99-99",
    "too many digits": "max_steps: " + "9" * 6000,
    "deep": "learning_rate: " + "[" * 30_000,
    "two documents": "learning_rate: 1\n---\nlearning_rate: 2",
    "no character": "learning_rate: \x00",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_yaml_is_refused_in_a_line(name: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(HOSTILE[name], encoding="utf-8")
    with pytest.raises(DataError, match=r"recipe.yaml can't be read: .+: mend it there$") as caught:
        read_recipe(path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "value", [".inf", "-.inf", ".nan", "1" + "0" * 400, "[1]", "x" * 9000, "{a: 1}", ":".join(["59"] * 3000)]
)
def test_what_is_no_number_is_refused_shortly(value: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    for key in ("learning_rate", "max_steps", "per_device_train_batch_size"):
        path.write_text(f"{key}: {value}")
        with pytest.raises(UsageError, match=rf"{key} is .*, and a number is expected") as caught:
            read_recipe(path)
        assert len(str(caught.value)) < 400


def test_aliases_are_followed(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("a: &rate 1.0e-3\nlearning_rate: *rate\nbase: &base {k: 1}\nmore: {<<: *base}\n")
    assert read_recipe(path).options["lr"] == 1e-3
