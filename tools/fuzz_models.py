"""Breaks a tiny model folder in many ways and counts what happens: python tools/fuzz_models.py [--seconds 120] [NAME ...]

Every folder is loaded and measured as gptfl collect would. It must be taken, or refused by one line; anything else
(a traceback, several lines, more than two seconds) is a fault, and the script then exits 1.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SLOW = 2.0
WEIGHTS, CONFIG, INDEX = "model.safetensors", "config.json", "model.safetensors.index.json"
TOKENIZER = "tokenizer.json"
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 5\n"
Change = Callable[[Path], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a folder: ``error`` is what it was refused by, empty where it was taken."""

    name: str
    expected: bool
    error: str
    fault: str
    seconds: float


def make_base(folder: Path) -> Path:
    """A whole model of two narrow blocks, and its tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()

    from gptfl.training.tiny import train_tokenizer

    tokenizer = train_tokenizer(["the sun is red, the moon is blue, who sees it?"] * 20)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}
        config = LlamaConfig(
            vocab_size=len(tokenizer), max_position_embeddings=64, tie_word_embeddings=False, bos_token_id=0, **sizes
        )
        LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def renamed(change: Callable[[int, str], str | None]) -> Change:
    """Give each weight another name, or leave it out."""

    def apply(folder: Path) -> None:
        def rename(tensors: dict[str, Any]) -> dict[str, Any]:
            named = {change(place, name): value for place, (name, value) in enumerate(tensors.items())}
            return {name: value for name, value in named.items() if name is not None}

        altered(rename)(folder)

    return apply


def altered(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Change:
    """Change the tensors of the file."""

    def apply(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS, metadata={"format": "pt"})

    return apply


def cut(change: Callable[[bytes], bytes], name: str = WEIGHTS) -> Change:
    """Change the bytes of a file."""

    def apply(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).unlink()
        (folder / name).write_bytes(change(content))

    return apply


def text(name: str, content: str) -> Change:
    """Write a file."""

    def apply(folder: Path) -> None:
        (folder / name).write_text(content, encoding="utf-8")

    return apply


def config(**values: Any) -> Change:
    """Set values of config.json."""

    def apply(folder: Path) -> None:
        known = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        (folder / CONFIG).write_text(json.dumps({**known, **values}), encoding="utf-8")

    return apply


def tokenizer(**parts: Any) -> Change:
    """Put parts into tokenizer.json; those of ``model`` beside what is there."""

    def apply(folder: Path) -> None:
        known = json.loads((folder / TOKENIZER).read_text(encoding="utf-8"))
        parts["model"] = {**known["model"], **parts.get("model", {})}
        (folder / TOKENIZER).write_text(json.dumps({**known, **parts}), encoding="utf-8")

    return apply


def more_tokens(count: int) -> Change:
    """Make the vocabulary so large."""

    def apply(folder: Path) -> None:
        known = json.loads((folder / TOKENIZER).read_text(encoding="utf-8"))["model"]["vocab"]
        tokenizer(model={"vocab": known | {f"x{place}": place for place in range(len(known), count)}})(folder)

    return apply


def replacing(old: str, new: str, times: int = 1) -> dict[str, Any]:
    """A normalizer that puts one text in the place of another, time and again."""
    step = {"type": "Replace", "pattern": {"String": old}, "content": new}
    return {"type": "Sequence", "normalizers": [step] * times}


def splitting(pattern: str) -> dict[str, Any]:
    """A pre-tokenizer that splits by a regular expression."""
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def without(name: str) -> Change:
    """Take a file away."""
    return lambda folder: (folder / name).unlink()


def as_folder(name: str) -> Change:
    """Put a folder in a file's place."""

    def apply(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return apply


def sharded(
    names: tuple[str, str] = ("model-1.safetensors", "model-2.safetensors"),
    *,
    index: Callable[[dict[str, Any]], Any] = lambda index: index,
    after: Change = lambda folder: None,
    twice: bool = False,
) -> Change:
    """Spread the weights over two files with an index."""

    def apply(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        tensors = load_file(folder / WEIGHTS)
        (folder / WEIGHTS).unlink()
        half = len(tensors) // 2
        where = {name: names[place >= half] for place, name in enumerate(tensors)}
        for file in names:
            held = {name: value for name, value in tensors.items() if where[name] == file or twice}
            target = folder / Path(file).name
            save_file(held, target, metadata={"format": "pt"})
        made = index({"metadata": {"total_size": 1}, "weight_map": where})
        (folder / INDEX).write_text(json.dumps(made), encoding="utf-8")
        after(folder)

    return apply


def both(first: Change, second: Change) -> Change:
    """One change after the other."""

    def apply(folder: Path) -> None:
        first(folder)
        second(folder)

    return apply


def of(family: str, kind: str = "LMHeadModel", **values: Any) -> Change:
    """Another architecture in the folder, with the same tokenizer."""

    def apply(folder: Path) -> None:
        import transformers

        size = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["vocab_size"]
        made = getattr(transformers, f"{family}Config")(vocab_size=size, **values)
        getattr(transformers, f"{family}{kind}")(made).save_pretrained(folder)

    return apply


def quantised(method: str, **more: Any) -> Change:
    """A config.json that names a way of quantising."""
    return config(quantization_config={"quant_method": method, **more})


def retyped(kind: str) -> Change:
    """Weights of another type."""

    def change(tensors: dict[str, Any]) -> dict[str, Any]:
        import torch

        return {name: value.to(getattr(torch, kind)) for name, value in tensors.items()}

    return altered(change)


def spoilt(value: float) -> Change:
    """One weight that is no finite number."""

    def change(tensors: dict[str, Any]) -> dict[str, Any]:
        next(iter(tensors.values())).view(-1)[3] = value
        return tensors

    return altered(change)


def reshaped(tensors: dict[str, Any]) -> dict[str, Any]:
    """One weight with fewer rows."""
    return {name: value[:-1].clone() if "up_proj" in name else value for name, value in tensors.items()}


def added_token(folder: Path) -> None:
    """A tokenizer with more tokens than the model embeds, one of which the texts hold."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["sun"])
    tokenizer.save_pretrained(folder)


def smaller_vocabulary(folder: Path) -> None:
    """A model that embeds fewer tokens than its tokenizer gives."""
    altered(lambda tensors: {n: v[:100].clone() if v.shape[0] > 200 else v for n, v in tensors.items()})(folder)
    config(vocab_size=100)(folder)


def adapter_alone(folder: Path) -> None:
    """What peft saves: an adapter, which names its model."""
    (folder / CONFIG).unlink()
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "gpt2", "peft_type": "LORA"}')


def no_tokenizer(folder: Path) -> None:
    """A model without its tokenizer."""
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()


def tokenizer_as_pipe(folder: Path) -> None:
    """A pipe, which nobody writes to, in the tokenizer's place."""
    (folder / "tokenizer.json").unlink()
    os.mkfifo(folder / "tokenizer.json")


TAKEN: dict[str, Change] = {
    "whole": lambda folder: None,
    "prefix of compile": renamed(lambda _, name: f"_orig_mod.{name}"),
    "prefix of DDP": renamed(lambda _, name: f"module.{name}"),
    "prefixes nested": renamed(lambda _, name: f"module._orig_mod.module.{name}"),
    "prefix inside": renamed(lambda _, name: name.replace("layers.0.", "layers.0._orig_mod.")),
    "prefix of FSDP": renamed(lambda _, name: f"_fsdp_wrapped_module.{name}"),
    "prefix of half": renamed(lambda place, name: f"_orig_mod.{name}" if place % 2 else name),
    "float16": retyped("float16"),
    "bfloat16": retyped("bfloat16"),
    "float64": retyped("float64"),
    "two files": sharded(),
    "index without metadata": sharded(index=lambda index: {"weight_map": index["weight_map"]}),
    "attention by a Hub kernel": config(_attn_implementation="kernels-community/flash-attn3"),
    "attention by a Hub kernel (old key)": config(attn_implementation="evil/kernel:run"),
    "experts by a Hub kernel": config(_experts_implementation="evil/kernel"),
    "weights elsewhere by config": config(transformers_weights="../outside.safetensors"),
    "longest input -1": config(max_position_embeddings=-1),
    "longest input 0": config(max_position_embeddings=0),
    "own code offered": config(auto_map={"AutoModelForCausalLM": "evil.Evil"}),
}
"""Folders that are to be loaded, as the whole one is."""

REFUSED: dict[str, Change] = {
    "one weight missing": renamed(lambda _, name: None if "layers.1.mlp.up_proj" in name else name),
    "head missing, not tied": renamed(lambda _, name: None if name == "lm_head.weight" else name),
    "embedding missing": renamed(lambda _, name: None if "embed_tokens" in name else name),
    "a weight too many": altered(lambda tensors: {**tensors, "extra.weight": tensors["lm_head.weight"].clone()}),
    "a weight of another shape": altered(reshaped),
    "foreign prefix": renamed(lambda _, name: f"student.{name}"),
    "a name with escapes": renamed(lambda place, name: f"\x1b[31m{name}\n" if place == 3 else name),
    "with and without prefix": altered(lambda t: {**t, "_orig_mod.lm_head.weight": t["lm_head.weight"].clone()}),
    "no weights at all": altered(lambda tensors: {}),
    "NaN": spoilt(float("nan")),
    "infinity": spoilt(float("inf")),
    "int8": retyped("int8"),
    "float8": retyped("float8_e4m3fn"),
    "empty file": cut(lambda data: b""),
    "half a file": cut(lambda data: data[: len(data) // 2]),
    "a byte short": cut(lambda data: data[:-1]),
    "a byte too many": cut(lambda data: data + b"x"),
    "half a header": cut(lambda data: data[:300]),
    "header of 2^63 bytes": cut(lambda data: (2**63).to_bytes(8, "little") + data[8:]),
    "header of no JSON": cut(lambda data: data[:8] + b"[" * 400 + data[408:]),
    "header that lies": cut(lambda data: data.replace(b'"data_offsets":[0', b'"data_offsets":[9', 1)),
    "zeros": cut(lambda data: bytes(len(data))),
    "LFS pointer": cut(lambda data: LFS.encode()),
    "weights are a folder": as_folder(WEIGHTS),
    "no weights file": without(WEIGHTS),
    "pickle alone": lambda folder: (folder / WEIGHTS).rename(folder / "pytorch_model.bin"),
    "index names a pickle": sharded(("model-1.safetensors", "w.bin")),
    "index names a file outside": sharded(("model-1.safetensors", "../outside.safetensors")),
    "index names an absolute path": sharded(("model-1.safetensors", "/tmp/outside.safetensors")),
    "index names a subfolder": sharded(("model-1.safetensors", "sub/part.safetensors")),
    "index names the suffix alone": sharded(index=lambda index: {"weight_map": dict.fromkeys("ab", ".safetensors")}),
    "index names half a character": sharded(index=lambda index: {"weight_map": {"a": "\ud800.safetensors"}}),
    "index names a NUL": sharded(index=lambda index: {"weight_map": {"a": "\0.safetensors"}}),
    "index without a map": sharded(index=lambda index: {"metadata": {}}),
    "index with a list": sharded(index=lambda index: {"weight_map": ["a"]}),
    "index with numbers": sharded(index=lambda index: {"weight_map": {"a": 1}}),
    "index is a list": sharded(index=lambda index: [1]),
    "index of no JSON": sharded(after=text(INDEX, "{")),
    "index is an LFS pointer": sharded(after=text(INDEX, LFS)),
    "a file of the index is missing": sharded(after=without("model-2.safetensors")),
    "a file of the index is cut": sharded(after=cut(lambda data: data[:-9], "model-2.safetensors")),
    "a weight in two files": sharded(twice=True),
    "config of no JSON": text(CONFIG, "{"),
    "config empty": text(CONFIG, ""),
    "config is a list": text(CONFIG, "[]"),
    "config nested deep": text(CONFIG, '{"a":' * 20000 + "1" + "}" * 20000),
    "config not UTF-8": cut(lambda data: b"\xff\xfe" + data, CONFIG),
    "config is an LFS pointer": text(CONFIG, LFS),
    "config is a folder": as_folder(CONFIG),
    "config missing": without(CONFIG),
    "no model_type": config(model_type=None),
    "unknown model_type": config(model_type="no-such-model"),
    "model_type is a number": config(model_type=7),
    "not causal by type": config(model_type="t5"),
    "zero heads": config(num_attention_heads=0),
    "heads that don't divide": config(num_attention_heads=5),
    "negative heads": config(num_attention_heads=-4),
    "no key-value heads": config(num_key_value_heads=0),
    "head_dim 0": config(head_dim=0),
    "zero width": config(hidden_size=0),
    "width of 10^15": config(hidden_size=10**15),
    "width of 10^400": config(hidden_size=10**400),
    "width a text": config(hidden_size="wide"),
    "width a list": config(hidden_size=[16]),
    "width null": config(hidden_size=None),
    "width a fraction": config(hidden_size=16.5),
    "width NaN": config(hidden_size=float("nan")),
    "10^9 layers": config(num_hidden_layers=10**9),
    "three layers": config(num_hidden_layers=3),
    "one layer": config(num_hidden_layers=1),
    "no layers": config(num_hidden_layers=0),
    "-3 layers": config(num_hidden_layers=-3),
    "layers true": config(num_hidden_layers=True),
    "vocabulary of 10^12": config(vocab_size=10**12),
    "negative vocabulary": config(vocab_size=-1),
    "inner width of 10^10": config(intermediate_size=10**10),
    "longest input 10^12": config(max_position_embeddings=10**12),
    "unknown activation": config(hidden_act="no-such"),
    "unknown dtype": config(dtype="evil", torch_dtype="evil"),
    "rope of nonsense": config(rope_parameters={"rope_type": "no-such"}, rope_scaling={"type": "no-such"}),
    "other loops of layers": config(model_type="gpt_neo", attention_types=[[["global", "local"], 10**9]]),
    "bitsandbytes": quantised("bitsandbytes", load_in_4bit=True),
    "gptq": quantised("gptq", bits=4),
    "awq": quantised("awq", bits=4),
    "fp8": quantised("fp8"),
    "mxfp4": quantised("mxfp4"),
    "compressed tensors": quantised("compressed-tensors"),
    "an unknown way of quantising": quantised("no-such"),
    "quantised without a method": config(quantization_config={"bits": 4}),
    "gptq by its names alone": renamed(lambda _, name: name.replace("up_proj.weight", "up_proj.qweight")),
    "an adapter beside": text("adapter_config.json", '{"base_model_name_or_path": "gpt2", "peft_type": "LORA"}'),
    "an adapter alone": adapter_alone,
    "tokenizer is a pipe": tokenizer_as_pipe,
    "an endless file": lambda folder: (folder / "merges.txt").symlink_to("/dev/zero"),
    "tokenizer of 10 GB": lambda folder: os.truncate(folder / "tokenizer.json", 10**10),
    "config of 10 GB": lambda folder: os.truncate(folder / CONFIG, 10**10),
    "no tokenizer": no_tokenizer,
    "tokenizer of no JSON": text("tokenizer.json", "{"),
    "tokenizer of nonsense": text("tokenizer.json", '{"model": {"type": "BPE", "vocab": {"a": -1}, "merges": 7}}'),
    "tokenizer is an LFS pointer": text("tokenizer.json", LFS),
    "tokenizer settings are a list": text("tokenizer_config.json", "[]"),
    "tokenizer of its own code": text(
        "tokenizer_config.json", '{"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", null]}}'
    ),
    "fewer embeddings than tokens": smaller_vocabulary,
    "an added token in the texts": added_token,
    "tokenizer of two million tokens": more_tokens(2_000_000),
    "tokenizer nested deep": text("tokenizer.json", '{"normalizer":' * 20000 + "1" + "}" * 20000),
    "tokenizer of five million values": text("tokenizer.json", '{"a": [' + "1," * 5_000_000 + "1]}"),
    "tokenizer that doubles a letter 40 times": tokenizer(normalizer=replacing("e", "ee", 40)),
    "tokenizer that makes a book of a letter": tokenizer(normalizer=replacing("e", "e" * 100_000)),
    "tokenizer that decodes to a book": tokenizer(
        decoder={"type": "Replace", "pattern": {"Regex": ""}, "content": "a" * 999}
    ),
    "tokenizer that splits bytes 20 times": tokenizer(
        pre_tokenizer={"type": "Sequence", "pretokenizers": [BYTES] * 20}
    ),
    "tokenizer that puts much in front": tokenizer(normalizer={"type": "Prepend", "prepend": "a" * 10**6}),
    "tokenizer of 1000 steps": tokenizer(normalizer={"type": "Sequence", "normalizers": [{"type": "NFC"}] * 1000}),
    "tokenizer with many tokens around": tokenizer(
        post_processor={
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [0] * 10**6, "tokens": ["<s>"] * 10**6}},
        }
    ),
    "tokenizer that pads to 10^9": tokenizer(
        padding={
            "strategy": {"Fixed": 10**9},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "a",
        }
    ),
    "tokenizer of words of any length": tokenizer(
        model={
            "type": "WordPiece",
            "unk_token": "a",
            "max_input_chars_per_word": 10**9,
            "continuing_subword_prefix": "#",
        }
    ),
    "regular expression that tries all ways": tokenizer(pre_tokenizer=splitting(".?" * 40 + "(?<=zz)")),
    "generation settings of no JSON": text("generation_config.json", "{"),
    "generation settings are a list": text("generation_config.json", "[]"),
    "GPT-J of 10^8 positions": both(
        of("GPTJ", "ForCausalLM", n_embd=16, n_layer=1, n_head=2, rotary_dim=4), config(n_positions=10**8)
    ),
    "GPT-2 of 10^8 positions": both(of("GPT2", n_embd=16, n_layer=1, n_head=2), config(n_positions=10**8)),
    "GPT-2 of 10^9 layers": both(of("GPT2", n_embd=16, n_layer=1, n_head=2), config(n_layer=10**9)),
    "10^6 experts": both(
        of(
            "Mixtral",
            "ForCausalLM",
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            intermediate_size=8,
            num_local_experts=2,
        ),
        config(num_local_experts=10**6),
    ),
    "BERT": of("Bert", hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24),
    "XLNet": of("XLNet", d_model=16, n_layer=1, n_head=2, d_inner=24),
}
"""Folders that are to be refused."""


def attempt(folder: Path) -> None:
    """Load a model and measure it, as gptfl collect does before its first step."""
    from gptfl.core import Example
    from gptfl.metrics import Loss
    from gptfl.training.load import load_model
    from gptfl.training.trainer import RecordingTrainer, TrainerSettings

    examples = tuple(Example(str(number), "the sun is", f" red {number}") for number in range(2))
    trainer = RecordingTrainer(load_model(str(folder)), examples, examples, (Loss(),), TrainerSettings(1e-3))
    trainer.evaluator.measure()


def try_case(name: str, base: Path, folder: Path) -> Outcome:
    """Break a copy of the base in one way, and see what becomes of it."""
    from gptfl.errors import GptflError

    expected = name in TAKEN
    shutil.copytree(base, folder)
    (TAKEN if expected else REFUSED)[name](folder)
    error = fault = ""
    started = time.perf_counter()
    try:
        attempt(folder)
    except GptflError as refusal:
        error = str(refusal)
        if not error.isprintable() or len(error) > 1000:
            fault = "not one line"
    except Exception as escaped:
        error = fault = f"traceback: {type(escaped).__name__}: {escaped}"
    seconds = time.perf_counter() - started
    if not fault and expected != (not error):
        fault = "refused" if expected else "taken"
    if not fault and seconds > SLOW:
        fault = "slow"
    return Outcome(name, expected, error, fault, seconds)


def outcomes(names: list[str], seconds: float) -> Iterator[Outcome]:
    """Each case in turn, until the time is up."""
    ends = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as made:
        base = make_base(Path(made) / "base")
        attempt(base)  # what is imported and built once is none of the first case's
        for number, name in enumerate(names):
            if time.monotonic() > ends:
                return
            yield try_case(name, base, Path(made) / f"{number}" / "model")


def main() -> int:
    """Try the cases and print what became of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="cases to try; all by default")
    parser.add_argument("--seconds", type=float, default=300.0, help="when to stop")
    arguments = parser.parse_args()
    tried = list(outcomes(arguments.names or [*TAKEN, *REFUSED], arguments.seconds))
    for one in tried:
        print(
            f"{'FAULT ' + one.fault if one.fault else 'ok':8} {one.seconds:5.2f} s  {one.name}: {one.error or 'taken'}"
        )
    faults = sum(bool(one.fault) for one in tried)
    tracebacks = sum(one.fault.startswith("traceback") for one in tried)
    slowest = max((one.seconds for one in tried), default=0.0)
    print(f"{len(tried)} folders, {faults} faults, {tracebacks} tracebacks, slowest {slowest:.2f} s")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
