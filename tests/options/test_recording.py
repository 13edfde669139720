"""The options of ``gptfl collect``."""

from typing import Any

import pytest

from gptfl.errors import UsageError
from gptfl.options.base import check, make, places
from gptfl.options.recording import CollectOptions
from gptfl.options.rows import RowOptions


def collect(*groups: object, **options: Any) -> CollectOptions:
    return make(CollectOptions, *groups, model="tiny", task="errands", **options)


COUNTS = ("runs", "pool", "per_task", "test", "subset_size", "record_every", "generate_every", "generate_tokens")


COUNTS += ("batch_size", "steps", "max_length", "train_layers", "accumulate", "processes", "sketch_dimensions")


@pytest.mark.parametrize("name", COUNTS)
def test_a_count_below_one_is_refused(name: str) -> None:
    check(collect(**{name: 1}))
    flag = f"--{name.replace('_', '-')}"
    with pytest.raises(UsageError, match=f"^{name} is 0: give at least 1$") as caught:
        check(collect(**{name: 0}))
    assert caught.value.line == f"{flag} is 0: give at least 1"


def test_what_may_differ_between_calls_of_one_recording_is_where_its_rows_come_from_and_where_runs_are_carried_out() -> (
    None
):
    # All else identifies a recording, or is compared with what its file says.
    free = {place.name for place in places(CollectOptions) if not place.option.identity}
    assert free == {place.name for place in places(RowOptions) if not place.option.identity} | {"data", "executor_set"}


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"reserve_pool": 1}, "--reserve-pool is 1: give 0, or 2 or more, so that runs can differ in it"),
        ({"reserve_pool": -2}, "--reserve-pool is -2: give 0, or 2 or more, so that runs can differ in it"),
        ({"flip_labels": 1.0}, "--flip-labels is 1: give the share of the pool to flip, between 0 and 1, as in 0.4"),
        ({"repeats": -1}, "--repeats is -1: give 0 or more"),
        ({"gradient_points": 0}, "--gradient-points is 0: give at least 1"),
        ({"leave_out_size": 0}, "--leave-out-size is 0: give at least 1"),
    ],
)
def test_a_number_out_of_bounds_is_one_line(given: dict[str, Any], line: str) -> None:
    with pytest.raises(UsageError) as caught:
        collect(**given)
    assert caught.value.line == line


def test_no_reserve_and_one_of_two_are_taken() -> None:
    assert [collect(reserve_pool=size).design.reserve_pool for size in (0, 2)] == [0, 2]
    assert collect(flip_labels=0.4).examples.flip_labels == 0.4


def test_a_metric_may_be_given_several_times_and_checkpoints_are_a_number_or_a_word() -> None:
    assert collect().examples.metrics == ("loss",)
    assert collect(metrics=["loss", "rougeL"]).examples.metrics == ("loss", "rougeL")
    assert [collect(checkpoints=many).output.checkpoints for many in (3, "all")] == [3, "all"]
    with pytest.raises(UsageError, match=r"checkpoints is 1.5: give a text or a whole number"):
        collect(checkpoints=1.5)
