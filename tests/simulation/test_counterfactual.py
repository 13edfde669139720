"""What a simulator is asked: options that go together, and the curricula that they stand for."""

import json

import numpy as np
import pytest

from gptfl.core import role_of
from gptfl.core.queries import query_for
from gptfl.errors import DataError, UsageError
from gptfl.options.simulation import CounterfactualOptions, SimulatedRunOptions
from gptfl.simulation.counterfactual import (
    DROP_ORDERS,
    Counterfactual,
    add_new_examples,
    counterfactual_of,
    curriculum_request,
    held_out_request,
    members_of,
    subset_request,
)
from gptfl.simulation.schedule import Overrides
from tests.synthetic import LOSS

ONE = ("train-0",)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"subset": ONE, "drop": ONE}, "--subset and --drop each say what to train on: give one of them"),
        ({"subset": ONE, "orders": 0}, "orders is 0: give 1 or more"),
        (
            {"subset": ONE, "orders": 2, "every_order": True},
            "--orders and --every-order both say which orders count: give one of them",
        ),
        (
            {"orders": 2},
            "--orders needs --subset or --drop: the held-out runs are simulated as recorded: leave out --orders, or name "
            "a subset",
        ),
        (
            {"curriculum": "a.jsonl", "overrides": Overrides(steps=3)},
            "--steps needs --subset or --drop: the file's batches are taken as they are: leave out --steps, or name a "
            "subset",
        ),
        (
            {"overrides": Overrides(learning_rate=0.1)},
            "--lr needs --subset or --drop: the held-out runs are simulated as recorded: leave out --lr, or name a subset",
        ),
    ],
)
def test_options_that_do_not_go_together_are_one_line(options, line):
    with pytest.raises(UsageError) as caught:
        Counterfactual(**options).check()
    assert str(caught.value) == line


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"drop": ONE, "orders": 3, "overrides": Overrides(steps=3, learning_rate=0.1)},
        {"subset": (), "every_order": True},
        {"curriculum": "a.jsonl", "overrides": Overrides(learning_rate=0.1)},
    ],
)
def test_others_are_taken(options):
    Counterfactual(**options).check()


def test_a_drop_leaves_the_rest(source_of):
    pool = source_of("mean-run").pool
    np.testing.assert_array_equal(members_of(pool, None, ("train-3", "train-0")), [1, 2, 4, 5, 6, 7, 8, 9])
    assert sorted(members_of(pool, ("train-3", "train-0"), None)) == [0, 3]
    with pytest.raises(DataError, match="--drop names the whole pool: leave at least one example"):
        members_of(pool, None, [f"train-{place}" for place in range(10)])
    with pytest.raises(DataError, match="--drop"):
        members_of(pool, None, ("größe",))


def test_a_subset_is_asked_about_in_its_orders_and_by_the_recorded_recipe(source_of):
    source = source_of("class-share")
    members = np.array([1, 4, 7])
    asked = subset_request(source, members, False, 3, 5, Overrides())
    assert asked.labels == ("order 1", "order 2", "order 3")
    assert asked.what == "3 examples"
    assert (asked.query.batches.shape, asked.orders) == ((3, 6, 2), 3)
    assert set(np.unique(asked.query.batches)) == {1, 4, 7}
    runs = source.recording.dynamics.runs
    np.testing.assert_array_equal(asked.query.learning_rates, [runs[0].curriculum.learning_rates] * 3)
    mean = np.mean([run.metrics["loss"][0] for run in runs], axis=0)
    np.testing.assert_allclose(asked.query.first, [mean] * 3)
    rest = subset_request(source, members, True, 1, 5, Overrides())
    assert rest.what == "3 examples, all but 7 of the pool"


def test_a_drop_is_asked_about_in_several_orders_unless_they_are_given(source_of):
    source = source_of("class-share")
    assert Counterfactual(drop=ONE).request(source, 1).query.batches.shape[0] == DROP_ORDERS
    assert Counterfactual(drop=ONE, orders=2).request(source, 1).query.batches.shape[0] == 2
    assert Counterfactual(subset=ONE).request(source, 1).query.batches.shape[0] == 1
    with pytest.raises(UsageError, match="--every-order: class-share takes one order after the other: give --orders K"):
        Counterfactual(subset=ONE, every_order=True).request(source, 1)


def test_batches_of_a_file_are_taken_as_they_are(source_of, tmp_path):
    path = tmp_path / "übung.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in (["train-2", "train-0"], ["train-9"], ["train-2"])))
    asked = curriculum_request(source_of("mean-run"), path, None)
    np.testing.assert_array_equal(asked.query.batches, [[[2, 0], [9, -1], [2, -1]]])
    assert asked.what == "the 3 batches of übung.jsonl"
    assert asked.recipe.steps == 3


def test_held_out_runs_are_asked_about_as_recorded(source_of):
    source = source_of("mean-run")
    asked = held_out_request(source)
    runs = [run for run in source.recording.dynamics.runs if role_of(run.index) == "test"]
    assert asked.labels == tuple(run.name for run in runs)
    expected = query_for(runs, LOSS)
    np.testing.assert_array_equal(asked.query.batches, expected.batches)
    np.testing.assert_array_equal(asked.recorded, [run.metrics["loss"] for run in runs])
    assert add_new_examples(source, expected) is expected


def test_options_become_a_question():
    run = CounterfactualOptions(drop=ONE, orders=3, steps=7)
    assert counterfactual_of(run) == Counterfactual(None, ONE, None, 3, Overrides(steps=7))
    one = SimulatedRunOptions(subset=(ONE,), every_order=True)
    assert counterfactual_of(one) == Counterfactual(ONE, every_order=True)
    with pytest.raises(UsageError, match="2 subsets are given: ask about one, or many by"):
        counterfactual_of(SimulatedRunOptions(subset=(ONE, ONE)))
