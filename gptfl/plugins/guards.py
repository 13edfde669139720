"""Parts of plugins whose exceptions and answers are held against their interface, so that a fault names its provider."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from gptfl.core import Example, MetricInfo, Prediction, Query, Run, TaskData
from gptfl.errors import PluginError
from gptfl.plugins.interfaces import Executor, Metric, Observation, Plan, Task, Trainer
from gptfl.plugins.registry import MENDING, OWN, Part, Registry


def make_task(registry: Registry, name: str, **settings: Any) -> Task:
    """The task of that name. Raises ``PluginError`` as ``Registry.make`` does."""
    made: Task = registry.make("task", name, **settings)
    part = registry.find("task", name)
    return made if part.owner == OWN else GuardedTask(part, made)


def make_metric(registry: Registry, name: str) -> Metric:
    """The metric of that name. Raises ``PluginError`` as ``Registry.make`` does."""
    made: Metric = registry.make("metric", name)
    part = registry.find("metric", name)
    return made if part.owner == OWN else GuardedMetric(part, made)


def make_executor(registry: Registry, name: str) -> Executor:
    """The executor of that name. Raises ``PluginError`` as ``Registry.make`` does."""
    made: Executor = registry.make("executor", name)
    part = registry.find("executor", name)
    return made if part.owner == OWN else GuardedExecutor(part, made)


@dataclass
class GuardedTask:
    """A plugin's task."""

    part: Part
    made: Task

    def __post_init__(self) -> None:
        self.name: str = self.made.name
        self.learning_rate: float = self.made.learning_rate
        self.generated = bool(getattr(self.made, "generated", False))

    def load(self, pool: int | None, test: int | None, seed: int) -> TaskData:
        """What the task loads. Raises ``PluginError`` where that is no ``TaskData``."""
        with self.part.blamed("load"):
            data = self.made.load(pool, test, seed)
        if not isinstance(data, TaskData):
            raise PluginError(f"{self.part.who}: load returned {type(data).__name__}, not TaskData", MENDING)
        return data


@dataclass
class GuardedMetric:
    """A plugin's metric. An executor may send it to another process, which a factory need not survive."""

    part: Part
    made: Metric

    def __post_init__(self) -> None:
        self.part = Part(self.part.kind, self.part.name, self.part.owner, type(self.made))
        self.info: MetricInfo = self.made.info
        self.needs: frozenset[str] = frozenset(self.made.needs)

    def check(self, examples: Sequence[Example]) -> None:
        """Whether the metric can measure these."""
        with self.part.blamed("check"):
            self.made.check(examples)

    def measure(self, observation: Observation) -> Float[np.ndarray, " test"]:
        """What the metric measures. Raises ``PluginError`` where that is not a number for each test example."""
        with self.part.blamed("measure"):
            values = np.asarray(self.made.measure(observation), dtype=np.float64)
        expected = (len(observation.examples),)
        if values.shape != expected:
            raise PluginError(f"{self.part.who} measured values of shape {values.shape}, not {expected}", MENDING)
        return values


@dataclass
class GuardedExecutor:
    """A plugin's executor."""

    part: Part
    made: Executor

    def __post_init__(self) -> None:
        self.name: str = self.made.name

    def execute(
        self, make_trainer: Callable[[], Trainer], plans: Iterable[Plan], on_step: Callable[[int, int, int], None]
    ) -> Iterator[Run]:
        """The runs as the executor yields them."""
        with self.part.blamed("execute"):
            yield from self.made.execute(make_trainer, plans, on_step)


ROUNDING = 1e-6
"""A novelty may leave the range from 0 to 1 by so much: it is a quotient of sums."""
WRONG = "it needs mending"
Bounds = tuple[Float[np.ndarray, "run recorded test"], Float[np.ndarray, "run recorded test"]]


def checked(prediction: Prediction, query: Query, who: str) -> Prediction:
    """The prediction that ``who`` gave, its parts as arrays.

    Raises ``PluginError`` where values, intervals or novelty have the wrong shape or aren't finite, or where the lower
    bound of an interval is above its upper one.
    """
    runs, tests = query.first.shape
    expected = (runs, len(query.steps), tests)
    values = np.asarray(prediction.values)
    if values.shape != expected:
        raise PluginError(f"{who} predicted values of shape {values.shape}, not {expected}", WRONG)
    if not np.isfinite(values).all():
        raise PluginError(f"{who} predicted values that are not finite", "other settings may help")
    novelty = None if prediction.novelty is None else np.asarray(prediction.novelty, dtype=np.float64)
    if novelty is not None:
        # Not a number is not within the range either.
        within = (novelty >= -ROUNDING) & (novelty <= 1 + ROUNDING)
        if novelty.shape != (runs,) or not within.all():
            raise PluginError(f"{who} gave a novelty that is no number from 0 to 1 for each of {runs} runs", WRONG)
        novelty = np.clip(novelty, 0.0, 1.0)
    return Prediction(values, _intervals(prediction.intervals, expected, who), novelty)


def _intervals(given: Mapping[float, Bounds], expected: tuple[int, ...], who: str) -> dict[float, Bounds]:
    result = {}
    for level, bounds in given.items():
        if not 0 < level < 1:
            raise PluginError(f"{who} gave intervals of level {level}, which is not between 0 and 1", WRONG)
        low, high = (np.asarray(bound) for bound in bounds)
        if low.shape != expected or high.shape != expected:
            wrong = low.shape if low.shape != expected else high.shape
            raise PluginError(f"{who} gave intervals of shape {wrong}, not {expected}", WRONG)
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise PluginError(f"{who} gave intervals that are not finite", "other settings may help")
        if (low > high).any():
            raise PluginError(f"{who} gave intervals whose lower bound is above the upper one", WRONG)
        result[float(level)] = (low, high)
    return result
