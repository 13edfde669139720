"""Recipes as other trainers have them, as options: their files, and their names on a command line."""

import importlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from gptfl.errors import DataError, UsageError
from gptfl.options.files import is_stream, read_small
from gptfl.options.recipe_keys import (
    AXOLOTL,
    LLAMA_FACTORY,
    OPTIMISERS,
    OTHERS,
    REFUSED,
    RENAMED,
    SCHEDULES,
    TRL,
    meant_by,
)
from gptfl.options.recipe_parts import bits, is_true, packing, refusal, rows
from gptfl.options.recording import ExecutionOptions
from gptfl.options.rows import RowOptions
from gptfl.options.training import TrainingOptions

SUFFIXES = (".yaml", ".yml", ".json")
GROUPS: Mapping[str, Any] = {"training": TrainingOptions, "execution": ExecutionOptions, "rows": RowOptions}
"""The groups of options that a recipe says something of."""
MAY_BE_NULL = ("max_length", "max_grad_norm")
"""Keys of which null isn't the default but none."""
OF_ADAM = ("adamw", "adamw-8bit", "muon")
MAX_NODES = 2**16
"""Values of a recipe, those counted again that an alias stands for."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe as options of ``gptfl collect`` by their names in Python, and the keys that were ignored."""

    trainer: str
    options: Mapping[str, Any]
    ignored: tuple[str, ...] = ()

    @property
    def groups(self) -> dict[str, Any]:
        """The same in groups, but for the model: ``gptfl.collect(model, task, **recipe.groups)``."""
        return {
            group: kind(**{one.name: self.options[one.name] for one in fields(kind) if one.name in self.options})
            for group, kind in GROUPS.items()
        }

    def without(self, given: Sequence[str]) -> dict[str, Any]:
        """The options but those that are ``given``, and what these make meaningless."""
        dropped = set(given)
        if {"epochs", "steps"} & dropped:
            dropped |= {"epochs", "steps"}
        if "optimiser" in dropped:
            dropped |= {"beta1", "beta2", "eps", "momentum"}
        if "batch_size" in dropped:
            dropped.add("accumulate")
        if "packing" in dropped:
            dropped.add("group_by_length")
        return {name: value for name, value in self.options.items() if name not in dropped}


def read_recipe(path: str | Path) -> Recipe:
    """The recipe in a YAML or JSON file of TRL, transformers, axolotl or LLaMA-Factory; what it leaves out is the trainer's.

    Its ``options`` are those of ``gptfl.collect``, as in ``gptfl.collect(model, task, **recipe.options)``.

    Raises ``DataError`` for what is no such file, and ``UsageError`` for settings that gptfl can't follow.
    """
    path = Path(path)
    given: dict[str, Any] = {}
    for key, value in _read(path).items():
        name = str(key).replace("-", "_")
        if name in given:
            raise DataError(f"--recipe {path} has the key {name[:60]!r} twice", "leave one of them out")
        given[name] = value
    unset = {key for key in MAY_BE_NULL if key in given and given[key] is None}
    given = {key: value for key, value in given.items() if value is not None}
    known = [key for key in given if key in RENAMED or key in OTHERS or key in REFUSED]
    if not known:
        raise DataError(
            f"{path} has no key of a recipe",
            "give a file of TRL, transformers, axolotl or LLaMA-Factory with learning_rate",
        )
    ignored = tuple(key for key in given if key not in known)
    for key in ignored:
        if (meant := meant_by(key)) is not None:
            raise refusal(str(path), key, given[key], "no trainer has that key", f"write {meant}, or leave it out")
    trainer = _trainer(given)
    usual = {key: value for key, value in _defaults(trainer, given).items() if key not in unset}
    options = translate({**usual, **given}, str(path), trainer)
    # What no key says: trainers take the mean over tokens, and neither biases nor norms decay.
    options["loss_mean"] = "tokens"
    if options.get("weight_decay"):
        options["decay"] = "weights"
    if trainer == "TRL":
        options["end_token"] = True  # as its trainer ends every completion
    return Recipe(trainer, options, ignored)


def _read(path: Path) -> Mapping[str, Any]:
    if path.suffix.lower() not in SUFFIXES and not is_stream(path):
        raise UsageError(f"{path} is no YAML or JSON file", f"end its name in {', '.join(SUFFIXES)}", option="recipe")
    text = read_small(path, f"--recipe {path}", "give the name of one", "give a file of settings", "utf-8-sig")
    yaml = importlib.import_module("yaml")
    from gptfl.core.texts import JsonError, parse_json  # with all of core, which commands without a recipe load later

    try:
        found = parse_json(text) if path.suffix.lower() == ".json" else _load_yaml(yaml, text)
    except JsonError as error:
        raise DataError(f"--recipe {path} {error}", "mend it there") from error
    # A value that isn't what its tag says may raise any of these.
    except (
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RecursionError,
        yaml.YAMLError,
    ) as error:
        said = "a value of it is not what its tag says"
        if isinstance(error, ValueError | yaml.YAMLError):
            said = " ".join(str(error).split())
        elif isinstance(error, RecursionError):
            said = "it is nested too deeply"
        raise DataError(f"--recipe {path} can't be read: {said}", "mend it there") from error
    if not isinstance(found, dict):
        raise DataError(f"--recipe {path} holds no settings by name", "write for example learning_rate: 2.0e-5")
    return found


