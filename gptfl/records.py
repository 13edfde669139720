"""The values that flow between the stages: plain, frozen, free of files and frameworks."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, Int


class Progress(Protocol):
    """How a stage reports: it calls ``progress(what, done, total, note)`` and prints nothing."""

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None: ...


def silent(what: str, done: int, total: int, note: str = "") -> None:
    """The progress callback that reports nothing."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """An array that comes in consecutive blocks of rows, to be fingerprinted like the whole of it."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    blocks: Iterable[np.ndarray]


def fingerprint(*parts: object) -> str:
    """Hash JSON-able values and arrays to 16 hex digits, the same on every machine."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Blocks):
            digest.update(f"{part.dtype.str}{part.shape}".encode())
            for block in part.blocks:
                digest.update(np.ascontiguousarray(block).tobytes())
        elif isinstance(part, np.ndarray):
            array = np.ascontiguousarray(part)
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(array.tobytes())
        else:
            digest.update(json.dumps(part, sort_keys=True, ensure_ascii=False).encode())
        digest.update(b"\0")
    return digest.hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Example:
    """One prompt and its target.

    ``label`` is the class as an index into ``choices``, where the task has classes.
    ``digest`` identifies the texts, also where a recording keeps none (``--no-texts``).
    ``fields`` holds whatever else the task knows (references, category, ...), JSON-able.
    """

    id: str
    prompt: str
    target: str
    choices: tuple[str, ...] = ()
    label: int | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    digest: str = ""

    def __post_init__(self) -> None:
        if not self.digest:
            object.__setattr__(self, "digest", fingerprint(self.prompt, self.target))

    @property
    def text(self) -> str:
        """Prompt and target together, what an encoder embeds by default."""
        return self.prompt + self.target

    @property
    def task(self) -> str | None:
        """The task of a mixture that the example is of; None outside a mixture."""
        named = self.fields.get("task")
        return named if isinstance(named, str) else None

    def without_texts(self) -> "Example":
        """The same example with its texts gone; id, class, digest, task and the ``WORDLESS`` fields stay."""
        # A file's own fields may have these names and hold anything.
        kept = {name: self.fields[name] for name in WORDLESS if isinstance(self.fields.get(name), int)}
        if self.task is not None:
            kept["task"] = self.task
        return Example(self.id, "", "", (), self.label, kept, self.digest)


WORDLESS = ("template", "flipped", "clean_label", "reserved")
"""Fields that tell in a number what was done to an example."""


def classes_of(examples: Sequence[Example]) -> list[tuple[str, int | None]] | None:
    """The class of each example as (task, label); None unless there are classes for all of them.

    The task is empty outside a mixture. In a mixture, the examples of a task that has no labels make one class.
    """
    classes = [(example.task or "", example.label) for example in examples]
    if any(not task and label is None for task, label in classes):
        return None
    told_apart = len({task for task, _ in classes}) > 1 or all(label is not None for _, label in classes)
    return classes if told_apart else None


def in_order(classes: Iterable[tuple[str, int | None]]) -> list[tuple[str, int | None]]:
    """The different classes by task and number."""
    return sorted(set(classes), key=lambda one: (one[0], -1 if one[1] is None else one[1]))


def tasks_of(examples: Sequence[Example]) -> tuple[str, ...]:
    """The task of each example of a mixture; nothing where they are not of several tasks."""
    tasks = tuple(example.task or "" for example in examples)
    return tasks if all(tasks) and len(set(tasks)) > 1 else ()


def examples_fingerprint(pool: Sequence[Example], test: Sequence[Example]) -> str:
    """Identify a pool and a test set by ids and texts, in order."""
    return fingerprint([[e.id, e.digest] for e in pool], [[e.id, e.digest] for e in test])


@dataclass(frozen=True, slots=True)
class TaskData:
    """What a task hands to ``collect``: the training pool and the test examples."""

    task: str
    pool: tuple[Example, ...]
    test: tuple[Example, ...]
    source: str = ""
    licence: str = ""


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """What must be known of a metric to read its values."""

    name: str
    higher_is_better: bool
    low: float = float("-inf")
    high: float = float("inf")


@dataclass(frozen=True, slots=True)
class Curriculum:
    """The batches of one run in order, as indices into the pool, and their step sizes.

    ``batches`` is padded with -1 where a batch is smaller than the widest; ``learning_rates``
    holds the optimiser's learning rate at each step.
    """

    batches: Int[np.ndarray, "step batch"]
    learning_rates: Float[np.ndarray, " step"]

    @property
    def steps(self) -> int:
        """How many optimiser steps the run has."""
        return len(self.batches)


@dataclass(frozen=True, slots=True)
class Run:
    """A curriculum that was carried out, and the metrics recorded along it.

    ``steps`` are the recorded steps in ascending order; 0 is the model before any update.
    ``metrics`` maps a metric's name to its values, NaN where not recorded.
    ``derivatives``, where recorded, maps a direction (``gradient``, ``update``) to the change of each test
    example's loss that the gradients along this very run foretell to first order; row k tells the change from
    recorded step k - 1 to k, row 0 is 0. ``seconds``, where known, is what training and measuring took; no
    fingerprint has it.
    """

    index: int
    seed: int
    role: str
    curriculum: Curriculum
    steps: Int[np.ndarray, " recorded"]
    metrics: Mapping[str, Float[np.ndarray, "recorded test"]]
    derivatives: Mapping[str, Float[np.ndarray, "recorded test"]] = field(default_factory=dict)
    seconds: float | None = None

    @property
    def name(self) -> str:
        """How messages and files call this run."""
        return f"run-{self.index:04d}"


def changes_between(
    changes: Float[np.ndarray, "*run recorded test"], rows: Int[np.ndarray, " kept"]
) -> Float[np.ndarray, "*run kept test"]:
    """Derivatives (see ``Run``) as they are when only some recorded rows are kept, in order.

    What was told at the rows left out is added to the next one kept; the first kept row is where changes begin.
    """
    result = np.zeros((*changes.shape[:-2], len(rows), changes.shape[-1]), dtype=changes.dtype)
    if len(rows) > 1:
        result[..., 1:, :] = np.add.reduceat(changes[..., : rows[-1] + 1, :], rows[:-1] + 1, axis=-2)
    return result


FIT, VALIDATION, TEST = "fit", "validation", "test"
REPEAT = "repeat"
"""The role of a run that repeats another one's examples, to tell what is left to chance: nothing is learned from it,
and nothing is scored on it.
"""


def role_of(index: int) -> str:
    """The role of a run, by its index alone, so that adding runs changes no other run's role.

    32 runs give the paper's shares: 25 to fit, 2 to validate, 5 to test.
    """
    if index % 6 == 3:
        return TEST
    return VALIDATION if index % 16 == 6 else FIT


@dataclass(frozen=True, slots=True)
class GradientProducts:
    """Dot products of the examples' loss gradients, at points along one reference run.

    ``steps`` are the points (0 is the model before any update). ``raw[k, i, j]`` is the product of pool example
    i's gradient with test example j's; in ``preconditioned`` the pool side is divided by the root of the
    optimiser's bias-corrected second moment (plus its epsilon), NaN at points where there is none. ``self_raw``
    and ``self_preconditioned`` are each pool example's product with itself (only one side divided).
    All trained parameters count. ``seed`` is the reference run's, ``learning_rates`` its step sizes.
    """

    seed: int
    steps: Int[np.ndarray, " point"]
    learning_rates: Float[np.ndarray, " step"]
    raw: Float[np.ndarray, "point pool test"]
    preconditioned: Float[np.ndarray, "point pool test"]
    self_raw: Float[np.ndarray, "point pool"]
    self_preconditioned: Float[np.ndarray, "point pool"]

    @property
    def fingerprint(self) -> str:
        """Fingerprint of every product."""
        arrays = (self.raw, self.preconditioned, self.self_raw, self.self_preconditioned)
        return fingerprint(self.seed, self.steps, self.learning_rates, *arrays)


@dataclass(frozen=True, slots=True)
class SketchPoint:
    """Sketches of the examples' loss gradients at one step of a reference run; one projection for both sides.

    In ``preconditioned`` the pool's gradients are divided by the root of the optimiser's bias-corrected second moment
    (plus its epsilon) before they are projected. In ``split_train`` and ``split_test`` both sides are divided by the
    root of that, so that products are those of ``preconditioned`` with ``test``, several times more precise: no side
    is swamped by weights that are hardly ever moved. None where there is no second moment.
    """

    step: int
    train: Float[np.ndarray, "pool d"]
    test: Float[np.ndarray, "test d"]
    preconditioned: Float[np.ndarray, "pool d"] | None
    split_train: Float[np.ndarray, "pool d"] | None = None
    split_test: Float[np.ndarray, "test d"] | None = None


@dataclass(frozen=True, slots=True)
class GradientSketches:
    """Seeded random projections of every example's loss gradient, at points along one reference run.

    Dot products of two sketches estimate those of the gradients. ``steps`` are the points, ``points`` their sketches
    in the same order, which may be read from a file only when one is asked for. ``modules`` is the pattern of the
    names of the weights that count, None for all trained ones. ``seed`` is the reference run's and the projection's,
    ``learning_rates`` are the run's step sizes. ``seconds``, where known, is what training and sketching took; no
    fingerprint has it.
    """

    seed: int
    steps: Int[np.ndarray, " point"]
    learning_rates: Float[np.ndarray, " step"]
    dimensions: int
    modules: str | None
    points: Sequence[SketchPoint] = field(repr=False)
    seconds: float | None = None

    @property
    def fingerprint(self) -> str:
        """Fingerprint of every sketch; reads one point after the other."""
        each = [
            fingerprint(one.step, one.train, one.test, one.preconditioned, one.split_train, one.split_test)
            for one in self.points
        ]
        return fingerprint(self.seed, self.steps, self.learning_rates, self.dimensions, self.modules, each)


@dataclass(frozen=True, slots=True)
class Dynamics:
    """Many runs over one pool and one test set.

    ``gradients`` and ``sketches`` are there only if they were asked for (``collect --gradients``, ``--sketches``).
    """

    pool: tuple[Example, ...]
    test: tuple[Example, ...]
    metrics: Mapping[str, MetricInfo]
    runs: tuple[Run, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    gradients: GradientProducts | None = None
    sketches: GradientSketches | None = None

    @property
    def examples(self) -> str:
        """Fingerprint of the pool and the test set."""
        return examples_fingerprint(self.pool, self.test)

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the examples, the settings and every recorded run."""
        return fingerprint(self.examples, dict(self.settings), [run_fingerprint(r) for r in self.runs])

    def with_role(self, role: str) -> tuple[Run, ...]:
        """The runs that hold a role, in order of index."""
        return tuple(run for run in self.runs if run.role == role)


