"""The settings that a recording keeps: their defaults in older files, and what makes two recordings the same."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gptfl.core import TaskData, examples_fingerprint, fingerprint
from gptfl.designs.draws import UNIFORM
from gptfl.options.base import places
from gptfl.options.recording import CollectOptions
from gptfl.recording.tokens import TOKENIZATION
from gptfl.store.recordings import read_dynamics

DESIGNED: Mapping[str, Any] = {"design": UNIFORM, "reserve_pool": 0, "leave_out_size": None}
"""The settings of a design, with the values of recordings made before there were any."""


GENERATION = frozenset({"generate_every", "generate_tokens", "decode"})
"""What a recording keeps of them; one without such metrics keeps none."""
DECODINGS = ("greedy", "nucleus")


FLAGS: Mapping[str, str] = {"learning_rate": "--lr", "metrics": "--metric"}
"""The options whose names differ from the settings they make."""
NOT_IDENTITY = frozenset({"weights", "data_source", "licence", "source", TOKENIZATION}) | {
    place.name for place in places(CollectOptions) if not place.option.identity
}
"""Settings that may differ between the calls that make one recording; what they stand for is checked."""

ADDED: Mapping[str, Any] = (
    {"lora": None, "accumulate": 1, "processes": 1, "shard": False}
    | {"derivatives": False}
    | {"instructions": False, "flip_labels": None, "generate_every": None, "decode": "greedy"}
    | dict(DESIGNED)
)
"""Settings that recordings made before there were such lack, with the value that those were made with."""

UNSAID = ("end_token", "chat_template")
"""Settings that a recording lacks where they are as they were before there were such."""


def identity(settings: Mapping[str, Any], data: TaskData) -> str:
    """Fingerprint of what all the calls that make one recording share."""
    shared = {
        key: value
        for key, value in settings.items()
        # What a design leaves as it was before there were any leaves the identity as it was, too.
        if key not in NOT_IDENTITY and not (key in DESIGNED and value == DESIGNED[key])
    }
    return fingerprint(shared, examples_fingerprint(data.pool, data.test))


def as_recorded(settings: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    """Settings with the model called as in the recording under this path, if there is one: it may lie elsewhere now."""
    try:
        there = path.is_file()
    except OSError:
        return settings
    known = read_dynamics(path).settings if there else {}
    if known.get("weights") is None or not isinstance(known.get("model"), str):
        return settings
    return {**settings, "model": known["model"]}


def typed(key: str, value: Any) -> str:
    """A setting as the option that makes it is typed."""
    if key == "texts":
        return "--texts" if value else "--no-texts"
    if key == "derivatives":
        return "--gradients own" if value else "no --gradients own"
    if key == "instructions":
        return "--instructions" if value else "--no-instructions"
    if key == "chat_template":
        return "a chat template of its own" if value else "no --chat-template"
    flag = FLAGS.get(key, f"--{key.replace('_', '-')}")
    if value is None or value is False:
        return f"no {flag}"
    if value is True:
        return flag
    return " ".join(f"{flag} {one}" for one in (value if isinstance(value, list) else [value]))
