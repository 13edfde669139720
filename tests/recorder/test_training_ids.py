"""Which examples the rows of a Trainer's training set are."""

import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from gptfl.errors import GptflError, UsageError
from gptfl.recorder.training_ids import ids_of_rows
from tests.recorder.own_runs import callback, recorded

Trainers = Callable[..., Any]


def test_rows_of_a_torch_data_set_and_ids_by_order(
    trainer_of: Trainers, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    plain = [{key: value for key, value in row.items() if key != "id"} for row in rows[:12]]
    trainer_of(callback(tmp_path, ids=[f"n{place}" for place in range(12)]), data=plain).train()
    dynamics = recorded(tmp_path)
    assert {example.id for example in dynamics.pool} == {f"n{place}" for place in range(12)}
    assert set(dynamics.runs[0].curriculum.batches.ravel().tolist()) == set(range(12))


def test_rows_of_several_examples_are_reported_by_their_lists_of_ids(
    trainer_of: Trainers, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    joined = [
        {
            "id": [one["id"], other["id"]],
            "input_ids": one["input_ids"] + other["input_ids"],
            "labels": one["labels"] + other["labels"],
        }
        for one, other in zip(rows[:9], rows[9:18], strict=True)
    ]
    with pytest.raises(UsageError, match="row 0 of the training set holds 2 examples: give pool="):
        trainer_of(callback(tmp_path), data=datasets.Dataset.from_list(joined)).train()
    trainer_of(callback(tmp_path, pool=rows[:18]), data=datasets.Dataset.from_list(joined)).train()
    (run,) = recorded(tmp_path).runs
    for batch in run.curriculum.batches:
        taken = batch[batch >= 0]
        assert len(taken) in (2, 8)
        np.testing.assert_array_equal(taken[1::2], taken[::2] + 9)


def stub(data: Any) -> Any:
    """What is asked of a trainer that packs nothing."""
    return types.SimpleNamespace(train_dataset=data, args=types.SimpleNamespace())


def test_ids_come_from_the_column_or_as_given_one_or_several() -> None:
    rows = [{"id": 1, "n": "a"}, {"id": "é", "n": "b"}]
    assert ids_of_rows(stub(rows), None, "id", None) == [("1",), ("é",)]
    assert ids_of_rows(stub(rows), None, "n", None) == [("a",), ("b",)]
    assert ids_of_rows(stub(rows), [("x", 2), ["y"]], "id", rows) == [("x", "2"), ("y",)]
    assert ids_of_rows(stub([]), [], "id", None) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["a"], "ids= has 1 ids and the training set 2 rows"),
        (["a", []], "row 1 of the training set has no id"),
        (["a", None], "row 1 of the training set has the id"),
        (["a", ("b", True)], "row 1 of the training set holds 2 examples"),
        (None, "the training set has no column 'id'"),
    ],
)
def test_ids_that_are_none_are_reported_with_their_row(given: Any, message: str) -> None:
    with pytest.raises(GptflError, match=message) as found:
        ids_of_rows(stub([{"n": 1}, {"n": 2}]), given, "id", None)
    assert "\n" not in str(found.value)


def test_a_stream_has_no_rows_to_tell_apart() -> None:
    with pytest.raises(GptflError, match="the training data is a stream"):
        ids_of_rows(stub(iter([])), ["a"], "id", None)
