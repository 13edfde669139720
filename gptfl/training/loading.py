"""Puts the weights of safetensors files into the architecture that config.json describes, all of them or none."""

import contextlib
import copy
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.modules import module as torch_modules

from gptfl.errors import DataError, GptflError, ResourceError, is_memory_full
from gptfl.training.model_config import CHOICES, CONFIG, MEND, check_config
from gptfl.training.weight_files import FLOATS, WeightFiles, printable, shown

GENERATION = "generation_config.json"
NAMED = 3
"""Weights that an error names of each kind."""
SLACK = 256
TABLES = 2**28
"""Bytes of buffers that any model may have."""
OTHER = "choose a causal language model, such as pythia-70m"
SAVE = "save the whole model with save_pretrained, or take the config.json that belongs to the weights"


class _TooLargeError(Exception):
    """More parts than the files can fill were about to be made."""


def load_weights(auto: Any, folder: Path, files: WeightFiles) -> Any:
    """The model of a folder's config.json with these weights in float32 on the CPU, in evaluation mode.

    ``auto`` is the class of transformers that knows which architecture is meant (``AutoModelForCausalLM``). What
    doesn't fit is found on torch's meta device, where nothing is allocated.

    Raises ``DataError`` where weights are missing, too many, of other shapes or not finite, or the architecture can't
    be built, and ``ResourceError`` where memory can't hold it.
    """
    where = files.where
    check_config(folder, where, files)
    with blamed(f"{where}: {CONFIG} describes no model that transformers can build", MEND):
        config = _read_config(folder)
        if type(config) not in auto._model_mapping:
            raise DataError(
                f"{where}: its model_type {shown(config.model_type)} is none that {auto.__name__} knows", OTHER
            )
        empty = _build_empty(auto, config, len(files.tensors), where)
    _check_tables(where, empty)
    shapes = {name: torch.empty(one.shape, device="meta") for name, one in files.tensors.items()}
    _check_fit(where, empty, *_fill(empty, shapes, where, device_map={"": "meta"}))
    _check_types(where, empty, files)
    _check_room(where, empty)
    model, info = _fill(empty, files.slices(), where)
    _check_fit(where, empty, model, info)
    _check_finite(where, model)
    if (folder / GENERATION).is_file() and hasattr(model, "generation_config"):
        from transformers import GenerationConfig

        with blamed(f"{where}: {GENERATION} can't be used", "get it again, or delete it"):
            model.generation_config = GenerationConfig.from_pretrained(str(folder), local_files_only=True)
    return model.eval()


@contextlib.contextmanager
def blamed(problem: str, remedy: str) -> Iterator[None]:
    """Turn what transformers and tokenizers raise of a broken file into one line.

    They check little, so that any exception may come of it (tokenizers raises ``Exception`` itself); full memory is
    none of the file's.
    """
    try:
        yield
    except GptflError:
        raise
    except BaseException as error:
        # A panic of tokenizers' and safetensors' own code is no Exception.
        if is_memory_full(error) or not (isinstance(error, Exception) or type(error).__name__ == "PanicException"):
            raise
        said = printable(" ".join(str(error).split()))
        raise DataError(f"{problem} ({type(error).__name__}{': ' if said else ''}{said})", remedy) from error


def _read_config(folder: Path) -> Any:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
    for choice in CHOICES:
        setattr(config, f"_{choice}", None)
    for name in ("fusion_config", "transformers_weights", "kernel_config"):
        if getattr(config, name, None) is not None:
            setattr(config, name, None)
    return config


def _build_empty(auto: Any, config: Any, tensors: int, where: str) -> Any:
    """The model on the meta device: shapes without memory. Raises ``DataError`` where it has far more parts."""
    made = 0

    def count(*_: object) -> None:
        nonlocal made
        made += 1
        if made > 16 * tensors + 4 * SLACK:
            raise _TooLargeError

    handles = (
        torch_modules.register_module_parameter_registration_hook(count),
        torch_modules.register_module_module_registration_hook(count),
    )
    try:
        with torch.device("meta"):
            return auto.from_config(config, dtype=torch.float32, trust_remote_code=False)
    except _TooLargeError:
        raise DataError(
            f"{where}: {CONFIG} describes a model of far more parts than its {tensors} weights", SAVE
        ) from None
    finally:
        for handle in handles:
            handle.remove()


