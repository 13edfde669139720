"""Tasks, metrics and executors whose exceptions are told as their provider's fault; gptfl's own are as they are."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from gptfl.errors import PluginError
from gptfl.interfaces import Executor, Metric, Observation, Plan, Task, Trainer
from gptfl.records import Example, MetricInfo, Run, TaskData
from gptfl.registry import MENDING, OWN, Part, Registry


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
