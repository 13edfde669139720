"""Loads a model by any name that gptfl knows, the built-in one included."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from gptfl.core import Progress, silent
from gptfl.hub import fetch_file
from gptfl.training.hub_models import fetch_model
from gptfl.training.loading import blamed
from gptfl.training.model_config import CONFIG, longest_input
from gptfl.training.models import INSTEAD, LoadedModel, choose_device, convert_gguf, load_pretrained, read_tokenizer
from gptfl.training.named import remember
from gptfl.training.names import TINY, ModelSource, resolve_model
from gptfl.training.quiet import quiet
from gptfl.training.tiny import build_tiny
from gptfl.training.weight_files import check_folder


def load_model(name: str, *, device: str = "cpu", progress: Progress = silent) -> LoadedModel:
    """Load a model and its tokenizer in float32: an alias, a Hub id, a local folder, or ``tiny``.

    ``tiny`` is built and pre-trained on the spot the first time, then kept in the cache.
    Raises ``DataError`` for an unknown name and ``ResourceError`` where it can't be had.
    """
    source = resolve_model(name)
    chosen = choose_device(device)
    if source.kind == TINY:
        folder = build_tiny(progress)
        loaded = load_pretrained(ModelSource(TINY, "folder", str(folder)), chosen)
        return replace(loaded, source=source)
    loaded = load_pretrained(source, chosen, progress)
    remember(source)
    return loaded


def model_folder(name: str, progress: Progress = silent) -> Path | None:
    """The folder here that holds a model's files; None for what a package brings. Raises as ``load_model``."""
    source = resolve_model(name)
    if source.kind == TINY:
        return build_tiny(progress)
    if source.kind == "hub":
        return fetch_model(source.location, where=f"--model {source.name}", instead=INSTEAD)
    return Path(source.location) if source.kind == "folder" else None


def load_tokenizer(name: str, progress: Progress = silent) -> tuple[Any, int | None]:
    """A model's tokenizer, and how many tokens the model reads at most, without its weights. Raises as ``load_model``."""
    source = resolve_model(name)
    where = f"--model {source.name}"
    location = source.location
    if source.kind == TINY:
        location = str(build_tiny(progress))
    elif source.kind == "gguf":
        location = str(convert_gguf(progress))
    with quiet():
        if source.kind != "hub":
            check_folder(Path(location), where)
        tokenizer = read_tokenizer(location, source.kind == "hub", where)
        folder = Path(location)
        if source.kind == "hub":
            instead = "pass a local folder"
            request = {"revision": "main", "repo_type": "model", "where": where, "instead": instead}
            folder = fetch_file(location, CONFIG, **request).parent
        with blamed(f"{where}: {CONFIG} can't be read", "save it beside the weights with save_pretrained"):
            config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
    return tokenizer, longest_input(config)
