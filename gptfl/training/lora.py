"""Low-rank adapters (LoRA, by peft): what ``--lora`` asks for, and where the adapters go."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gptfl.errors import DataError, UsageError

if TYPE_CHECKING:
    from torch import nn


SHAPE = "--lora r=8,alpha=4,dropout=0.05"
FIELDS = ("r", "alpha", "dropout", "targets")
ALL_LINEAR = "all-linear"
"""The target that stands for every linear module but the output layer, as peft has it."""
ATTENTION: tuple[tuple[str, ...], ...] = (
    ("query_key_value",),  # GPT-NeoX (Pythia), Bloom, Falcon
    ("c_attn",),  # GPT-2
    ("q_proj", "k_proj", "v_proj"),  # Llama, SmolLM2, Mistral, Qwen2, Gemma, GPT-J, GPT-Neo, OPT
    ("qkv_proj",),  # Phi-3
    ("Wqkv",),  # MPT
)
"""How architectures call the projections to query, key and value, which the paper adapts."""


@dataclass(frozen=True, slots=True)
class Lora:
    """Adapters of rank ``r``: each adapted weight W becomes W + ``alpha`` / ``r`` · B A, with B = 0 at the start.

    The defaults are the paper's, for its 2.8B model. ``targets`` are names of modules; without any,
    attention's query, key and value are adapted; ``all-linear`` alone are all linear modules but the output layer.
    """

    r: int = 8
    alpha: float = 4.0
    dropout: float = 0.05
    targets: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The same as ``--lora`` takes it, every value named: what a recording keeps."""
        targets = f",targets={'+'.join(self.targets)}" if self.targets else ""
        return f"r={self.r},alpha={self.alpha:g},dropout={self.dropout:g}{targets}"


def parse_lora(text: str) -> Lora:
    """Read ``r=8,alpha=4,dropout=0.05,targets=q_proj+v_proj``; what is left out is the paper's.

    Raises ``UsageError`` naming what can't be read.
    """
    given: dict[str, Any] = {}
    for pair in text.split(","):
        name, sign, value = (piece.strip() for piece in pair.partition("="))
        if not sign or name not in FIELDS or not value:
            raise UsageError(
                f"--lora {text!r}: {pair.strip()!r} is not one of {', '.join(FIELDS)} with a value", _write()
            )
        if name in given:
            raise UsageError(f"--lora {text!r} gives {name} twice", _write())
        given[name] = tuple(filter(None, value.split("+"))) if name == "targets" else _number(text, name, value)
    lora = Lora(**given)
    limits = {"r": lora.r >= 1, "alpha": 0 < lora.alpha < math.inf, "dropout": 0 <= lora.dropout < 1}
    expected = {"r": "a whole number of at least 1", "alpha": "a positive number", "dropout": "at least 0 and below 1"}
    for name, fits in limits.items():
        if not fits:
            raise UsageError(f"--lora {text!r}: {name} is {_shown(given[name])}, not {expected[name]}", _write())
    return lora


def _shown(value: float) -> str:
    """A number as it is typed, a long one cut short."""
    return f"{value:g}" if abs(value) < 1e300 else str(value)[:20]


def _number(text: str, name: str, value: str) -> float:
    try:
        return int(value) if name == "r" else float(value)
    except ValueError:
        kind = "a whole number" if name == "r" else "a number"
        raise UsageError(f"--lora {text!r}: {name} is {value!r}, not {kind}", _write()) from None


def _write() -> str:
    return f"write for example {SHAPE}"


def attach(model: "nn.Module", lora: Lora, blocks: Sequence["nn.Module"] | None, seed: int) -> None:
    """Put adapters into the model, in place; from then on they alone are trained.

    Args:
        model: of transformers.
        lora: rank, scale and names of the modules.
        blocks: those that may be adapted, None for all.
        seed: the first values depend on it alone.

    Raises ``DataError`` where the model has no modules of these names, with those that it has.
    """
    import torch

    from gptfl.training.quiet import quiet_imports

    with quiet_imports():
        from peft import LoraConfig, inject_adapter_in_model

    names = _find(model, lora, blocks)
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=names,
        # GPT-2 keeps its weights transposed.
        fan_in_fan_out=type(model.get_submodule(names[0])).__name__ == "Conv1D",
        bias="none",
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model)
    model.train(model.training)  # the new parts begin in training mode, with dropout


def _find(model: "nn.Module", lora: Lora, blocks: Sequence["nn.Module"] | None) -> list[str]:
    """Full names of the modules to adapt."""
    from torch.nn import Linear
    from transformers.pytorch_utils import Conv1D

    inside = None if blocks is None else {id(module) for block in blocks for module in block.modules()}
    head = getattr(model, "get_output_embeddings", lambda: None)()
    linear = {
        name: name.rpartition(".")[2]
        for name, module in model.named_modules()
        if isinstance(module, (Linear, Conv1D)) and module is not head and (inside is None or id(module) in inside)
    }
    leaves = set(linear.values())
    candidates = f"the modules that can be adapted are {', '.join(sorted(leaves)) or 'none'}"
    if lora.targets == (ALL_LINEAR,):
        return list(linear)
    if lora.targets:
        missing = [name for name in lora.targets if name not in leaves]
        if missing:
            raise DataError(
                f"--lora targets={'+'.join(lora.targets)}: {type(model).__name__} has no {missing[0]!r} that it can adapt",
                candidates,
            )
        expected = set(lora.targets)
    else:
        known = [group for group in ATTENTION if leaves.issuperset(group)]
        if not known:
            raise DataError(
                f"--lora: gptfl doesn't know how {type(model).__name__} calls attention's query, key and value",
                f"name modules, as in --lora r={lora.r},targets=A+B; {candidates}",
            )
        expected = set(known[0])
    return [name for name, leaf in linear.items() if leaf in expected]
