"""What goes wrong in a plugin's part is told under the plugin's name, wherever gptfl calls it."""

import copy
import pickle
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gptfl.core import FeatureSet, TaskData, silent
from gptfl.errors import PluginError
from gptfl.features.embedding import Embedding
from gptfl.plugins.guards import make_executor, make_metric, make_task, runs_of, workers_of
from gptfl.plugins.interfaces import Executor, Metric, Plan, Task
from gptfl.plugins.registry import build
from tests.plugins.fragile import EXAMPLES, SEEN, registry


def embedding(answer: Any) -> Embedding:
    found = registry(answer)
    part = found.find("encoder", "fragile")
    made = found.make("encoder", "fragile")
    vars(made)["identity"] = dict
    return Embedding(part, made, EXAMPLES, EXAMPLES, silent)


def test_an_encoder_that_gives_no_sets_is_refused() -> None:
    for sets in ([1], {"a": np.zeros((3, 2))}, None):
        with pytest.raises(PluginError, match="gave no mapping of names to sets"):
            embedding(sets).sets()


def test_what_works_passes_through() -> None:
    data = TaskData("fragile", EXAMPLES, EXAMPLES)
    task = make_task(registry(data), "fragile")
    assert isinstance(task, Task)
    assert (task.load(3, 3, 0), task.learning_rate) == (data, 0.1)
    metric = make_metric(registry([1, 2, 3]), "fragile")
    assert isinstance(metric, Metric)
    for again in (pickle.loads(pickle.dumps(metric)), copy.deepcopy(metric)):
        np.testing.assert_array_equal(again.measure(SEEN), [1.0, 2.0, 3.0])
        again.answer = KeyError("a")
        with pytest.raises(PluginError, match="in measure"):
            again.measure(SEEN)
    executor = make_executor(registry(None), "fragile")
    assert isinstance(executor, Executor)
    assert list(executor.execute(lambda: None, [], lambda *given: None)) == [1]  # type: ignore[arg-type, return-value, comparison-overlap]
    vectors = FeatureSet(np.ones((3, 2)), np.ones((3, 2)))
    np.testing.assert_array_equal(embedding({"a": vectors}).sets()["a"].train, vectors.train)


def test_gptfls_own_are_left_as_they_are() -> None:
    found = build([])
    assert type(make_metric(found, "loss")).__name__ == "Loss"
    assert type(make_executor(found, "local")).__name__ == "Local"
    assert type(make_task(found, "errands", data=None)).__name__ == "Errands"


def test_each_run_is_taken_once_and_in_any_order() -> None:
    plans = [Plan(index, 0, "fit", np.zeros((1, 1), dtype=np.int64)) for index in (3, 1)]
    closed = []

    class Runner:
        name = "runner"

        def __init__(self, indices: tuple[int, ...]) -> None:
            self.indices = indices

        def execute(self, *given: Any) -> Iterator[Any]:
            try:
                yield from (SimpleNamespace(index=index) for index in self.indices)
            finally:
                closed.append(self.indices)

    def taken(*indices: int) -> list[int]:
        return [run.index for run in runs_of(Runner(indices), lambda: None, plans, lambda *given: None)]  # type: ignore[arg-type, return-value]

    assert taken(1, 3, 1, 3) == [1, 3]
    with pytest.raises(PluginError, match="executor 'runner' gave run 2, which is none of those"):
        taken(1, 2)
    with pytest.raises(PluginError, match="executor 'runner' ended without run 3 and gave no reason"):
        taken(1, 1)
    runs = runs_of(Runner((1, 3)), lambda: None, plans, lambda *given: None)  # type: ignore[arg-type, return-value]
    next(runs)
    runs.close()
    assert closed == [(1, 3, 1, 3), (1, 2), (1, 1), (1, 3)]


def test_an_executor_says_how_many_runs_it_carries_out_at_once() -> None:
    class Silent:
        name = "silent"

        def execute(self, *given: Any) -> Iterator[Any]:
            yield from ()

    class Telling(Silent):
        def __init__(self, workers: Any = "2") -> None:
            self.workers = workers

    found = build([])
    for factory in (Silent, Telling):
        found.claim("acme 1.0", "executor", factory.__name__, factory)
    assert workers_of(make_executor(found, "Silent")) == 1
    assert workers_of(make_executor(found, "Telling")) == 2
    assert workers_of(make_executor(found, "Telling", {"workers": None})) is None
