"""Which values the settings of a recording may have: what gptfl reads again is checked once, when a recording is read."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gptfl.errors import DataError
from gptfl.options.base import LARGEST_RATE
from gptfl.store.jsonlines import shown

Check = Callable[[Any], bool]
LARGEST = 2**31
"""No count is larger."""


def _count(least: int) -> Check:
    return lambda value: type(value) is int and least <= value <= LARGEST


def _real(low: float, high: float) -> Check:
    # Compared, not converted: a whole number may be too large to be a float.
    return lambda value: type(value) in (int, float) and low <= value <= high


def _is_word(value: Any) -> bool:
    return isinstance(value, str)


def _is_switch(value: Any) -> bool:
    return isinstance(value, bool)


def _are_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


def _are_betas(value: Any) -> bool:
    return (
        isinstance(value, list) and len(value) == 2 and all(_real(0.0, math.nextafter(1.0, 0.0))(one) for one in value)
    )


ALWAYS: Mapping[str, Check] = {
    **dict.fromkeys(("pool", "test", "subset_size", "batch_size", "steps", "record_every"), _count(1)),
    **dict.fromkeys(("task", "model", "schedule", "design"), _is_word),
    "seed": lambda value: type(value) is int and 0 <= value < 2**63,
}
"""What a setting is where it is there."""
OR_NONE: Mapping[str, Check] = {
    **dict.fromkeys(("max_length", "accumulate", "processes", "generate_tokens", "generate_every"), _count(1)),
    **dict.fromkeys(("train_layers", "leave_out_size", "evaluation_tokens", "reserve_pool"), _count(0)),
    **dict.fromkeys(("weight_decay", "epsilon"), _real(0.0, LARGEST_RATE)),
    **dict.fromkeys(("data", "source", "precision", "decode", "lora", "device", "weights", "tokenization"), _is_word),
    **dict.fromkeys(("train", "eval", "fields", "loss_on", "dataset", "dataset_config", "split"), _is_word),
    **dict.fromkeys(("eval_split", "revision", "shape", "chat_template"), _is_word),
    **dict.fromkeys(("instructions", "shard", "derivatives", "end_token"), _is_switch),
    **dict.fromkeys(("metrics", "run_names"), _are_words),
    "learning_rate": _real(0.0, LARGEST_RATE),
    **dict.fromkeys(("flip_labels", "eval_share"), _real(0.0, 1.0)),
    "betas": _are_betas,
}
"""What a setting is where it is there and not null."""


def check_settings(settings: Mapping[str, Any], path: Path) -> None:
    """Raise ``DataError`` where a setting that gptfl reads again is of the wrong type, or of an absurd size."""
    wrong = [name for name, check in ALWAYS.items() if name in settings and not check(settings[name])]
    wrong += [name for name, check in OR_NONE.items() if settings.get(name) is not None and not check(settings[name])]
    if wrong:
        raise DataError(
            f"{path} has the setting {wrong[0]} = {shown(settings[wrong[0]])}", "record it again with gptfl collect"
        )
