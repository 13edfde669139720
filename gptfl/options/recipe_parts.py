"""What trainers' settings say of packing, rows and few bits, as options."""

import json
from collections.abc import Mapping
from typing import Any

from gptfl.errors import UsageError
from gptfl.options.types import LONGEST


def packing(given: Mapping[str, Any], where: str, trainer: str) -> dict[str, Any]:
    """``--packing``, where examples are packed so that they don't see one another, and ``--group-by-length``."""
    found: dict[str, Any] = {}
    key = next((key for key in ("neat_packing", "sample_packing", "packing") if is_true(given.get(key))), None)
    if key == "packing" and trainer == "LLaMA-Factory":
        why = "the examples of a row would see one another"
        raise refusal(where, key, True, why, "add neat_packing: true, which keeps them apart")
    strategy = given.get("packing_strategy", "bfd")
    if key is not None and strategy != "bfd":
        why = "it cuts examples in two, so that what one of them does can't be told"
        raise refusal(where, "packing_strategy", strategy, why, "use bfd")
    if key is not None:
        found["packing"] = "bfd"
    order = given.get("train_sampling_strategy", "random")
    if order not in ("random", "group_by_length"):
        why = "batches are drawn at random, or by length"
        raise refusal(where, "train_sampling_strategy", order, why, "use random or group_by_length")
    # Packed rows are of about one length.
    if key is None and (order == "group_by_length" or is_true(given.get("group_by_length"))):
        found["group_by_length"] = True
    return found


def rows(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What of data of one's own a trainer's settings say: the field of plain texts, and what of chats is learned."""
    found: dict[str, Any] = {}
    if is_true(given.get("assistant_only_loss")):
        found["loss_on"] = "assistant"
    field = given.get("dataset_text_field", "text")
    if not isinstance(field, str) or not field:
        raise refusal(where, "dataset_text_field", field, "the name of a field is expected", "write one")
    return found if field == "text" else {**found, "fields": f"text={field}"}


def bits(given: Mapping[str, Any], where: str, lora: bool) -> dict[str, Any]:
    """``--quantize``, of which adapters alone can be trained."""
    known = {4: "4bit", 8: "8bit"}
    quantisation = {
        key: known[number] for key, number in (("load_in_4bit", 4), ("load_in_8bit", 8)) if is_true(given.get(key))
    }
    if given.get("quantization_bit"):
        number = given["quantization_bit"]
        if str(number) not in ("4", "8"):
            raise refusal(where, "quantization_bit", number, "weights are kept in 4 or 8 bits", "use 4 or 8")
        quantisation["quantization_bit"] = known[int(number)]
    if given.get("adapter") == "qlora" and not quantisation:
        quantisation["adapter"] = "4bit"
    if not quantisation:
        return {}
    key, kept = next(iter(quantisation.items()))
    for name in ("bnb_4bit_quant_type", "quantization_type"):
        if given.get(name, "nf4") != "nf4":
            raise refusal(where, name, given[name], "gptfl keeps 4 bits as nf4", "use nf4")
    if not lora:
        why = "over weights in few bits adapters alone can be trained"
        raise refusal(where, key, given[key], why, "add adapters (LoRA), or leave it out")
    return {"quantize": kept}


def is_true(value: Any) -> bool:
    """Whether a value of a recipe is true, which YAML of some tools has as a text."""
    return value is True or str(value).lower() == "true"


def refusal(where: str, key: str, value: Any, why: str, remedy: str) -> UsageError:
    """The error for a key that can't be followed.

    Args:
        where: the file, as messages call it.
        key: the key.
        value: what it has there.
        why: why that can't be followed.
        remedy: what to do instead.
    """
    try:
        shown = json.dumps(value, default=str)
    except (ValueError, RecursionError):  # a number of thousands of digits, or lists in lists
        shown = "of no end"
    return UsageError(
        f"{where}: {key} is {shown if len(shown) <= LONGEST else f'{shown[:LONGEST]}…'}, and {why}", remedy
    )
