"""What goes wrong in a plugin's part is told under the plugin's name, wherever gptfl calls it."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from gptfl.core import FeatureSet, TaskData, silent
from gptfl.errors import PluginError
from gptfl.features.embedding import Embedding
from gptfl.plugins.guards import make_executor, make_metric, make_task
from gptfl.plugins.interfaces import Executor, Metric, Task
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
