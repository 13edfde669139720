"""Parts by kind, typed, and the check of what an estimator predicts."""

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from gptfl.core import Prediction, Query, Run
from gptfl.errors import PluginError
from gptfl.plugins.interfaces import Executor, Metric, Plan, Task, Trainer
from gptfl.plugins.optional import KnowsWorkers
from gptfl.plugins.registry import Registry
from gptfl.plugins.settings import read_settings, single_settings


def make_task(registry: Registry, name: str, **settings: Any) -> Task:
    """The task of that name. Raises ``PluginError`` as ``Registry.make`` does."""
    made: Task = registry.make("task", name, **settings)
    return made


def make_metric(registry: Registry, name: str) -> Metric:
    """The metric of that name. Raises ``PluginError`` as ``Registry.make`` does."""
    made: Metric = registry.make("metric", name)
    return made


def make_executor(registry: Registry, name: str, settings: Sequence[str] | Mapping[str, Any] = ()) -> Executor:
    """The executor of that name, with the settings of ``--executor-set``, of which a word may hold several.

    Raises ``PluginError`` as ``Registry.make`` does, and ``UsageError`` for a setting that is none.
    """
    words = settings if isinstance(settings, Mapping) else single_settings(settings)
    made: Executor = registry.make("executor", name, **read_settings(words, "--executor-set", "workers=2"))
    return made


def workers_of(executor: Executor) -> int | None:
    """How many runs an executor carries out at once; one unless it says otherwise, None where that isn't known before."""
    return executor.workers if isinstance(executor, KnowsWorkers) else 1


def runs_of(
    executor: Executor,
    make_trainer: Callable[[], Trainer],
    plans: Sequence[Plan],
    on_step: Callable[[int, int, int], None],
) -> Generator[Run, None, None]:
    """Each plan's run when it is done, in any order and once, however often the executor has it.

    Args:
        executor: carries them out.
        make_trainer: makes the trainer where the work happens.
        plans: the runs to carry out.
        on_step: called with a plan's index, the steps done and how many there are.

    Raises ``PluginError`` for a run that no plan asks for, and where one is lacking in the end. The executor's iterator
    is closed when this ends, however it ends.
    """
    asked = {plan.index for plan in plans}
    left, who = set(asked), f"executor {executor.name!r}"
    runs = executor.execute(make_trainer, plans, on_step)
    try:
        for run in runs:
            if run.index not in asked:
                raise PluginError(f"{who} gave run {run.index}, which is none of those that it was to carry out", WRONG)
            if run.index in left:
                left.remove(run.index)
                yield run
    finally:
        close = getattr(runs, "close", None)
        if close is not None:
            close()
    if left:
        raise PluginError(f"{who} ended without run {min(left)} and gave no reason", WRONG)


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
