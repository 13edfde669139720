"""The options of ``gptfl doctor``."""

from typing import Any

import pytest

from gptfl.errors import UsageError
from gptfl.options.base import make, places
from gptfl.options.doctor import DoctorOptions, ReadingOptions
from gptfl.options.recording import CollectOptions
from gptfl.options.training import TrainingOptions

NEEDED = {"train": "a.jsonl", "eval": "b.jsonl", "model": "tiny"}


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"fdr": 0.0}, "--fdr is 0: give a share between 0 and 1, such as 0.25"),
        ({"share": 1.0}, "--share is 1: give a share between 0 and 1, such as 0.25"),
        ({"record_every": 0}, "--record-every is 0: give at least 1"),
        ({"pool": 0}, "--pool is 0: give at least 1"),
        ({"test": -1}, "--test is -1: give at least 1"),
        ({"lr": 0.0}, "--lr is 0.0: give a positive number, at most 1e+09"),
    ],
)
def test_a_number_out_of_bounds_is_one_line(given: dict[str, Any], line: str) -> None:
    with pytest.raises(UsageError) as caught:
        make(DoctorOptions, **NEEDED, **given)
    assert caught.value.line == line


@pytest.mark.parametrize("name", NEEDED)
def test_rows_and_a_model_have_to_be_given(name: str) -> None:
    with pytest.raises(TypeError, match=f"doctor needs '{name}'"):
        make(DoctorOptions, **{key: value for key, value in NEEDED.items() if key != name})


def test_rows_are_read_as_collect_reads_them() -> None:
    theirs = {place.name: place for place in places(CollectOptions)}
    for place in places(ReadingOptions):
        assert place.default == theirs[place.name].default, place.name
        assert place.flags == theirs[place.name].flags, place.name
        assert place.type == theirs[place.name].type, place.name
        assert place.option.identity == theirs[place.name].option.identity, place.name


def test_the_recipe_is_a_group_or_single_options() -> None:
    made = make(DoctorOptions, TrainingOptions(lr=1e-3, steps=5), **NEEDED, lr=1e-4, seed=7)
    assert (made.training.lr, made.training.steps, made.execution.seed) == (1e-4, 5, 7)
    assert (made.budget, made.share, made.fdr, made.dry_run) == ("20m", 0.1, 0.1, False)
