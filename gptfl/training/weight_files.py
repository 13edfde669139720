"""The safetensors files of a model folder: which they are, and what their headers say, before any weight is read."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from gptfl.errors import DataError

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
SUFFIX = ".safetensors"
LFS = b"version https://git-lfs.github.com/spec/"
MAX_INDEX, MAX_TEXT = 64 * 2**20, 64 * 2**20
"""Bytes of an index, and of any other file but weights that transformers may read whole."""
MAX_TEMPLATE, MAX_VALUES = 2**20, 2**22
"""Bytes of a chat template, and values of a file of JSON: twice what the largest vocabularies take."""
TEMPLATES = "additional_chat_templates"
READ_WHOLE = (".json", ".jsonl", ".txt", ".model", ".jinja", ".vocab", ".tiktoken")
AGAIN = "get the whole file again, and compare sizes or checksums"
FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""What torch.compile, FSDP and checkpointing put into the names of weights, at any place."""
PARALLEL = "module"
"""What DataParallel and DistributedDataParallel put in front of all names."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of a file, as the header describes it: its name there, its shape and its type (``F32``)."""

    file: Path
    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass
class WeightFiles:
    """The tensors of a model by the names that they are loaded under, and the wrappers that names were freed of."""

    where: str
    paths: tuple[Path, ...]
    tensors: Mapping[str, Tensor]
    stripped: tuple[str, ...] = ()
    _open: dict[Path, Any] = field(default_factory=dict, repr=False)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of them."""
        if not self.stripped:
            return ()
        return (f"{self.where}: the weights' names are read without {' and '.join(self.stripped)}",)

    def slices(self) -> dict[str, Any]:
        """Every tensor by name, mapped but not read; valid while this object lives."""
        for path in self.paths:
            self._open.setdefault(path, safe_open(path, framework="pt"))
        return {name: self._open[one.file].get_slice(one.name) for name, one in self.tensors.items()}


def read_weight_files(folder: Path, where: str) -> WeightFiles:
    """The weights that a folder holds, in one file or in those that its index names.

    Raises ``DataError``, naming the file, where there is none, the index names anything but safetensors files beside
    it, a file is missing, empty, cut or damaged, or a name comes twice.
    """
    check_folder(folder, where)
    single, index = folder / SINGLE, folder / INDEX
    if _is_file(single):
        paths: tuple[Path, ...] = (single,)
    elif _is_file(index):
        paths = tuple(folder / name for name in shards(index, where))
    else:
        raise DataError(f"{where} has neither {SINGLE} nor {INDEX}", _without_safetensors(folder))
    tensors: dict[str, Tensor] = {}
    for path in paths:
        for name, one in _read_header(path, where).items():
            if name in tensors:
                files = f"{tensors[name].file.name} and in {path.name}"
                raise DataError(f"{where}: {printable(name)} is in {files}", "save the model again")
            tensors[name] = one
    if not tensors:
        raise DataError(f"{where}: {paths[0].name} holds no weights", "save the model again with save_pretrained")
    return _unwrapped(where, paths, tensors)


def shards(index: Path, where: str) -> list[str]:
    """The files that an index names. Raises ``DataError`` for anything but plain safetensors names."""
    content = read_json(index, where, MAX_INDEX)
    names = content.get("weight_map")
    if not isinstance(names, dict) or not names:
        raise DataError(f"{where}: {index.name} has no weight_map", AGAIN)
    for name in names.values():
        if not isinstance(name, str) or not name.endswith(SUFFIX) or name != Path(name).name or "\\" in name:
            raise DataError(
                f"{where}: {index.name} names {shown(name)}",
                f"only {SUFFIX} files in the folder itself are read: save it again with save_pretrained",
            )
    return sorted(set(names.values()))


def read_json(path: Path, where: str, most: int) -> dict[str, Any]:
    """A JSON object from a file of a model folder. Raises ``DataError`` where it is none, or has over ``most`` bytes."""
    try:
        if path.stat().st_size > most:
            raise DataError(f"{where}: {path.name} is larger than {most:,} bytes", AGAIN)
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{where}: {path.name} can't be read: {error.strerror}", "check its permissions") from error
    if content.startswith(LFS):
        raise _pointer(path, where)
    try:
        # UTF-8 alone, as transformers reads it; ValueError is also what undecodable bytes raise.
        parsed = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: {path.name} is no JSON ({type(error).__name__}: {error})"[:300], AGAIN) from None
    if not isinstance(parsed, dict):
        raise DataError(f"{where}: {path.name} is no JSON object", AGAIN)
    return parsed


def shown(value: object) -> str:
    """A value from a file in a message: short, on one line, without control characters."""
    return printable(repr(value) if isinstance(value, str) else str(value))


def printable(text: str) -> str:
    """A text from a file in a message, with ? for what a terminal might obey."""
    safe = "".join(one if one.isprintable() else "?" for one in text)
    return safe if len(safe) <= 160 else f"{safe[:157]}..."


def check_folder(folder: Path, where: str) -> None:
    """Raise ``DataError`` for what would be read without end or into all memory: pipes, devices, huge texts."""
    try:
        templates = folder / TEMPLATES
        for path in (*folder.iterdir(), *(templates.iterdir() if templates.is_dir() else ())):
            name = printable(path.name)
            if path.exists() and not path.is_file() and not path.is_dir():
                raise DataError(f"{where}: {name} is neither a file nor a folder", "take it away")
            if path.suffix not in READ_WHOLE or not path.is_file():
                continue
            check_no_pointer(path, where)
            most = MAX_TEMPLATE if path.suffix == ".jinja" else MAX_TEXT
            if path.stat().st_size > most:
                raise DataError(f"{where}: {name} is larger than {most:,} bytes", AGAIN)
            if path.suffix == ".json" and has_more_values(path, MAX_VALUES):
                raise DataError(f"{where}: {name} holds more than {MAX_VALUES:,} values", AGAIN)
    except OSError as error:
        raise DataError(f"{where} can't be read: {error.strerror or error}", "check its permissions") from error


def has_more_values(path: Path, most: int) -> bool:
    """Whether a file of JSON holds more values, many times its size in memory; what begins a value stands for one."""
    left = most
    if path.stat().st_size <= left:
        return False
    with path.open("rb") as stream:
        while left >= 0 and (block := stream.read(2**20)):
            left -= sum(block.count(sign) for sign in (b",", b"[", b"{"))
    return left < 0


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _without_safetensors(folder: Path) -> str:
    kinds = {"*.bin": "pickled weights (.bin)", "*.pt*": "pickled weights", "*.gguf": "a GGUF file"}
    found = next((what for pattern, what in kinds.items() if any(folder.glob(pattern))), None)
    save = "save it as safetensors with save_pretrained"
    return save if found is None else f"it has {found}, which gptfl doesn't open: {save}"


def check_no_pointer(path: Path, where: str) -> None:
    """Raise ``DataError`` for what Git LFS leaves in a file's place; passes on what the system refuses."""
    with path.open("rb") as stream:
        if stream.read(len(LFS)) == LFS:
            raise _pointer(path, where)