def _load_yaml(yaml: Any, text: str) -> Any:
    """The value of a YAML text.

    Raises ``YAMLError`` for what is none, and where aliases make much of little, and ``ValueError`` for a key that is there
    twice, of which YAML takes the last.
    """

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            names = [(key.value, key.start_mark.line + 1) for key, _ in node.value if isinstance(key.value, str)]
            seen: set[str] = set()
            for name, line in names:
                if name in seen and name != "<<":
                    raise ValueError(f"has the key {name[:60]!r} twice, at line {line}")
                seen.add(name)
            return super().construct_mapping(node, deep)

    loader = Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _count_nodes(node, {}) > MAX_NODES:
            raise yaml.YAMLError(f"its aliases make more than {MAX_NODES:,} values")
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _count_nodes(node: Any, known: dict[int, int]) -> int:
    """How many values a node is with every alias written out; one that holds itself is endless."""
    if id(node) not in known:
        known[id(node)] = MAX_NODES
        inner = node.value if isinstance(node.value, list) else ()
        pairs = (one if isinstance(one, tuple) else (one,) for one in inner)
        known[id(node)] = 1 + sum(_count_nodes(one, known) for pair in pairs for one in pair)
    return known[id(node)]


def _trainer(given: Mapping[str, Any]) -> str:
    for name, keys in (("axolotl", AXOLOTL), ("LLaMA-Factory", LLAMA_FACTORY), ("TRL", TRL)):
        if any(key in given for key in keys):
            return name
    return "transformers"


