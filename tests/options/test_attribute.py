"""The options of ``gptfl attribute``."""

from typing import Any

import pytest

from gptfl.core.recording_settings import MEANS
from gptfl.errors import UsageError
from gptfl.options.attribute import AttributeOptions
from gptfl.options.base import make, places
from gptfl.options.recording import CollectOptions
from gptfl.options.rows import RowOptions

NEEDED = {"model": "tiny", "checkpoints": "out"}


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"lr": 0.0}, "--lr is 0.0: give a positive number, at most 1e+09"),
        ({"lr": float("nan")}, "--lr is nan: give a positive number, at most 1e+09"),
        ({"test": 0}, "--test is 0: give at least 1"),
        ({"top": 0}, "--top is 0: give 1 or more"),
        ({"sketch_points": 0}, "--sketch-points is 0: give at least 1"),
        ({"sketch_dimensions": 0}, "--sketch-dimensions is 0: give at least 1"),
        ({"max_length": 0}, "--max-length is 0: give at least 1"),
    ],
)
def test_a_number_out_of_bounds_is_one_line(given: dict[str, Any], line: str) -> None:
    with pytest.raises(UsageError) as caught:
        make(AttributeOptions, **NEEDED, **given)
    assert caught.value.line == line


@pytest.mark.parametrize("name", NEEDED)
def test_the_model_and_its_checkpoints_have_to_be_given(name: str) -> None:
    with pytest.raises(TypeError, match=f"attribute needs '{name}'"):
        make(AttributeOptions, **{key: value for key, value in NEEDED.items() if key != name})


def test_rows_are_named_as_they_are_collected_and_trainers_means_come_first() -> None:
    made = make(AttributeOptions, RowOptions(train="a.jsonl"), **NEEDED, eval="b.jsonl", on=["t-1"])
    assert (made.rows.train, made.rows.eval, made.on) == ("a.jsonl", "b.jsonl", ["t-1"])
    ours, theirs = ({place.name: place for place in places(kind)} for kind in (AttributeOptions, CollectOptions))
    for name in (*(place.name for place in places(RowOptions)), "data", "max_length", "sketch_modules"):
        assert ours[name].default == theirs[name].default, name
        assert ours[name].flags == theirs[name].flags, name
    # Of a trainer's checkpoints, the loss was a mean over tokens; of gptfl's own runs, over examples.
    assert (made.loss_mean, theirs["loss_mean"].default) == ("tokens", "examples")
    assert set(ours["loss_mean"].option.complete or ()) == set(MEANS)