def _pointer(path: Path, where: str) -> DataError:
    return DataError(
        f"{where}: {path.name} is a Git LFS pointer, not the file itself", "run git lfs pull in its folder"
    )


def _read_header(path: Path, where: str) -> dict[str, Tensor]:
    """The tensors of one file, whose size must be what its header says."""
    if not _is_file(path):
        raise DataError(f"{where}: {printable(path.name)} is missing", "copy it there, or save the model again")
    try:
        size = path.stat().st_size
        check_no_pointer(path, where)
        if size == 0:
            raise DataError(f"{where}: {path.name} is empty", AGAIN)
        with safe_open(path, framework="pt") as file:
            return {name: _described(path, name, file.get_slice(name)) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        expected = _expected_size(path, size)
        if expected is not None and expected > size:
            raise DataError(f"{where}: {path.name} is cut: {size} of {expected} bytes are there", AGAIN) from None
        raise DataError(f"{where}: {path.name} is no whole safetensors file ({shown(str(error))})", AGAIN) from None
    except OSError as error:
        raise DataError(f"{where}: {path.name} can't be read: {error.strerror or error}", "check it") from error


def _described(path: Path, name: str, piece: Any) -> Tensor:
    return Tensor(path, name, tuple(piece.get_shape()), str(piece.get_dtype()))


def _expected_size(path: Path, size: int) -> int | None:
    """How many bytes a file should have by its own header; None where that can't be told."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > 100 * 10**6:
            return None
        if 8 + length > size:
            return 8 + length
        try:
            header = json.loads(stream.read(length).decode("utf-8"))
            ends = [one["data_offsets"][1] for name, one in header.items() if name != "__metadata__"]
        except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
            return None
    whole = [end for end in ends if type(end) is int]
    return 8 + length + max(whole) if whole and len(whole) == len(ends) else None


def _unwrapped(where: str, paths: tuple[Path, ...], tensors: Mapping[str, Tensor]) -> WeightFiles:
    """The tensors without what compiling, sharding and parallel training put into their names."""
    parallel = all(_first_plain(name) == PARALLEL for name in tensors)
    renamed: dict[str, Tensor] = {}
    found: set[str] = set()
    for name, one in tensors.items():
        parts = [part for part in name.split(".") if part not in WRAPPERS]
        found |= {f"{part}." for part in name.split(".") if part in WRAPPERS}
        while parallel and len(parts) > 1 and parts[0] == PARALLEL:
            parts = parts[1:]
            found.add(f"{PARALLEL}.")
        short = ".".join(parts)
        if short in renamed:
            raise DataError(
                f"{where}: {shown(name)} and {shown(renamed[short].name)} are one weight but for a wrapper's prefix",
                "save the model again, without its wrappers",
            )
        renamed[short] = one
    return WeightFiles(where, paths, renamed, tuple(sorted(found)))


def _first_plain(name: str) -> str:
    return next((part for part in name.split(".") if part not in WRAPPERS), "")
