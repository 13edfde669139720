"""The checkpoints that a finished fine-tuning left: transformers' folders ``checkpoint-N``, and what is known of its steps.

Weights are read from safetensors alone and the rest from JSON; ``training_args.bin``, which is a pickle, is never opened.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gptfl.core.recording_settings import LARGEST, LARGEST_RATE
from gptfl.core.texts import MOST_DIGITS
from gptfl.errors import DataError, UsageError
from gptfl.store.jsonlines import read_plain, shown
from gptfl.training.weight_files import INDEX, SINGLE, read_json

STATE, ADAPTER, ADAPTER_WEIGHTS = "trainer_state.json", "adapter_config.json", "adapter_model.safetensors"
OPTIMISER = "optimizer.pt"
_NAME = re.compile(r"checkpoint-(\d{1,9})")
MAX_STATE = 64 * 2**20
"""Bytes of a trainer's state."""
MAX_ORDER = 256 * 2**20
"""Bytes of a table of what each step was trained on."""
MOST_STEPS = 10**7
ORDER = "a table with the columns step and id, as own_losses of gptfl.GptflCallback writes it"


@dataclass(frozen=True, slots=True)
class CheckpointFolders:
    """Checkpoints by step, in order; ``adapter`` is the configuration of the adapters that they hold, None for whole models."""

    folders: Mapping[int, Path]
    adapter: Mapping[str, Any] | None
    state: Mapping[str, Any]
    where: str

    @classmethod
    def of(cls, folder: Path) -> "CheckpointFolders":
        """Those in a folder, or the folder itself.

        Raises ``DataError`` where there are none, some hold adapters and others don't, or what they say of themselves
        can't be read.
        """
        where = f"--checkpoints {folder}"
        try:
            named = {
                int(match[1]): one for one in folder.iterdir() if (match := _NAME.fullmatch(one.name)) and one.is_dir()
            }
        except OSError as error:
            raise DataError(f"{where} can't be read: {error.strerror}", "name the trainer's output folder") from error
        folders = {step: named[step] for step in sorted(named)} or {_step_of(folder, where): folder}
        kinds = {step: (one / ADAPTER).is_file() for step, one in folders.items()}
        for step, one in folders.items():
            weights = (ADAPTER_WEIGHTS,) if kinds[step] else (SINGLE, INDEX)
            if not any((one / name).is_file() for name in weights):
                raise DataError(f"{one} has no {' nor '.join(weights)}", "save checkpoints in safetensors")
        if len(set(kinds.values())) > 1:
            raise DataError(
                f"{where}: some checkpoints hold adapters and others whole models", "keep those of one training"
            )
        last = folders[max(folders)]
        adapter = read_json(last / ADAPTER, where, MAX_STATE) if kinds[max(folders)] else None
        state = read_json(last / STATE, where, MAX_STATE) if (last / STATE).is_file() else {}
        return cls(folders, adapter, state, where)

    @property
    def steps(self) -> tuple[int, ...]:
        """After how many steps each was saved."""
        return tuple(self.folders)

    def rates(self, given: float | None) -> tuple[Float[np.ndarray, " step"], str]:
        """The step size of every step up to the last checkpoint, and where it is from: ``given``, or the trainer's log.

        Between the steps that were logged they are taken to lie on a line. Raises ``DataError`` where none is known.
        """
        last = max(self.folders)
        if given is not None:
            return np.full(last, given), f"--lr {given:g}"
        log = self.state.get("log_history")
        known: dict[int, float] = {}
        for entry in log if isinstance(log, list) else ():
            step, rate = (entry.get(key) if isinstance(entry, dict) else None for key in ("step", "learning_rate"))
            if step is not None and _is_step(step) and isinstance(rate, int | float) and 0 <= rate < LARGEST_RATE:
                known[int(step)] = float(rate)
        if not known:
            raise DataError(f"{self.where}: {STATE} of the last checkpoint logs no learning rate", "give it with --lr")
        steps = sorted(known)
        interpolated = np.interp(np.arange(1, last + 1), steps, [known[step] for step in steps])
        return np.asarray(interpolated), f"the learning rates that {STATE} logs at {len(steps)} steps"

    def lora(self) -> str | None:
        """The adapters as ``--lora`` writes them, None for whole models. Raises ``DataError`` for others than plain LoRA."""
        if self.adapter is None:
            return None
        config = self.adapter
        for name, usual in (("peft_type", "LORA"), ("bias", "none")):
            if config.get(name, usual) != usual:
                raise DataError(
                    f"{self.where}: {ADAPTER} has {name} = {shown(config[name])}", f"gptfl reads {name} = {usual}"
                )
        for name in (
            "use_dora",
            "use_rslora",
            "modules_to_save",
            "layers_to_transform",
            "rank_pattern",
            "alpha_pattern",
        ):
            if config.get(name):
                raise DataError(f"{self.where}: {ADAPTER} has {name} = {shown(config[name])}", "gptfl reads plain LoRA")
        targets: Any = config.get("target_modules")
        rank: Any = config.get("r")
        alpha: Any = config.get("lora_alpha")
        if not isinstance(targets, list) or not all(isinstance(one, str) and one for one in targets) or not targets:
            raise DataError(f"{self.where}: {ADAPTER} has target_modules = {shown(targets)}", "list them by name")
        # Compared, not converted: a whole number may be too large to be a float.
        if type(rank) is not int or type(alpha) not in (int, float) or not (rank >= 1 and 0 < alpha <= LARGEST):
            raise DataError(
                f"{self.where}: {ADAPTER} has r = {shown(rank)}, lora_alpha = {shown(alpha)}", "give positive numbers"
            )
        return f"r={rank},alpha={alpha:g},dropout=0,targets={'+'.join(sorted(targets))}"


