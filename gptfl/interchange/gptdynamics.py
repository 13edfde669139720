"""Reads recordings in the layout in which GPTDynamics was released: a folder a run, JSON lines in it.

``train_samples_id.json`` names each step's batch, ``all_<metric>_trajectory.out`` each test example's scores
(under the key ``loss``, whatever the metric). Steps count from 1, and the batch of step s leads to the score
at step s. Steps may repeat, where the last entry counts, and may be missing.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gptfl.core.texts import natural
from gptfl.errors import DataError
from gptfl.store.jsonlines import Line, read_json_lines, shown
from gptfl.store.safety import MAX_BYTES

BATCHES = "train_samples_id.json"
SCORES = "all_{}_trajectory.out"
MAX_STEP = 10_000_000
MAX_RUNS = 100_000
MAX_REPEATS = 20_000
BATCH_FORM = '{"step": 1, "samples_id": [0, 1]}'
SCORE_FORM = '{"id": 0, "loss_trajectory": [{"step": 1, "loss": 2.5}]}'
_LARGEST = float(np.finfo(np.float32).max)


@dataclass
class Budget:
    """How many bytes of numbers may still be made: a few bytes of JSON can ask for terabytes."""

    left: int = MAX_BYTES

    def take(self, count: int, path: Path) -> None:
        """Count some in. Raises ``DataError`` where that is more than a recording can hold."""
        self.left -= count
        if self.left < 0:
            raise DataError(
                f"{path}: a recording of so many runs, steps and examples is larger than {MAX_BYTES >> 30} GiB",
                "import fewer runs, or leave out test examples that aren't needed",
            )


@dataclass
class Duplicates:
    """What repeats in a file: how often, and in how many cases with another value (the last one counts)."""

    repeats: int = 0
    differing: int = 0

    def check(self, different: int, line: Line) -> None:
        """Raise ``DataError`` where much more repeats than there is."""
        if self.repeats > MAX_REPEATS + different:
            raise line.wrong(f"{self.repeats:,} entries so far were there before", "give each step once")

    def __add__(self, other: "Duplicates") -> "Duplicates":
        return Duplicates(self.repeats + other.repeats, self.differing + other.differing)


@dataclass(frozen=True, slots=True)
class RunFiles:
    """One run's folder: its name, and the files of its batches and of each metric."""

    name: str
    batches: Path
    scores: Mapping[str, Path]


@dataclass
class Batches:
    """The batches of one run by their steps, as places in the pool; learning rates where the file has them."""

    rows: dict[int, list[int]] = field(default_factory=dict)
    rates: dict[int, float] = field(default_factory=dict)
    duplicates: Duplicates = field(default_factory=Duplicates)

    def array(self, steps: int, budget: Budget, path: Path) -> Int[np.ndarray, "step batch"]:
        """Steps 1 to ``steps``, padded with -1; a step without a batch is all padding."""
        widest = max((len(row) for row in self.rows.values()), default=0)
        budget.take(steps * max(1, widest) * 8, path)
        batches = np.full((steps, widest), -1, dtype=np.int64)
        for step, row in self.rows.items():
            batches[step - 1, : len(row)] = row
        return batches


@dataclass(frozen=True, slots=True)
class Scores:
    """One metric along one run: ``values`` are NaN where nothing is recorded; ``named`` are the ids that occur."""

    steps: Int[np.ndarray, " recorded"]
    values: Float[np.ndarray, "recorded test"]
    named: Int[np.ndarray, " named"]
    duplicates: Duplicates


def find_runs(folder: Path) -> tuple[list[RunFiles], list[str]]:
    """The runs in a folder in natural order (2 before 10), and the folders that have scores but no batches.

    Raises ``DataError`` where the folder can't be read or holds no run.
    """
    try:
        if not folder.is_dir():
            raise DataError(f"{folder} {'is not a folder' if folder.exists() else 'does not exist'}", "check the path")
        inside = sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: natural(path.name))
        found, without = [], []
        for path in inside[: MAX_RUNS + 1]:
            scores = {name: path / SCORES.format(name) for name in _metrics_in(path)}
            if (path / BATCHES).is_file():
                found.append(RunFiles(path.name, path / BATCHES, scores))
            elif scores:
                without.append(path.name)
        if not found and (folder / BATCHES).is_file():
            raise DataError(f"{folder} is one run", "name the folder that holds the folders of the runs")
    except OSError as error:
        raise DataError(f"{folder} can't be read: {error.strerror}", "check the path and its permissions") from error
    if len(inside) > MAX_RUNS:
        raise DataError(f"{folder} holds more than {MAX_RUNS} folders", "name the folder of one recording")
    if not found:
        raise DataError(f"{folder} holds no run", f"a run is a folder with {BATCHES} and {SCORES.format('loss')} in it")
    return found, without


def _metrics_in(folder: Path) -> list[str]:
    names = (re.fullmatch(r"all_(\w+)_trajectory\.out", path.name) for path in folder.iterdir())
    return sorted(match[1] for match in names if match)


