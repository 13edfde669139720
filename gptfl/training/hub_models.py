"""The files of a model from the Hugging Face Hub or its cache."""

import contextlib
from collections.abc import Callable
from pathlib import Path

from gptfl.errors import DataError, ResourceError
from gptfl.hub import PROBE_SECONDS, explained, no_bars, require_hub
from gptfl.training.tokenizer_files import TOKENIZER


def fetch_model(repo: str, *, where: str, instead: str) -> Path:
    """The local folder of a repository's config.json and weights in safetensors: the cache's if all of it is there.

    What an index names is fetched only where the names are plain. Raises as ``fetch_file``, and ``DataError`` for a
    repository without safetensors.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    with contextlib.suppress(LocalEntryNotFoundError):
        return _model_files(lambda name: Path(hf_hub_download(repo, name, local_files_only=True)), repo, where)
    require_hub(f"{where}: {repo} is not in the cache", instead)
    with explained(f"{where}: {repo}", instead), no_bars():
        return _model_files(lambda name: Path(hf_hub_download(repo, name, etag_timeout=2 * PROBE_SECONDS)), repo, where)


def cached_tokenizer(repo: str) -> Path | None:
    """The folder of the cache that holds a repository's tokenizer.json; None where it isn't in there."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo, TOKENIZER)
    return Path(found).parent if isinstance(found, str) else None


def fetch_tokenizer(repo: str) -> Path | None:
    """The folder of a repository's tokenizer.json after it was fetched, nothing else; None where there is none.

    Raises what the Hub's client raises.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repo, TOKENIZER, etag_timeout=2 * PROBE_SECONDS)).parent
    except LocalEntryNotFoundError:
        raise
    except EntryNotFoundError:
        return None


def _model_files(get: Callable[[str], Path], repo: str, where: str) -> Path:
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    from gptfl.training.weight_files import INDEX, SINGLE, shards

    folder = get("config.json").parent
    with contextlib.suppress(EntryNotFoundError):
        get("generation_config.json")
    with contextlib.suppress(EntryNotFoundError):
        return _same(get(SINGLE).parent, folder, where)
    try:
        index = get(INDEX)
    except LocalEntryNotFoundError:
        raise
    except EntryNotFoundError as error:
        raise DataError(
            f"{where}: {repo} has no weights in safetensors", "choose another, or convert it and pass the folder"
        ) from error
    for name in shards(index, where):
        _same(get(name).parent, folder, where)
    return folder


def _same(found: Path, folder: Path, where: str) -> Path:
    if found != folder:
        raise ResourceError(f"{where} changed on the Hub while it was fetched", "run the command again")
    return folder