def run_fingerprint(run: Run) -> str:
    """Identify one run by its curriculum and everything recorded along it."""
    metrics = [item for name in sorted(run.metrics) for item in (name, run.metrics[name])]
    # A run without derivatives keeps the fingerprint it had before there were any.
    derived = [item for name in sorted(run.derivatives) for item in (f"d {name}", run.derivatives[name])]
    curriculum = run.curriculum
    return fingerprint(
        run.index, run.role, curriculum.batches, curriculum.learning_rates, run.steps, *metrics, *derived
    )


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """One vector for each pool and test example; ``kind`` says what they are (embedding, gradient)."""

    train: Float[np.ndarray, "pool d"]
    test: Float[np.ndarray, "test d"]
    kind: str = "embedding"


@dataclass(frozen=True, slots=True)
class Features:
    """What one encoder says of the examples of a recording, in one or more named sets.

    ``examples`` is the fingerprint of the pool and test set they belong to;
    ``identity`` is what determines the vectors: encoder, weights, settings. ``seconds``, where known, is what it took
    to make them, as part of a recording's cost; no fingerprint has it.
    """

    encoder: str
    identity: Mapping[str, Any]
    examples: str
    sets: Mapping[str, FeatureSet]
    seconds: float | None = None

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the encoder, the examples and every vector."""
        arrays = [x for name in sorted(self.sets) for x in (name, self.sets[name].train, self.sets[name].test)]
        return fingerprint(self.encoder, dict(self.identity), self.examples, *arrays)


@dataclass(frozen=True, slots=True)
class FitData:
    """All that an estimator may learn from: nothing of a test run is in here.

    ``fit_runs`` and ``validation_runs`` carry the metric named by ``metric`` among others;
    ``features`` is None unless the estimator requires it or the user gave it, and ``gradients`` unless it
    requires them.
    """

    pool: tuple[Example, ...]
    test: tuple[Example, ...]
    metric: MetricInfo
    fit_runs: tuple[Run, ...]
    validation_runs: tuple[Run, ...] = ()
    features: Features | None = None
    seed: int = 0
    progress: Progress = silent
    gradients: GradientProducts | None = None

    def recorded(self, run: Run) -> Float[np.ndarray, "recorded test"]:
        """The recorded values of the metric that is being fitted."""
        return run.metrics[self.metric.name]


@dataclass(frozen=True, slots=True)
class Query:
    """What an estimator is asked: the trajectories that these curricula would give.

    All curricula share the ``steps`` to predict at; ``steps[0]`` is where ``first`` was recorded
    (0 unless imported). Shorter runs are padded with batches of -1 and learning rate 0.

    ``unseen`` is there where the question is about examples that the estimator was not fitted to.
    ``derivatives`` are those of the asked runs (see ``Run``), for estimators that require them.
    ``observed`` holds what was recorded of the asked runs themselves after their first scores, NaN where nothing was
    (and in the first row, which ``first`` has): an estimator whose ``conditions`` is true goes on from there, others
    ignore it.
    """

    batches: Int[np.ndarray, "run step batch"]
    learning_rates: Float[np.ndarray, "run step"]
    steps: Int[np.ndarray, " recorded"]
    first: Float[np.ndarray, "run test"]
    unseen: "Unseen | None" = None
    derivatives: Mapping[str, Float[np.ndarray, "run recorded test"]] = field(default_factory=dict)
    observed: Float[np.ndarray, "run recorded test"] | None = None


@dataclass(frozen=True, slots=True)
class Unseen:
    """The examples that a question is about, where they are others than those fitted.

    ``batches`` of the query then index ``pool`` and ``first`` belongs to ``test``; ``pool_seen`` and ``test_seen``
    give each one's place among the examples fitted, -1 where it was not. ``features`` are of these examples, in
    the same sets as those fitted.
    """

    pool: tuple[Example, ...]
    test: tuple[Example, ...]
    pool_seen: Int[np.ndarray, " pool"]
    test_seen: Int[np.ndarray, " test"]
    features: Features | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """Predicted trajectories; ``values[:, 0]`` repeats the given first value.

    ``intervals`` maps a level such as 0.9 to its lower and upper bounds on what would be recorded, where offered.
    ``novelty``, where offered, tells how far each asked run lies from those fitted: the variance that is left of
    what the run's own examples may do, as a share of what it was before anything was recorded (0 known, 1 unknown).
    """

    values: Float[np.ndarray, "run recorded test"]
    intervals: Mapping[float, tuple[Float[np.ndarray, "run recorded test"], Float[np.ndarray, "run recorded test"]]] = (
        field(default_factory=dict)
    )
    novelty: Float[np.ndarray, " run"] | None = None
