"""Trained weights along a run, in safetensors: written as they come, read back into the model they belong to."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gptfl.core.texts import parse_json
from gptfl.errors import DataError, ResourceError, UsageError
from gptfl.store.durable import cannot_write, part_of, put_in_place, usual_mode
from gptfl.training.distributed import ProcessGroup
from gptfl.training.network import Network
from gptfl.training.weight_files import check_no_pointer

KIND, VERSION = "gptfl-checkpoint", 1
ENTRY = "gptfl"
"""The metadata of a file that says what it is, as JSON."""
ALL = "all"
BYTES = 4
"""Of each weight: they are kept in float32 and saved as they are."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Which weights a checkpoint holds: those of run ``run`` after ``step`` updates."""

    run: int
    step: int
    weights: dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class CheckpointWriter:
    """Saves the trained weights at some of the recorded steps of every run, in a folder a run."""

    folder: Path
    steps: tuple[int, ...]
    recording: str = ""
    """What identifies the recording, so that files of an earlier one under the same name aren't taken for its."""

    def path(self, run: int, step: int) -> Path:
        """Where the weights of a run after ``step`` updates lie."""
        return self.folder / f"run-{run:04d}" / f"step-{step:06d}.safetensors"

    def missing(self, run: int) -> bool:
        """Whether a checkpoint of this run is not there, or of another recording."""
        return not all(_recording_of(self.path(run, step)) == self.recording for step in self.steps)

    def check_room(self, needed: int) -> None:
        """Raise ``ResourceError`` unless the disk has room for so many bytes more."""
        place = next(folder for folder in (self.folder, *self.folder.absolute().parents) if folder.exists())
        free = shutil.disk_usage(place).free
        if needed > free:
            raise ResourceError(
                f"--checkpoints: they take {needed / 1e9:.3g} GB and {place} has {free / 1e9:.3g} GB free",
                "ask for fewer --checkpoints or --runs, train less (--lora, --train-layers), or use another --workspace",
            )

    def save(self, network: Network, group: ProcessGroup, run: int, step: int) -> None:
        """Save the weights if this is a step to save at; the main process writes, all of a group must call.

        Args:
            network: whose trained weights are saved.
            group: the processes of the run.
            run: its index.
            step: that was just done.

        Raises ``ResourceError`` where the system refuses; a file that has its name is whole.
        """
        if step not in self.steps:
            return
        weights = network.weights()
        if group.main:
            about = {"weights": network.loaded.weights_hash, "recording": self.recording, "run": run, "step": step}
            write_checkpoint(self.path(run, step), weights, about)


def _recording_of(path: Path) -> str | None:
    """Which recording a checkpoint is of; None where there is no whole one."""
    try:
        with safe_open(path, framework="pt") as file:
            return _about(file.metadata()).get("recording")
    except (SafetensorError, OSError):
        return None


def _about(metadata: dict[str, str] | None) -> dict[str, Any]:
    """What a file says that it is; nothing if it is no checkpoint."""
    try:
        about = parse_json((metadata or {}).get(ENTRY, ""))
    except (ValueError, RecursionError):
        return {}
    return about if isinstance(about, dict) and about.get("kind") == KIND else {}


def checkpoint_steps(text: str, recorded: Sequence[int]) -> tuple[int, ...]:
    """The recorded steps to save at: all, or so many evenly spaced, the first and the last among them.

    Raises ``UsageError`` unless ``text`` is ``all`` or a whole number of at least 2.
    """
    if text == ALL:
        return tuple(int(step) for step in recorded)
    if not text.isascii() or not text.isdigit() or not 2 <= int(text) < 10**6:
        raise UsageError(
            f"--checkpoints {text!r}", "give how many of each run, from 2 on, or all (at every recorded step)"
        )
    places = np.linspace(0, len(recorded) - 1, min(int(text), len(recorded))).round().astype(int)
    return tuple(int(recorded[place]) for place in places)


def write_checkpoint(path: Path, weights: dict[str, Tensor], about: dict[str, Any]) -> None:
    """Write weights and what they are ``about`` into a file that takes its name when it is whole."""
    about = {"kind": KIND, "format_version": VERSION, **about}
    # One entry: safetensors writes several in any order, and the same weights are to make the same file.
    metadata = {ENTRY: json.dumps(about, sort_keys=True)}
    try:
        # In a folder, which stays the one that is locked: the file is replaced by another while it is written.
        with part_of(path, folder=True) as part:
            whole = part / path.name
            save_file({name: weight.contiguous() for name, weight in weights.items()}, whole, metadata=metadata)
            whole.chmod(usual_mode(part))
            put_in_place(whole, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    except SafetensorError as error:  # how safetensors tells what the system refused
        raise ResourceError(f"{path} can't be written: {error}", "make room, or ask for fewer --checkpoints") from error


def read_checkpoint(path: Path | str, network: Network) -> Checkpoint:
    """The weights that were saved along a run of this network.

    Raises ``DataError`` where there is none, or it is damaged, foreign, from another model, or of other
    trained weights (``--lora``, ``--train-layers``).
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"checkpoint {path} is missing", "record it with gptfl collect --checkpoints")
    again = "record it again with gptfl collect --checkpoints"
    try:
        check_no_pointer(path, "checkpoint")
        with safe_open(path, framework="pt") as file:
            about = _about(file.metadata())
            if not about:
                raise DataError(f"{path} is no checkpoint of gptfl", again)
            if about.get("format_version") != VERSION:
                raise DataError(f"{path} has checkpoint format {about.get('format_version')}", "update gptfl")
            if about.get("weights") != network.loaded.weights_hash:
                raise DataError(
                    f"{path}: checkpoints from another model than {network.loaded.source.name}",
                    "name the --model that they were recorded with",
                )
            expected = {name: list(weight.shape) for name, weight in zip(network.names, network.trainable, strict=True)}
            if {name: file.get_slice(name).get_shape() for name in file.keys()} != expected:  # noqa: SIM118
                raise DataError(
                    f"{path} holds other trained weights than these",
                    "use the --lora and --train-layers of the recording",
                )
            run, step = about.get("run"), about.get("step")
            if type(run) is not int or type(step) is not int:
                raise DataError(f"{path} doesn't say of which run and step it is", again)
            weights = {name: file.get_tensor(name) for name in expected}
        for (name, found), weight in zip(weights.items(), network.trainable, strict=True):
            if found.dtype != weight.dtype or not found.isfinite().all():
                raise DataError(f"{path}: {name} holds no finite numbers of type {weight.dtype}", again)
        return Checkpoint(run, step, weights)
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} is damaged ({error})", again) from error
