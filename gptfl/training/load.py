"""Loads a model by any name that gptfl knows, the built-in one included."""

from dataclasses import replace

from gptfl.core import Progress, silent
from gptfl.training.models import LoadedModel, load_pretrained, pick_device
from gptfl.training.named import remember
from gptfl.training.names import TINY, ModelSource, resolve_model
from gptfl.training.tiny import build_tiny


def load_model(name: str, *, device: str = "cpu", progress: Progress = silent) -> LoadedModel:
    """Load a model and its tokenizer in float32: an alias, a Hub id, a local folder, or ``tiny``.

    ``tiny`` is built and pre-trained on the spot the first time, then kept in the cache.
    Raises ``DataError`` for an unknown name and ``ResourceError`` where it can't be had.
    """
    source = resolve_model(name)
    chosen = pick_device(device)
    if source.kind == TINY:
        folder = build_tiny(progress)
        loaded = load_pretrained(ModelSource(TINY, "folder", str(folder)), chosen)
        return replace(loaded, source=source)
    loaded = load_pretrained(source, chosen, progress)
    remember(source)
    return loaded