def _defaults(trainer: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a trainer does where its file doesn't say."""
    found: dict[str, Any] = {"max_grad_norm": 1.0, "weight_decay": 0.0, "gradient_accumulation_steps": 1}
    if trainer == "axolotl":
        found |= {"lr_scheduler": "cosine", "micro_batch_size": 1, "num_epochs": 1, "optimizer": "adamw_torch"}
        found |= {"sequence_len": 512} | ({"lora_dropout": 0.0} if given.get("adapter") else {})
    else:
        found |= {"lr_scheduler_type": "linear", "per_device_train_batch_size": 8, "num_train_epochs": 3}
        found |= {"learning_rate": 2e-5 if trainer == "TRL" else 5e-5, "optim": "adamw_torch"}
    if trainer == "LLaMA-Factory":
        found["finetuning_type"] = "lora"
        if given.get("finetuning_type", "lora") == "lora":
            rank = given.get("lora_rank", 8)
            alpha = 2 * rank if isinstance(rank, int) else 16
            found |= {"lora_rank": 8, "lora_alpha": alpha, "lora_dropout": 0.0, "lora_target": "all"}
    if trainer == "TRL":
        found |= {} if "max_seq_length" in given else {"max_length": 1024}
        found |= {"lora_r": 16, "lora_alpha": 32, "lora_dropout": 0.05} if given.get("use_peft") else {}
    optimiser = OPTIMISERS.get(str(given.get("optim", given.get("optimizer", "adamw"))))
    if optimiser in OF_ADAM:
        found |= {"adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-8}
    return found


def translate(given: Mapping[str, Any], where: str, trainer: str = "") -> dict[str, Any]:
    """Trainers' settings as options; ``where`` says in messages from what. Raises ``UsageError`` for what can't be followed."""
    for key, refused in REFUSED.items():
        if key in given and not refused.is_usual(given[key]):
            raise refusal(where, key, given[key], refused.why, refused.remedy)
    reader = _Reader(given, where)
    found = {**reader.batch(), **reader.length(), **reader.steps(), **reader.optimiser(), **reader.adapters()}
    found |= {
        **packing(given, where, trainer),
        **rows(given, where),
        **bits(given, where, "lora" in found or not trainer),
    }
    if reader.has("model"):
        found["model"] = str(reader.value("model"))
    for key, precision in (("bf16", "bf16"), ("fp16", "fp16")):
        if is_true(given.get(key)):
            found["precision"] = precision
    return found


class _Reader:
    """Reads a trainer's settings by the option that they are."""

    def __init__(self, given: Mapping[str, Any], where: str) -> None:
        self.given, self.where = given, where
        self.keys: dict[str, str] = {}
        for key in given:
            # Where a trainer has two keys for one thing, the first that says something goes before.
            if key in RENAMED and (RENAMED[key] not in self.keys or not given[self.keys[RENAMED[key]]]):
                self.keys[RENAMED[key]] = key

    def has(self, option: str) -> bool:
        return option in self.keys

    def value(self, option: str) -> Any:
        return self.given[self.keys[option]]

    def number(self, option: str, key: str | None = None) -> float:
        key = key or self.keys[option]
        value = self.given[key]
        try:
            # YAML has 1e-4 as a text.
            if isinstance(value, bool) or not math.isfinite(found := float(value)):
                raise ValueError
            return found
        except (TypeError, ValueError, OverflowError):
            raise refusal(self.where, key, value, "a number is expected", "write one, as in 2.0e-5") from None

    def whole(self, option: str, key: str | None = None) -> int:
        found = self.number(option, key)
        if found != int(found):
            key = key or self.keys[option]
            raise refusal(self.where, key, self.given[key], "a whole number is expected", "write one")
        return int(found)

    def word(self, option: str, known: Mapping[str, str]) -> str:
        value = str(self.value(option))
        if value.lower() not in known:
            words = ", ".join(known)
            raise refusal(
                self.where, self.keys[option], value, f"gptfl follows {words}", f"use one, or give --{option}"
            )
        return known[value.lower()]

    def batch(self) -> dict[str, Any]:
        """A step's examples are those of all passes that are accumulated."""
        if not self.has("accumulate"):
            return {"batch_size": self.whole("batch_size")} if self.has("batch_size") else {}
        passes = self.whole("accumulate")
        if not self.has("batch_size"):
            raise UsageError(
                f"{self.where}: {self.keys['accumulate']} {passes} alone doesn't say how many examples a step has",
                f"give --per-device-train-batch-size N, too, or --batch-size of all {passes} passes and "
                f"--accumulate {passes}",
            )
        return {"batch_size": self.whole("batch_size") * passes, "accumulate": passes}

    def length(self) -> dict[str, Any]:
        found = {"max_length": self.whole("max_length")} if self.has("max_length") else {}
        if self.has("steps") and self.number("steps") > 0:
            return {**found, "steps": self.whole("steps")}
        return {**found, "epochs": self.number("epochs")} if self.has("epochs") else found

    def steps(self) -> dict[str, Any]:
        """Step sizes and clipping."""
        found: dict[str, Any] = {}
        if self.has("lr"):
            found["lr"] = self.number("lr")
        if self.has("schedule"):
            found["schedule"] = self.word("schedule", SCHEDULES)
        if self.has("warmup") and (not self.has("schedule") or str(self.value("schedule")).lower() != "constant"):
            found["warmup"] = self.number("warmup")  # trainers have none before a plain constant rate
        if self.has("clip_norm") and self.number("clip_norm") > 0:
            found["clip_norm"] = self.number("clip_norm")
        return found

    def optimiser(self) -> dict[str, Any]:
        found: dict[str, Any] = {"optimiser": self.word("optimiser", OPTIMISERS)} if self.has("optimiser") else {}
        for name in ("beta1", "beta2", "eps", "weight_decay"):
            if self.has(name):
                found[name] = self.number(name)
        return found

    def adapters(self) -> dict[str, Any]:
        """``--lora``, where adapters are trained."""
        given, where = self.given, self.where
        if given.get("stage", "sft") != "sft":
            raise refusal(where, "stage", given["stage"], "gptfl fine-tunes on targets alone", "use stage: sft")
        kind = given.get("finetuning_type", given.get("adapter", "lora" if given.get("use_peft") else "full"))
        if kind not in ("lora", "qlora", "full", ""):
            key = "finetuning_type" if "finetuning_type" in given else "adapter"
            raise refusal(where, key, kind, "gptfl trains all weights or LoRA", "use lora, or --train-layers K")
        if kind not in ("lora", "qlora"):
            return {}
        rank = next((key for key in ("lora_r", "lora_rank") if key in given), None)
        lora = [f"r={self.whole('', rank)}"] if rank else []
        lora += [
            f"{name}={self.number('', f'lora_{name}'):g}" for name in ("alpha", "dropout") if f"lora_{name}" in given
        ]
        return {"lora": ",".join([*lora, f"targets={self._targets()}"])}

    def _targets(self) -> str:
        key = "lora_target" if "lora_target" in self.given else "lora_target_modules"
        named = self.given.get(key)
        if self.given.get("lora_target_linear") or named in ("all", "all-linear", ["all"], ["all-linear"]):
            return "all-linear"
        names = [one.strip() for one in named.split(",")] if isinstance(named, str) else named
        if not isinstance(names, list) or not names:
            raise UsageError(
                f"{self.where}: {key} doesn't name the modules to adapt, and peft's own choice may not be gptfl's",
                f"name them there, as in {key}: [q_proj, v_proj], or all-linear",
            )
        return "+".join(map(str, names))


def typed(options: Mapping[str, Any]) -> str:
    """Options as they are typed."""
    return " ".join(
        f"--{name.replace('_', '-')}{'' if value is True else f' {value}'}" for name, value in options.items()
    )
