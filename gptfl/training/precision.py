"""Which numbers a model computes in; its weights are always kept in float32."""

import torch

from gptfl.errors import UsageError

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_precision(precision: str, device: str) -> str:
    """What ``--precision`` stands for on a kind of device (``cpu``, ``cuda``).

    ``auto`` is bf16 on a GPU that computes in it, fp16 on one that doesn't, and fp32 elsewhere.
    Raises ``UsageError`` for an unknown one, and for fp16 where the device has none to gain from.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"{precision!r} is unknown", f"use {', '.join(PRECISIONS)}", option="precision")
    if precision == "auto":
        if device != "cuda":
            return "fp32"
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if precision == "fp16" and device != "cuda":
        raise UsageError(f"--precision fp16 on {device}: its loss scaling is made for GPUs", "use bf16 or fp32")
    return precision


def loss_scaler(precision: str, device: torch.device) -> torch.amp.GradScaler:
    """Keeps the small gradients of fp16 from vanishing; does nothing in other precisions."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")
