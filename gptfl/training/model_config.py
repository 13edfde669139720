"""A model folder's config.json, held against the weights' headers before anything is built from it."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gptfl.errors import DataError
from gptfl.training.weight_files import FLOATS, WeightFiles, printable, read_json, shown

CONFIG = "config.json"
ADAPTER = "adapter_config.json"
MEND = "get the model's own config.json again"
POSITIVE = (
    *("hidden_size", "n_embd", "d_model", "vocab_size"),
    *("num_attention_heads", "num_key_value_heads", "n_head", "n_heads"),
    *("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
)
"""Sizes that no model has without."""
COUNTS = re.compile(r"layers$|^(num|n)_.*(layer|block|blocks)$|^n?_?layer$|^depth$")
SIZES = re.compile(r"size|dim|head|expert|embd|hidden|width|rank|channel|inner|d_model|d_ff|d_kv|group|state")
LENGTHS = re.compile(r"position|length|seq|ctx|context")
MAX_CONFIG = 16 * 2**20
"""Bytes of config.json."""
SMALL, LONGEST, NESTED = 2**20, 2**27, 2**20
"""Sizes up to here need no tensor as large, no length is beyond, and no count in a list of lists."""
QUANTISED = re.compile(
    r"(qweight|qzeros|g_idx|weight_packed|weight_scale|weight_scale_inv|SCB|absmax|quant_map|_blocks|_scales)$"
)
MERGE = "merge it into its model (peft's merge_and_unload), then save_pretrained"
CHOICES = ("attn_implementation", "experts_implementation")
"""How to compute, which config.json has no say in: a name with a slash would be looked up on the Hub and run."""


def check_config(folder: Path, where: str, files: WeightFiles) -> None:
    """Refuse a config.json that can't belong to these weights, before transformers reads it.

    Raises ``DataError`` for an adapter, quantised weights, and sizes that are no sizes or far from the weights'.
    """
    raw = read_json(folder / CONFIG, where, MAX_CONFIG)
    if (folder / ADAPTER).exists():
        raise DataError(f"{where} holds an adapter ({ADAPTER})", MERGE)
    if not isinstance(raw.get("model_type"), str):
        raise DataError(f"{where}: {CONFIG} names no model_type, but {shown(raw.get('model_type'))}", MEND)
    largest = max((size for one in files.tensors.values() for size in one.shape), default=1)
    for path, value in _walk(raw):
        key = path[-1]
        if key in ("quantization_config", "compression_config") and value:
            method = value.get("quant_method") if isinstance(value, Mapping) else None
            raise _quantised(where, f"{CONFIG} has a {key} ({shown(method or 'of no method')})")
        if type(value) in (int, float):
            _check_number(where, path, value, len(files.tensors), largest)
    check_types(where, files)


def check_types(where: str, files: WeightFiles) -> None:
    """Raise ``DataError`` where weights are quantised, as their names or types show."""
    for name, one in files.tensors.items():
        if one.dtype.startswith(("F8", "F6_", "F4")):
            raise _quantised(where, f"{printable(name)} is of type {one.dtype}")
        if QUANTISED.search(name) and (one.dtype not in FLOATS or name.endswith(("_scale", "_scale_inv"))):
            raise _quantised(where, f"it has {printable(name)} of type {one.dtype}")


def _quantised(where: str, why: str) -> DataError:
    return DataError(
        f"{where} is quantised: {why}", "gptfl trains weights in float32: choose the model as it was before"
    )


def _walk(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value under a key, with the keys that lead to it; a list's values have the list's."""
    stack = [(path, value)]
    while stack:
        at, one = stack.pop()
        if at:
            yield at, one
        if isinstance(one, dict):
            stack += [((*at, str(key)), each) for key, each in one.items()]
        elif isinstance(one, list):
            stack += [((*at, at[-1] if at else ""), each) for each in one]


def _check_number(where: str, path: tuple[str, ...], value: float, tensors: int, largest: int) -> None:
    """Raise ``DataError`` for a number that would build a model out of all proportion to its weights.

    These are so many ``tensors``, none with a side longer than ``largest``.
    """
    key = path[-1]
    nested = len(path) > 2 and path[-1] == path[-2] == path[-3]
    limit, why = None, ""
    if key in POSITIVE and path[:-1] in ((), ("text_config",)) and (value < 1 or type(value) is float):
        raise DataError(f"{where}: {CONFIG}: {key} is {shown(value)}, not a whole number of at least 1", MEND)
    if COUNTS.search(key):
        limit, why = max(tensors, 64), f"the files hold {tensors} weights"
    elif nested:
        limit, why = NESTED, f"the files hold {tensors} weights"
    elif LENGTHS.search(key):
        limit, why = LONGEST, "no text is as long"
    elif SIZES.search(key):
        limit, why = max(largest, SMALL), f"no weight has a side longer than {largest}"
    if limit is not None and type(value) is int and not -limit <= value <= limit:
        raise DataError(f"{where}: {CONFIG}: {printable(key)} is {shown(value)}, and {why}", MEND)


def longest_input(config: Any) -> int | None:
    """How many tokens a model reads at most; None where its configuration names no such number (XLNet has -1)."""
    limit = getattr(config.get_text_config(), "max_position_embeddings", None)
    return limit if type(limit) is int and limit > 0 else None
