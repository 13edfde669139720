"""Trainings on a pool, some of its flipped labels corrected, or on a part of it: every result on disk at once."""

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from gptfl.core import FIT, Example, Progress, TaskData, fingerprint
from gptfl.core.curriculum import run_seed
from gptfl.core.packing import Batching
from gptfl.core.texts import json_text, parse_json
from gptfl.evaluation.paired import laid_out
from gptfl.interruption import leaving
from gptfl.plugins.guards import runs_of, workers_of
from gptfl.plugins.interfaces import Executor, Metric, Plan
from gptfl.plugins.work import Tally
from gptfl.recording.recording import OpenedRecording
from gptfl.recording.tokens import check_tokens
from gptfl.recording.trainers import TrainerMaker, check_weights, recipe_of
from gptfl.simulation.schedule import batching_in
from gptfl.store.jsonlines import read_json_lines, read_plain
from gptfl.store.outputs import written_whole
from gptfl.tasks.label_noise import corrected, flipped_of

if TYPE_CHECKING:
    from gptfl.recording.cost import Announce, CostEstimate


MAX_RESULTS = 256 * 2**20
LINE = '{"key": "...", "metrics": {...}}, as gptfl writes them'
KEPT = "finished trainings are kept, the same command goes on from there"
NONE_KEPT = "no training was finished, the same command begins anew"
Values = Mapping[str, float]
"""The mean of each metric over the test examples at the end of a training."""


@dataclass(frozen=True, slots=True)
class Training:
    """One training: in which repeat, where in the pool flipped labels are corrected beforehand, and on which members.

    Without ``members`` it is on the whole pool, in the order of the repeat. In the places of the rows ``without`` others
    come, and everything else is where it is in a training on the whole pool.
    """

    repeat: int
    corrected: tuple[int, ...] = ()
    members: tuple[int, ...] | None = None
    without: tuple[int, ...] = ()


@dataclass
class Retrainer:
    """Trains on versions and parts of one pool by the recording's recipe, and keeps what came out in ``path``.

    ``test`` are the recording's test examples, or some of them. ``path`` may hold what other metrics came to after the same
    trainings: those are kept, and a training that lacks a metric asked for is done again for it.
    """

    recording: OpenedRecording
    pool: tuple[Example, ...]
    test: tuple[Example, ...]
    metrics: tuple[Metric, ...]
    model: str
    device: str
    steps: int
    batch_size: int
    seed: int
    path: Path
    progress: Progress
    weights: str = ""
    done: dict[str, Values] = field(default_factory=dict)
    lost: int = 0
    """Bytes at the end of ``path`` that a power cut left unreadable; their trainings are done anew."""

    def __post_init__(self) -> None:
        # Only the end of each training is looked at.
        self.recipe = replace(
            recipe_of(self.recording.dynamics), record_every=self.steps, derivatives=False, processes=1, shard=False
        )
        if any("generated" in metric.needs for metric in self.metrics):
            self.recipe = replace(self.recipe, generate_every=None)
        self.flips = np.flatnonzero(flipped_of(self.pool))
        clean = tuple(corrected(self.pool[place]) for place in self.flips)
        # Both versions of a flipped example are in the trainer's pool: correcting one only turns batches to the other.
        data = TaskData(self.recording.dynamics.settings.task, (*self.pool, *clean), self.test)
        self.make_trainer = TrainerMaker(self.model, self.device, data, self.metrics, self.recipe, self.progress)

    def open(self) -> None:
        """Load the model, and read what was trained before. Raises ``DataError`` where either doesn't fit."""
        trainer, recording = self.make_trainer(), self.recording
        self.weights = trainer.network.loaded.weights_hash
        check_weights(recording, self.weights, self.model)
        choices = trainer.evaluator.choices
        check_tokens(recording.dynamics.settings, trainer.tokenizer, self.pool, self.test, choices, str(recording.path))
        self.lost = cut_damaged_end(self.path)
        self.done = read_results(self.path)

    def key(self, training: Training) -> str:
        """Fingerprint of everything that determines what a training comes to, in whatever metric."""
        return self._key(training)

    def _key(self, training: Training, *more: Any) -> str:
        return fingerprint(
            self.recording.dynamics.examples,
            self.weights,
            self.recipe.to_json(),
            [self.steps, self.batch_size, self.seed, training.repeat],
            list(training.corrected),
            # Nothing is added for the whole pool and all test examples, so that what was kept of them is found again.
            *(() if training.members is None else (list(training.members),)),
            *(() if len(self.test) == len(self.recording.dynamics.test) else ([one.id for one in self.test],)),
            *((("without", list(training.without)),) if training.without else ()),
            *more,
        )

    @property
    def _names(self) -> list[str]:
        return [metric.info.name for metric in self.metrics]

    @property
    def notes(self) -> tuple[str, ...]:
        """What to tell of the results that were kept."""
        if not self.lost:
            return ()
        return (f"the end of {self.path} was unreadable ({self.lost} bytes): trainings that it held were done anew",)

    def left(self, trainings: Sequence[Training]) -> list[Training]:
        """Those that are not done yet, or whose result lacks one of the metrics."""
        return [training for training in trainings if not self._measured(self.result(training))]

    def plan(self, index: int, training: Training) -> Plan:
        """The training's batches; those of one repeat differ only in which version of an example they name."""
        seed = run_seed(self.seed, training.repeat)
        version = np.arange(len(self.pool))
        places = np.array(training.corrected, dtype=np.int64)
        version[places] = len(self.pool) + np.searchsorted(self.flips, places)
        members = np.arange(len(self.pool)) if training.members is None else np.array(training.members, dtype=np.int64)
        rest, batching = np.setdiff1d(members, training.without), self._batching
        batches = laid_out(lambda rows, own: batching.fill(rows, self.steps, own), members, rest, seed)
        return Plan(index, seed, FIT, np.where(batches >= 0, version[batches], -1))

    @property
    def _batching(self) -> Batching:
        found = batching_in(self.recording.dynamics)
        return Batching(self.batch_size) if found is None else replace(found, size=self.batch_size)

    def estimate(self, trainings: Sequence[Training]) -> "CostEstimate":
        """What is left will cost."""
        from gptfl.recording.cost import Size, estimate

        left = self.left(trainings)
        trainer = self.make_trainer()
        size = Size(
            runs=len(trainings),
            runs_left=len(left),
            steps=self.steps,
            recorded=2,
            subset=len(self.pool if trainings[0].members is None else trainings[0].members),
            batch_size=self.batch_size,
            metrics=len(self.metrics),
            generated=2 if trainer.evaluator.generator is not None else 0,
        )
        return estimate(trainer, self.plan(0, trainings[0]), size, ())

    def train(self, executor: Executor, trainings: Sequence[Training]) -> int:
        """Do what is left; each result is on disk before the next is begun. Returns how many there were."""
        left = self.left(trainings)
        plans = [self.plan(index, training) for index, training in enumerate(left)]

        tally = Tally()

        def on_step(index: int, done: int, total: int) -> None:
            note = f"training {index + 1} of {len(left)}"
            self.progress("retrain", tally.add(index, done), len(left) * self.steps, note)

        with (
            leaving(lambda: KEPT if self.done else NONE_KEPT),
            closing(runs_of(executor, self.make_trainer, plans, on_step)) as runs,
        ):
            for run in runs:
                ends = {name: float(values[-1].astype(np.float64).mean()) for name, values in run.metrics.items()}
                key = self.key(left[run.index])
                self.done[key] = {**self.done.get(key, {}), **ends}
                _write(self.path, self.done)
        return len(left)

    def carry_out(
        self,
        executor: Executor,
        trainings: Sequence[Training],
        command: str,
        announce: "Announce | None",
        dry_run: bool,
    ) -> int | None:
        """Announce what the trainings cost, and do those that are left; how many these were, None for a dry run.

        Args:
            executor: what trains.
            trainings: each once.
            command: who locks the workspace meanwhile.
            announce: called with the cost.
            dry_run: whether to stop there.

        Raises ``DataError`` as ``open`` does.
        """
        self.open()
        if announce is not None:
            announce(replace(self.estimate(trainings), workers=workers_of(executor)))
        if dry_run:
            return None
        with self.recording.workspace.lock(command):
            return self.train(executor, trainings)

    def result(self, training: Training) -> Values:
        """What a training came to in each metric that was ever measured after it; nothing where it wasn't done."""
        values = self.done.get(self.key(training), {})
        if self._measured(values):
            return values
        # Removal studies once kept what each choice of metrics came to under a key of its own.
        return {**self.done.get(self._key(training, ("metrics", self._names)), {}), **values}

    def _measured(self, values: Values) -> bool:
        return all(name in values for name in self._names)


