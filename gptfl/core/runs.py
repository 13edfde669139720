"""What is recorded: runs, and the dynamics that they make up."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float, Int

from gptfl.core.examples import Example, examples_fingerprint
from gptfl.core.gradients import GradientProducts, GradientSketches
from gptfl.core.recording_settings import RecordingSettings
from gptfl.core.values import fingerprint


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """What must be known of a metric to read its values."""

    name: str
    higher_is_better: bool
    low: float = float("-inf")
    high: float = float("inf")

    def is_binary(self, values: Iterable[Float[np.ndarray, "..."]]) -> bool:
        """Whether it is 0 or 1 and nothing between, by its bounds and by what was recorded of it.

        A prediction is then the probability of 1. Where nothing was recorded, it isn't.
        """
        if (self.low, self.high) != (0.0, 1.0):
            return False
        known = [one[np.isfinite(one)] for one in values]
        return any(len(one) for one in known) and all(bool(np.isin(one, (0.0, 1.0)).all()) for one in known)


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
    example's loss that the gradients along this very run predict to first order; row k tells the change from
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
class Dynamics:
    """Many runs over one pool and one test set.

    ``settings`` may be given as any mapping. ``gradients`` and ``sketches`` are there only if they were asked for
    (``collect --gradients``, ``--sketches``).
    """

    pool: tuple[Example, ...]
    test: tuple[Example, ...]
    metrics: Mapping[str, MetricInfo]
    runs: tuple[Run, ...]
    settings: RecordingSettings = field(default_factory=RecordingSettings)
    gradients: GradientProducts | None = None
    sketches: GradientSketches | None = None
    _known: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Fingerprints, each computed once: what is changed by ``replace`` has none yet."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", RecordingSettings.of(self.settings))

    @property
    def examples(self) -> str:
        """Fingerprint of the pool and the test set."""
        if "examples" not in self._known:
            self._known["examples"] = examples_fingerprint(self.pool, self.test)
        return self._known["examples"]

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the examples, the settings and every recorded run."""
        if "all" not in self._known:
            runs = [run_fingerprint(run) for run in self.runs]
            self._known["all"] = fingerprint(self.examples, dict(self.settings), runs)
        return self._known["all"]

    def is_binary(self, metric: MetricInfo) -> bool:
        """Whether a metric was 0 or 1 wherever it was recorded."""
        return metric.is_binary(run.metrics[metric.name] for run in self.runs if metric.name in run.metrics)

    @property
    def known_products(self) -> GradientProducts | None:
        """The gradient products that were recorded, else those estimated along with the sketches; None without either."""
        if self.gradients is not None or self.sketches is None:
            return self.gradients
        return self.sketches.products

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


def cut_run(run: Run, rows: Int[np.ndarray, " kept"]) -> Run:
    """The same run with some of its recorded steps, in order; derivatives are summed over those left out."""
    if len(rows) == len(run.steps):
        return run
    return replace(
        run,
        steps=run.steps[rows],
        metrics={name: values[rows] for name, values in run.metrics.items()},
        derivatives={name: changes_between(changes, rows) for name, changes in run.derivatives.items()},
    )


def measured(run: Run, metric: MetricInfo) -> Run:
    """The run at the steps at which a test example has the metric: generated text is not measured at every one.

    A run that has it nowhere stays as it is.
    """
    rows = np.flatnonzero(np.isfinite(run.metrics[metric.name]).any(axis=1))
    return cut_run(run, rows) if len(rows) else run


def thinned(run: Run, every: int) -> Run:
    """The run with its first recorded step, each ``every``-th after it, and the last."""
    rows = np.arange(0, len(run.steps), every)
    return cut_run(run, np.unique(np.append(rows, max(len(run.steps) - 1, 0))) if len(run.steps) else rows)


def of_tests(run: Run, tests: Int[np.ndarray, " chosen"]) -> Run:
    """The same run with what was recorded of some test examples."""
    return replace(
        run,
        metrics={name: values[:, tests] for name, values in run.metrics.items()},
        derivatives={name: changes[:, tests] for name, changes in run.derivatives.items()},
    )


def with_tests(dynamics: Dynamics, tests: Int[np.ndarray, " chosen"]) -> Dynamics:
    """The same recording with what was recorded of some test examples."""
    pool = np.arange(len(dynamics.pool))
    return replace(
        dynamics,
        test=tuple(dynamics.test[i] for i in tests),
        runs=tuple(of_tests(run, tests) for run in dynamics.runs),
        gradients=None if dynamics.gradients is None else dynamics.gradients.of_examples(pool, tests),
        sketches=None if dynamics.sketches is None else _sketches_of(dynamics.sketches, pool, tests),
    )


def _sketches_of(
    sketches: GradientSketches, pool: Int[np.ndarray, " kept"], tests: Int[np.ndarray, " chosen"]
) -> GradientSketches:
    """The same sketches, of which features were made already, with the products of some of the examples."""
    return replace(sketches, products=None if sketches.products is None else sketches.products.of_examples(pool, tests))