def read_batches(path: Path, places: Mapping[str, int], budget: Budget) -> Batches:
    """The batches of a run. Raises ``DataError`` for ids that ``places`` lacks, and steps that are none."""
    found = Batches()
    for line in read_json_lines(path, BATCH_FORM):
        step = _step(line, line.values.get("step"), 1, BATCH_FORM)
        ids = line.values.get("samples_id")
        if not isinstance(ids, list):
            raise line.wrong(f'"samples_id" is {line.what("samples_id")}, not a list', f"expected {BATCH_FORM}")
        row = [_place(line, one, places, "--train-texts", BATCH_FORM) for one in ids]
        budget.take(len(row) * 8, path)
        if step in found.rows:
            found.duplicates += Duplicates(1, int(found.rows[step] != row))
            found.duplicates.check(len(found.rows), line)
        found.rows[step] = row
        rate = line.values.get("learning_rate")
        if rate is not None:
            found.rates[step] = _number(line, rate, "learning_rate")
            if found.rates[step] < 0:
                raise line.wrong(f'"learning_rate" is {shown(rate)}', "give 0 or more")
    if not found.rows:
        raise DataError(f"{path} holds no batch", f"write one a line: {BATCH_FORM}")
    return found


def read_scores(path: Path, places: Mapping[str, int], metric: str, budget: Budget) -> Scores:
    """One metric along a run, line by line into one array that grows with the steps.

    Args:
        path: of the file.
        places: the place of each test example by its id.
        metric: its name in the lines.
        budget: bounds what all files of the recording come to.

    Raises ``DataError`` for ids that ``places`` lacks, steps that are none, and scores that are no numbers.
    """
    table = _Table(len(places), path, budget)
    named: set[int] = set()
    for line in read_json_lines(path, SCORE_FORM):
        place = _place(line, line.values.get("id"), places, "--test-texts", SCORE_FORM)
        named.add(place)
        table.put(place, *_trajectory(line, metric))
        table.duplicates.check(table.values.size, line)
    order = np.argsort(np.array(list(table.rows), dtype=np.int64))
    steps = np.array(list(table.rows), dtype=np.int64)[order]
    return Scores(steps, table.values[order], np.array(sorted(named), dtype=np.int64), table.duplicates)


class _Table:
    """Scores by step and test example; a step gets its row when it first occurs."""

    def __init__(self, tests: int, path: Path, budget: Budget) -> None:
        self.rows: dict[int, int] = {}
        self.path, self.budget, self.duplicates = path, budget, Duplicates()
        self.values = self._empty(1, tests)

    def put(self, test: int, scores: Mapping[int, float], duplicates: Duplicates) -> None:
        rows = [self.rows.setdefault(step, len(self.rows)) for step in scores]
        while len(self.values) < len(self.rows):
            self.values = np.concatenate([self.values, self._empty(len(self.values), self.values.shape[1])])
        old, new = self.values[rows, test], np.fromiter(scores.values(), np.float32, len(scores))
        known = ~np.isnan(old)
        self.duplicates += duplicates + Duplicates(int(known.sum()), int((known & (old != new)).sum()))
        self.values[rows, test] = new

    def _empty(self, rows: int, tests: int) -> Float[np.ndarray, "row test"]:
        self.budget.take(rows * tests * 4, self.path)
        return np.full((rows, tests), np.nan, dtype=np.float32)


def _trajectory(line: Line, metric: str) -> tuple[dict[int, float], Duplicates]:
    """Scores by step."""
    key = f"{metric}_trajectory" if f"{metric}_trajectory" in line.values else "loss_trajectory"
    entries = line.values.get(key)
    if not isinstance(entries, list):
        raise line.wrong(f'"{key}" is {line.what(key)}, not a list', f"expected {SCORE_FORM}")
    scores: dict[int, float] = {}
    duplicates = Duplicates()
    for entry in entries:
        if not isinstance(entry, dict):
            raise line.wrong(f"{shown(entry)} is no score", f"expected {SCORE_FORM}")
        name = metric if metric in entry else "loss"
        step = _step(line, entry.get("step"), 0, SCORE_FORM)
        score = _number(line, entry.get(name), name, step)
        if step in scores:
            duplicates += Duplicates(1, int(np.float32(scores[step]) != np.float32(score)))
        scores[step] = score
    return scores, duplicates


def _step(line: Line, value: Any, least: int, form: str) -> int:
    if type(value) is not int or not least <= value <= MAX_STEP:
        bounds = f"a whole number from {least} to {MAX_STEP}"
        raise line.wrong(f'"step" is {"missing" if value is None else shown(value)}, not {bounds}', f"expected {form}")
    return value


def _number(line: Line, value: Any, name: str, step: int | None = None) -> float:
    # Compared, not converted: a whole number may be too large to be a float.
    if type(value) not in (int, float) or not -_LARGEST <= value <= _LARGEST:
        at = "" if step is None else f" at step {step}"
        is_what = "missing" if value is None else f"{shown(value)}, no number that a recording can hold"
        raise line.wrong(f'"{name}"{at} is {is_what}', "leave the entry out: a missing step stays open")
    return float(value)


def _place(line: Line, value: Any, places: Mapping[str, int], flag: str, form: str) -> int:
    name = str(value) if type(value) is int else value
    # What is known needs no look: batches name examples by the million.
    if isinstance(name, str) and name in places:
        return places[name]
    name = line.id(value, form)
    if name not in places:
        raise line.wrong(f"there is no text of the example {shown(name)}", f"give the texts of all with {flag}")
    return places[name]


def longest(batches: Batches, scores: Iterable[Scores]) -> int:
    """The last step that a run names."""
    return max([*batches.rows, *(int(one.steps[-1]) for one in scores if len(one.steps))])
