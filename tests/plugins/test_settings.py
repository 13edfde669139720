"""What ``--set`` may bring, and what every part of gptfl makes of it: its own type, or one clear line."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gptfl.errors import UsageError
from gptfl.plugins import settings
from gptfl.plugins.registry import build, get_registry
from gptfl.plugins.settings import read_settings

MODEL = {"model": "pythia-70m"}


@pytest.mark.parametrize("value", [3, 3.0, "3", np.int64(3), np.float64(3)])
def test_a_whole_number_by_any_name(value: object) -> None:
    found = settings.whole("estimator x", "order", value, 1, 3)
    assert (found, type(found)) == (3, int)


@pytest.mark.parametrize("value", [0.5, 2, "0.5", np.float32(0.5)])
def test_a_number_by_any_name(value: object) -> None:
    found = settings.number("estimator x", "strength", value, positive=True)
    assert (found, type(found)) == (float(value), float)  # type: ignore[arg-type]


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: settings.whole("encoder x", "dims", True), "encoder x: dims is True: give a whole number"),
    (lambda: settings.whole("encoder x", "dims", 1.5), "dims is 1.5: give a whole number"),
    (lambda: settings.whole("encoder x", "dims", math.inf), "dims is inf"),
    (lambda: settings.whole("encoder x", "dims", [1]), r"dims is \[1\]"),
    (lambda: settings.whole("encoder x", "dims", 0, 1, 9), "dims is 0: give a whole number from 1 to 9"),
    (lambda: settings.whole("encoder x", "dims", 10, high=9), "a whole number of at most 9"),
    (lambda: settings.number("encoder x", "p", math.nan), "p is nan: give a number"),
    (lambda: settings.number("encoder x", "p", 10**400), "p is 1"),
    (lambda: settings.number("encoder x", "p", False), "p is False"),
    (lambda: settings.number("encoder x", "p", None), "p is None"),
    (lambda: settings.number("encoder x", "p", 2, 0, 1), "give a number from 0 to 1"),
    (lambda: settings.number("encoder x", "p", 0, positive=True), "p is 0: give a positive number"),
    (lambda: settings.flag("encoder x", "on", "False"), "on is 'False': give true or false"),
    (lambda: settings.flag("encoder x", "on", 1), "on is 1: give true or false"),
    (lambda: settings.text("encoder x", "model", 5), "model is 5: give a text"),
    (lambda: settings.text("encoder x", "model", ""), "model is '': give a text"),
    (lambda: settings.one_of("encoder x", "part", ["a"], ("a", "b", "c")), "give a, b or c"),
]


@pytest.mark.parametrize(("check", "problem"), REFUSED)
def test_what_is_refused_is_reported_with_its_remedy(check: Callable[[], Any], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        check()


def test_a_long_value_is_shortened() -> None:
    with pytest.raises(UsageError) as caught:
        settings.text("encoder x", "model", list(range(10_000)))
    assert len(str(caught.value)) < 100


WRONG = [
    ("estimator", "gptfluence", {}, pair)
    for pair in (
        "order=abc",
        "order=1.5",
        "order=null",
        "order=1000",
        "epochs=1e400",
        "epochs=null",
        "epochs=-1",
        "patience=true",
        "width=1000000000",
        "width=[3]",
        "weight_decay=NaN",
        "weight_decay=-1",
        "learning_rate=nan",
        "learning_rate=0",
        "learning_rate=Infinity",
        "shared=1",
        "shared=no",
        "projection=5",
        'projection=["mlp"]',
        "feature_set=5",
    )
] + [
    ("estimator", "class-share", {}, "strength=abc"),
    ("estimator", "class-share", {}, "strength=true"),
    ("estimator", "simfluence-linear", {}, "strength=abc"),
    ("estimator", "simfluence-linear", {}, "strength=true"),
    ("encoder", "causal-lm", {}, "model=5"),
    ("encoder", "causal-lm", {}, "model=null"),
    ("encoder", "causal-lm", MODEL, "device=0"),
    ("encoder", "causal-lm", MODEL, "layer=first"),
    ("encoder", "causal-lm", MODEL, "token={}"),
    ("encoder", "minilm", {}, "max_length=2"),
    ("encoder", "minilm", {}, "pooling=1"),
    ("encoder", "tfidf-svd", {}, "dims=true"),
    ("encoder", "tfidf-svd", {}, "text=null"),
]


@pytest.mark.parametrize(("kind", "name", "others", "pair"), WRONG)
def test_every_part_refuses_what_it_cannot_take(kind: str, name: str, others: dict[str, Any], pair: str) -> None:
    registry = get_registry()
    if name not in registry.names(kind):
        pytest.skip(f"{name} is not installed")
    setting = pair.partition("=")[0]
    with pytest.raises(UsageError, match=f"{kind} {name}: {setting} is .*: give "):
        registry.make(kind, name, **others | read_settings([pair]))


@pytest.mark.parametrize("value", ["False", "false"])
def test_false_is_false_as_python_and_json_write_it(value: str) -> None:
    made = build([]).make("estimator", "gptfluence", **read_settings([f"shared={value}", "width=None", "epochs=1e3"]))
    assert (made.shared, made.width, made.epochs) == (False, None, 1000)


@pytest.mark.parametrize("value", ["[" * 100_000, "1" * 5000])
def test_what_json_cannot_read_is_text(value: str) -> None:
    assert read_settings([f"name={value}"]) == {"name": value}