def orders_of(
    suspicions: Mapping[str, np.ndarray], shuffle: Int[np.ndarray, " pool"]
) -> dict[str, Int[np.ndarray, " pool"]]:
    """The pool in each order of checking, most suspect first; those suspected alike as ``shuffle`` has them."""
    return {name: shuffle[np.argsort(-suspicion[shuffle], kind="stable")] for name, suspicion in suspicions.items()}


def cut_damaged_end(path: Path) -> int:
    """Cut what a power cut left unreadable off the end of a file of results: zeros, or half a line.

    Returns how many bytes that was. Raises ``ResourceError`` where the file can't be written.
    """
    if not path.is_file():
        return 0
    data = read_plain(path, MAX_RESULTS)
    whole, end, rest = data.partition(b"\0")[0].rpartition(b"\n")
    try:
        parse_json(rest.decode())  # a last line that lacks but its end is whole
        kept = whole + end + rest
    except ValueError:
        kept = whole + end
    if len(kept) < len(data):
        with written_whole(path) as part:
            part.write_bytes(kept)
    return len(data) - len(kept)


def read_results(path: Path) -> dict[str, Values]:
    """What was measured after each training that a file keeps, by the training's key.

    Raises ``DataError``, naming the line, for what is no such result.
    """
    if not path.exists():
        return {}
    done: dict[str, Values] = {}
    for line in read_json_lines(path, LINE):
        key, values = line.values.get("key"), line.values.get("metrics")
        if not isinstance(key, str) or not isinstance(values, dict) or not _are_numbers(values.values()):
            raise line.wrong("no result of a training", f"delete {path} to train again, or expected {LINE}")
        # What diverged is not finite, and null in JSON.
        done[key] = {name: math.nan if value is None else value for name, value in values.items()}
    return done


def _are_numbers(values: Iterable[object]) -> bool:
    return all(isinstance(value, float | None) for value in values)


def _write(path: Path, done: Mapping[str, Values]) -> None:
    lines: list[dict[str, Any]] = [{"key": key, "metrics": dict(values)} for key, values in done.items()]
    with written_whole(path) as part:
        part.write_text("".join(json_text(line) + "\n" for line in lines), encoding="utf-8")
