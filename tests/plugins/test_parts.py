"""Registered parts: a plugin's fault is told under its name, and its answers are held against the interface."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gptfl.errors import DataError, PluginError
from gptfl.plugins import EstimatorTags
from gptfl.plugins.interfaces import Encoder, Estimator
from gptfl.plugins.optional import InfluencesItself, InfluencesTests, TellsInfluence, UsesRecording, has_self_influence
from gptfl.plugins.parts import KINDS, OPTIONAL, Part, interface_members
from gptfl.plugins.registry import build
from gptfl.tasks.base import DataTask
from tests.plugins.fragile import SEEN, Fragile, registry


def make(kind: str, answer: Any) -> Any:
    return registry(answer).make(kind, "fragile")


METHODS = [
    (kind, member)
    for kind in KINDS
    for member in (*interface_members(kind), *OPTIONAL.get(kind, ()))
    if callable(getattr(Fragile, member, None))
]


@pytest.mark.parametrize(("kind", "method"), METHODS)
def test_an_exception_out_of_any_method_is_reported_under_the_plugins_name(kind: str, method: str) -> None:
    def act(error: BaseException) -> None:
        answer = getattr(make(kind, error), method)(*([SEEN] if method == "measure" else []))
        if isinstance(answer, Iterator):
            list(answer)

    with pytest.raises(PluginError) as caught:
        act(KeyError("a"))
    assert caught.value.problem == f"{kind} 'fragile' of acme 1.0 raised KeyError in {method}: 'a'"
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(DataError, match=r"^mine$"):
        act(DataError("mine"))
    with pytest.raises(KeyboardInterrupt):
        act(KeyboardInterrupt())


def test_every_interface_has_methods_that_raise() -> None:
    assert {kind for kind, _ in METHODS} == set(KINDS)
    assert len(METHODS) == 2 + 4 + 2 + 12 + 1


def test_an_exception_out_of_an_attribute_is_reported_too() -> None:
    with pytest.raises(PluginError, match=r"estimator 'fragile' of acme 1.0 raised ValueError in notes_: no"):
        _ = make("estimator", ValueError("no")).notes_
    assert make("estimator", ["a", 2]).notes_ == ("a", "2")
    assert not hasattr(make("estimator", None), "absent")


@pytest.mark.parametrize(
    ("kind", "method", "answer", "message"),
    [
        ("task", "load", [], "load returned list, not TaskData"),
        ("task", "sizes", 3, "raised TypeError in sizes"),
        ("metric", "measure", [1.0], r"measured values of shape \(1,\), not \(3,\)"),
        ("metric", "measure", np.zeros((3, 2)), r"measured values of shape \(3, 2\), not \(3,\)"),
        ("metric", "measure", ["a"], "raised ValueError in measure"),
        ("estimator", "fit", None, "fit returned NoneType, not the fitted estimator"),
        ("estimator", "restore", 1, "restore returned int, not the fitted estimator"),
        ("estimator", "settings", 1, "raised TypeError in settings"),
        ("estimator", "state", [1], "raised TypeError in state"),
        ("estimator", "influence", "a", "raised ValueError in influence"),
        ("estimator", "flops", None, "raised TypeError in flops"),
        ("encoder", "identity", 3, "raised TypeError in identity"),
        ("encoder", "encode_new", [1], "raised AttributeError in encode_new"),
    ],
)
def test_answers_of_another_kind_are_refused(kind: str, method: str, answer: object, message: str) -> None:
    with pytest.raises(PluginError, match=rf"{kind} 'fragile' of acme 1.0:? {message}"):
        getattr(make(kind, answer), method)(SEEN)


def test_a_guarded_part_is_what_the_part_is() -> None:
    made = make("estimator", None)
    for protocol in (Estimator, InfluencesTests, InfluencesItself, TellsInfluence, Fragile):
        assert isinstance(made, protocol)
    assert isinstance(make("encoder", {}), (Encoder, UsesRecording))
    assert made.tags == EstimatorTags()
    assert has_self_influence(made)
    made.answer = 3
    assert made.answer == made.flops() == 3

    class Plain:
        name, tags = "plain", EstimatorTags()
        settings = fit = predict = state = restore = lambda self, *given: self

    found = build([])
    found.claim("acme 1.0", "estimator", "plain", Plain)
    plain = found.make("estimator", "plain")
    assert not isinstance(plain, (InfluencesTests, InfluencesItself, TellsInfluence))
    assert isinstance(plain, Estimator)


def test_what_fit_gives_back_is_guarded() -> None:
    made = make("estimator", None)
    made.answer = vars(made)["_made"]
    assert made.fit(None) is made
    made.answer = Fragile(ValueError("late"), "estimator")
    with pytest.raises(PluginError, match=r"estimator 'fragile' of acme 1.0 raised ValueError in predict: late"):
        made.fit(None).predict(None)


def test_a_task_that_reads_rows_is_one_behind_its_guard() -> None:
    class Rows(DataTask):
        name, learning_rate, expected = "rows", 0.1, "prompt and target"

        def example(self, row: Any, id: str) -> Any:
            raise KeyError("column")

    found = build([])
    found.claim("acme 1.0", "task", "rows", Rows)
    made: Any = found.make("task", "rows", data=Path("nowhere"))
    assert isinstance(made, DataTask)
    with pytest.raises(PluginError, match=r"task 'rows' of acme 1.0 raised KeyError in example: 'column'"):
        made.example(None, "0")


def test_a_bug_of_gptfls_own_keeps_its_traceback() -> None:
    found = build([])
    with pytest.raises(ZeroDivisionError), found.find("encoder", "minilm").blamed("encode"):
        _ = 1 / 0


def test_what_a_user_can_mend_passes_through_a_plugin_as_it_is() -> None:
    with pytest.raises(DataError, match=r"^mine$"), Part("task", "a", "b", object).blamed("load"):
        raise DataError("mine")
