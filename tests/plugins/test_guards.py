"""What goes wrong in a plugin's task, metric, executor or encoder is told under the plugin's name."""

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gptfl import testing
from gptfl.core import FeatureSet, MetricInfo, TaskData, silent
from gptfl.errors import DataError, PluginError
from gptfl.features.embedding import Embedding
from gptfl.plugins import EncoderTags
from gptfl.plugins.guards import make_executor, make_metric, make_task
from gptfl.plugins.interfaces import Executor, Metric, Observation, Task
from gptfl.plugins.registry import Part, Registry, build

EXAMPLES = testing.make_examples(3)
SEEN = Observation(EXAMPLES, np.zeros(3), np.ones(3, dtype=np.int64))


class Fragile:
    """A part of any kind whose methods do what they are told."""

    name = "fragile"
    learning_rate = 0.1
    tags = EncoderTags(per_example=True)
    info = MetricInfo("fragile", higher_is_better=True)
    needs: frozenset[str] = frozenset()

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def _do(self, *given: object) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    load = encode = check = measure = _do

    def identity(self) -> dict[str, str]:
        return {}

    def execute(self, *given: object) -> Any:
        yield 1
        self._do()


def registry(answer: Any) -> Registry:
    found = build([])
    for kind in ("task", "metric", "executor"):
        found.claim("acme 1.0", kind, "fragile", lambda data=None: Fragile(answer))
    return found


ACTS: dict[str, Callable[[Any], Any]] = {
    "task 'fragile' of acme 1.0 raised KeyError in load: 'a'": lambda e: make_task(registry(e), "fragile").load(
        1, 1, 0
    ),
    "metric 'fragile' of acme 1.0 raised KeyError in check: 'a'": lambda e: make_metric(registry(e), "fragile").check(
        []
    ),
    "metric 'fragile' of acme 1.0 raised KeyError in measure: 'a'": lambda e: make_metric(
        registry(e), "fragile"
    ).measure(SEEN),
    "executor 'fragile' of acme 1.0 raised KeyError in execute: 'a'": lambda e: list(
        make_executor(registry(e), "fragile").execute(lambda: None, [], lambda *given: None)  # type: ignore[arg-type, return-value]
    ),
    "encoder 'fragile' of acme 1.0 raised KeyError in encode: 'a'": lambda e: embedding(e).sets(),
}


def embedding(answer: Any) -> Embedding:
    part = Part("encoder", "fragile", "acme 1.0", Fragile)
    return Embedding(part, Fragile(answer), EXAMPLES, EXAMPLES, silent)


@pytest.mark.parametrize(("problem", "act"), ACTS.items())
def test_an_exception_is_told_under_the_plugins_name(problem: str, act: Callable[[Any], Any]) -> None:
    with pytest.raises(PluginError) as caught:
        act(KeyError("a"))
    assert caught.value.problem == problem
    with pytest.raises(DataError, match=r"^mine$"):
        act(DataError("mine"))


def test_answers_of_another_kind_are_refused() -> None:
    with pytest.raises(PluginError, match="load returned list, not TaskData"):
        make_task(registry([]), "fragile").load(1, 1, 0)
    for answer, shape in (([1.0], r"\(1,\)"), (np.zeros((3, 2)), r"\(3, 2\)")):
        with pytest.raises(PluginError, match=rf"measured values of shape {shape}, not \(3,\)"):
            make_metric(registry(answer), "fragile").measure(SEEN)
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
    again = pickle.loads(pickle.dumps(metric))
    np.testing.assert_array_equal(again.measure(SEEN), [1.0, 2.0, 3.0])
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
