"""Writes recordings in the layout in which GPTDynamics was released (see ``gptdynamics``), and their texts.

Two things are added, which readers of the layout pass over: the ``learning_rate`` of each batch, and the classes,
further fields and turns of the texts, where a number that is not finite is null. Step 0, the model before any update, is kept where it was recorded.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from gptfl.core import Dynamics, Example, Run
from gptfl.core.texts import json_text, natural
from gptfl.errors import DataError
from gptfl.interchange.gptdynamics import BATCHES, SCORES

_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")


def folder_names(dynamics: Dynamics) -> list[str]:
    """What the folders of the runs are called: as they were when they were imported, else by their index.

    In natural order they are in the order of the runs.
    """
    known = dynamics.settings.run_names
    if isinstance(known, list) and all(isinstance(name, str) and _PLAIN.fullmatch(name) for name in known):
        names = [known[run.index] for run in dynamics.runs if run.index < len(known)]
        folded = {name.casefold() for name in names}
        if len(folded) == len(dynamics.runs) and sorted(names, key=natural) == names:
            return names
    return [run.name for run in dynamics.runs]


def write_run(folder: Path, run: Run, dynamics: Dynamics, with_rates: bool) -> None:
    """Write one run into a new folder, line by line.

    Args:
        folder: of the run, which is made.
        run: the run.
        dynamics: the recording, for the ids of its examples.
        with_rates: whether the learning rates are known and written.

    Raises ``DataError`` for a metric that can't name a file.
    """
    folder.mkdir()
    pool = [_id(example) for example in dynamics.pool]
    with (folder / BATCHES).open("w", encoding="utf-8", newline="\n") as file:
        for step, batch in enumerate(run.curriculum.batches):
            line: dict[str, Any] = {"step": step + 1, "samples_id": [pool[place] for place in batch if place >= 0]}
            if with_rates:
                line["learning_rate"] = float(run.curriculum.learning_rates[step])
            file.write(json_text(line) + "\n")
    for metric, values in run.metrics.items():
        if not re.fullmatch(r"[\w.-]+", metric, re.ASCII):
            raise DataError(f"the metric {metric!r} can't name a file", "export to --format parquet or csv")
        with (folder / SCORES.format(metric)).open("w", encoding="utf-8", newline="\n") as file:
            for example, column in zip(dynamics.test, values.T, strict=True):
                file.write(f'{{"id": {json_text(_id(example))}, "loss_trajectory": [')
                file.write(f"{_entries(run, column)}]}}\n")


def _entries(run: Run, column: Float[np.ndarray, " recorded"]) -> str:
    known = np.isfinite(column)
    # As text, an array's numbers have the fewest digits that give them back.
    pairs = zip(run.steps[known].tolist(), column[known].astype(str), strict=True)
    return ", ".join(f'{{"step": {step}, "loss": {score}}}' for step, score in pairs)


def write_texts(path: Path, examples: Sequence[Example]) -> None:
    """Write the texts of examples, a line each."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for example in examples:
            line: dict[str, Any] = {
                "id": _id(example),
                "input": example.text,
                "target": example.target,
                "choices": list(example.choices),
                "label": example.label,
                "fields": dict(example.fields),
            }
            if example.turns:
                line["turns"] = [turn.to_json() for turn in example.turns]
            file.write(json_text(line) + "\n")


def _id(example: Example) -> str | int:
    """Whole numbers are numbers in this layout."""
    plain = re.fullmatch(r"0|-?[1-9][0-9]{0,17}", example.id, re.ASCII)
    return int(example.id) if plain else example.id
