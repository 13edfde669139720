"""Weights that aren't trained, kept in 4 or 8 bits (QLoRA, by bitsandbytes)."""

import importlib
from typing import Any

import torch
from torch import nn

from gptfl.core.recording_settings import BITS_4
from gptfl.errors import DataError, ResourceError, is_memory_full
from gptfl.hub import first_line
from gptfl.training.precision import DTYPES

PACKAGE = "bitsandbytes"
EXTRA = "gptfl[quantized]"
"""The optional dependencies that bring it."""


def bitsandbytes(option: str, instead: str) -> Any:
    """The package. Raises ``ResourceError`` where it isn't there; ``option`` says in the message what needs it."""
    try:
        return importlib.import_module(PACKAGE)
    except ImportError as error:
        raise ResourceError(
            f"{option} needs the package {PACKAGE}, which isn't there", f"pip install '{EXTRA}', or {instead}"
        ) from error


def check_quantise(quantize: str | None) -> None:
    """Raise ``ResourceError`` where weights can't be kept so for want of a package."""
    if quantize is not None:
        bitsandbytes(f"--quantize {quantize}", "leave --quantize out")


def quantise(model: Any, quantize: str, precision: str, name: str) -> None:
    """Keep the weights of every linear module but the output layer in few bits, in place.

    Args:
        model: of transformers.
        quantize: ``4bit`` (nf4, its scales in 8 bits) or ``8bit``.
        precision: that of the rest, in which is computed.
        name: of the model, for messages.

    Raises ``DataError`` for a model without such modules, and ``ResourceError`` where the package can't compute with
    them on
    the model's device.
    """
    bnb = bitsandbytes(f"--quantize {quantize}", "leave --quantize out")
    head = model.get_output_embeddings()
    found = {path: module for path, module in model.named_modules() if type(module) is nn.Linear and module is not head}
    if not found:
        raise DataError(
            f"--quantize {quantize}: {name} ({type(model).__name__}) has no linear modules of torch's to quantise",
            "leave --quantize out, or choose another model",
        )
    compute = DTYPES.get(precision, torch.float32)
    try:
        for path, module in found.items():
            parent, _, leaf = path.rpartition(".")
            setattr(model.get_submodule(parent), leaf, _made(bnb, module, quantize, compute))
        _try(model.get_submodule(next(iter(found))), compute)
    except (RuntimeError, NotImplementedError, ValueError, AttributeError, AssertionError) as error:
        if is_memory_full(error):
            raise
        device = next(iter(found.values())).weight.device.type
        raise ResourceError(
            f"--quantize {quantize}: {PACKAGE} can't compute with such weights on {device} ({first_line(error)})",
            "use a GPU, or leave --quantize out",
        ) from error
    # What peft looks at to choose its adapters.
    setattr(model, "is_loaded_in_4bit" if quantize == BITS_4 else "is_loaded_in_8bit", True)


def _made(bnb: Any, module: nn.Linear, quantize: str, compute: torch.dtype) -> nn.Module:
    shape, device = (module.in_features, module.out_features, module.bias is not None), module.weight.device
    made: nn.Module
    if quantize == BITS_4:
        packing = bnb.nn.Linear4bit(*shape, compute_dtype=compute, compress_statistics=True, quant_type="nf4")
        # On processors with AVX-512 in bf16 it would pack weights for inference at the first look, and can't train on them then.
        packing.support_avx512bf16_for_cpu = False
        made = packing
        made.weight = bnb.nn.Params4bit(
            module.weight.detach().clone(), requires_grad=False, compress_statistics=True, quant_type="nf4"
        )
    else:
        made = bnb.nn.Linear8bitLt(*shape, has_fp16_weights=False)
        made.weight = bnb.nn.Int8Params(module.weight.detach().clone(), requires_grad=False, has_fp16_weights=False)
    if module.bias is not None:
        made.bias = nn.Parameter(module.bias.detach().clone(), requires_grad=False)
    made = made.to(device)
    made.train(module.training)
    return made


def _try(module: nn.Module, compute: torch.dtype) -> None:
    """Compute a value and what it changes by."""
    size: int = module.in_features  # type: ignore[assignment]
    device = next(module.parameters()).device
    given = torch.ones(2, size, device=device, dtype=compute, requires_grad=True)
    module(given).float().sum().backward()
    if given.grad is None or not torch.isfinite(given.grad).all():
        raise RuntimeError("what it gives can't be differentiated")