def _step_of(folder: Path, where: str) -> int:
    """The step of a checkpoint that is the folder itself, as its state tells."""
    if not (folder / STATE).is_file():
        raise DataError(f"{where} holds no checkpoint-N, and no {STATE}", "name the trainer's output folder")
    step: Any = read_json(folder / STATE, where, MAX_STATE).get("global_step")
    if not _is_step(step):
        raise DataError(f"{where}: {STATE} has global_step = {shown(step)}", "name the trainer's output folder")
    return int(step)


def _is_step(value: Any) -> bool:
    return type(value) is int and 1 <= value <= MOST_STEPS


def read_order(path: Path, steps: int, places: Mapping[str, int]) -> Int[np.ndarray, "step batch"]:
    """The examples of each step, by their places, from a table of steps and ids.

    Raises ``DataError`` naming the line for an id or step that there isn't, and for a step without examples.
    """
    found: list[list[int]] = [[] for _ in range(steps)]
    try:
        table = csv.DictReader(io.StringIO(read_plain(path, MAX_ORDER, "--order").decode("utf-8-sig"), newline=""))
        if not {"step", "id"} <= set(table.fieldnames or ()):
            raise DataError(f"--order {path} has no columns step and id", f"give {ORDER}")
        for row in table:
            where = f"--order {path}, line {table.line_num}"
            step = row["step"] or ""
            # Python makes no number of thousands of digits.
            if not step.isdecimal() or len(step) > MOST_DIGITS or not 1 <= int(step) <= MOST_STEPS:
                raise DataError(f"{where}: step {shown(step)}", "count steps from 1")
            if row["id"] not in places:
                raise DataError(
                    f"{where}: no row to train on has the id {shown(row['id'])}", "give the rows with --train"
                )
            if int(step) <= steps:
                found[int(step) - 1].append(places[row["id"]])
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"--order {path} can't be read: {error}", f"give {ORDER}") from error
    empty = next((number for number, batch in enumerate(found, 1) if not batch), None)
    if empty is not None:
        raise DataError(
            f"--order {path} has no ids of step {empty}", f"give all {steps} steps up to the last checkpoint"
        )
    batches = np.full((steps, max(map(len, found))), -1, dtype=np.int64)
    for line, batch in zip(batches, found, strict=True):
        line[: len(batch)] = batch
    return batches


def spread_steps(steps: Sequence[int], most: int) -> tuple[int, ...]:
    """At most so many of these steps, spread evenly, the last among them. Raises ``UsageError`` for none."""
    if most < 1:
        raise UsageError(f"is {most}", "give 1 or more", option="sketch_points")
    places = np.unique(np.linspace(len(steps) - 1, 0, min(most, len(steps))).round().astype(int))
    return tuple(int(steps[place]) for place in places)