def _fill(empty: Any, state: Mapping[str, Any], where: str, **options: Any) -> tuple[Any, Mapping[str, Any]]:
    """A model with these weights, and what of them fitted how."""
    with blamed(f"{where}: its weights don't fit its {CONFIG}", SAVE):
        model, info = type(empty).from_pretrained(
            None,
            config=copy.deepcopy(empty.config),
            state_dict=dict(state),
            dtype=torch.float32,
            attn_implementation=empty.config._attn_implementation,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **options,
        )
    return model, info


def _check_fit(where: str, empty: Any, model: Any, info: Mapping[str, Any]) -> None:
    """Raise ``DataError`` naming the weights that are missing, unexpected or of another shape."""
    missing = sorted(info["missing_keys"])
    mismatched = sorted(info["mismatched_keys"])
    head = _head_name(empty)
    said = []
    if missing == [head]:
        said.append(f"the output layer ({head}) is missing, and {CONFIG} doesn't tie it to the embedding")
    elif missing:
        said.append(_counted("missing", missing))
    if info["unexpected_keys"]:
        said.append(_counted("unexpected", sorted(info["unexpected_keys"])))
    if mismatched:
        shapes = [f"{name} {tuple(found)} instead of {tuple(expected)}" for name, found, expected in mismatched]
        said.append(_counted("of another shape", shapes))
    said += [str(message) for message in info.get("error_msgs", ())][:1]
    if said:
        raise DataError(f"{where}: the weights don't fit {type(model).__name__}: {'; '.join(said)}", SAVE)


def _head_name(model: Any) -> str:
    head = model.get_output_embeddings()
    return next((f"{name}.weight" for name, module in model.named_modules() if module is head), "")


def _counted(kind: str, names: Sequence[str]) -> str:
    """How many there are of a kind, and the first of them."""
    return f"{len(names)} {kind} ({_listed(names)})"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(printable(name) for name in names[:NAMED]) + more


def _check_types(where: str, empty: Any, files: WeightFiles) -> None:
    """Raise ``DataError`` where whole numbers stand for weights, as in files of quantised models."""
    trained = {name for name, _ in empty.named_parameters()}
    for name, one in files.tensors.items():
        # Names that transformers changes are known by their ending; masks and positions are whole numbers by right.
        if one.dtype not in FLOATS and (name in trained or name.endswith(".weight")):
            raise DataError(
                f"{where}: {printable(name)} is of type {one.dtype}: these are no weights to train",
                "choose the model as it was before it was quantised",
            )


def _check_tables(where: str, empty: Any) -> None:
    """Raise ``DataError`` where tables that are not in the files, such as sines of positions, dwarf the weights."""
    weights, tables = _bytes(empty.parameters()), _bytes(empty.buffers())
    if tables > TABLES + 4 * weights:
        raise DataError(
            f"{where}: {CONFIG} asks for {tables / 1e9:.3g} GB of tables beside {weights / 1e9:.3g} GB of weights", MEND
        )


def _check_room(where: str, empty: Any) -> None:
    """Raise ``ResourceError`` where the machine has less memory than the model takes in float32."""
    needed = _bytes((*empty.parameters(), *empty.buffers()))
    try:
        there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not every system tells
        return
    if needed > there:
        raise ResourceError(
            f"{where} takes {needed / 1e9:.3g} GB in float32, and this machine has {there / 1e9:.3g} GB of memory",
            "choose a smaller model, or a machine with more",
        )


def _bytes(tensors: Iterable[torch.Tensor]) -> int:
    """What tensors take together, those that are tied once."""
    return sum(one.numel() * one.element_size() for one in {id(one): one for one in tensors}.values())


def _check_finite(where: str, model: Any) -> None:
    """Raise ``DataError`` where weights are NaN or infinite."""
    # The sum is finite nearly always, and looked at far faster than each value.
    bad = [
        name
        for name, value in model.named_parameters()
        if value.is_floating_point() and not value.sum().isfinite() and not value.isfinite().all()
    ]
    if bad:
        raise DataError(f"{where}: NaN or infinity in {_listed(bad)}", "get the files again, or an earlier checkpoint")
