"""Which rows the batches of a data loader hold, without the model seeing it."""

import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from gptfl.errors import DataError
from gptfl.recorder.batches import KEY, NumberedRows, number_batches, taken_places

ROWS = [{"x": number * 10, "id": f"r{number}"} for number in range(7)]


def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    return {key: torch.tensor([row[key] for row in rows]) for key in rows[0]}


@pytest.mark.parametrize("workers", [0, 2])
def test_each_batch_says_its_rows_in_whatever_order(workers: int) -> None:
    order = torch.Generator().manual_seed(3)
    loader = DataLoader(ROWS, batch_size=3, shuffle=True, generator=order, collate_fn=collate, num_workers=workers)
    number_batches(loader, "id")
    number_batches(loader, "id")
    batches = list(loader)
    assert all(set(batch) == {"x", KEY} for batch in batches)
    places = taken_places(batches)
    assert places == [[value // 10 for value in batch["x"].tolist()] for batch in batches]
    assert sorted(place for batch in places for place in batch) == list(range(7))
    assert all(set(batch) == {"x"} for batch in batches)


def test_the_loader_within_another_is_numbered() -> None:
    inner = DataLoader(ROWS, batch_size=7, collate_fn=lambda rows: {"n": torch.tensor(len(rows))})
    number_batches(types.SimpleNamespace(base_dataloader=inner))
    assert taken_places(list(inner)) == [list(range(7))]


def test_numbered_rows_are_else_the_rows_themselves() -> None:
    class Data(list):
        column_names = ("x", "id")

        def __getitems__(self, places: list[int]) -> list[Any]:
            return [self[place] for place in places]

    rows = NumberedRows(Data(ROWS))
    assert (len(rows), rows.column_names) == (7, ("x", "id"))
    assert rows[2] == {**ROWS[2], KEY: 2}
    assert rows.__getitems__([4, 1]) == [{**ROWS[4], KEY: 4}, {**ROWS[1], KEY: 1}]
    assert KEY not in ROWS[2]
    with pytest.raises(AttributeError):
        rows.no_such_thing  # noqa: B018


class Stream(IterableDataset):
    def __iter__(self) -> Any:
        return iter(ROWS)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: number_batches(DataLoader(Stream())), "the training data is a stream, whose rows can't be told apart"),
        (lambda: NumberedRows(["a", "b"])[1], "row 1 of the training data is a str: give rows that are dicts"),
        (lambda: taken_places([{"x": 1}]), "a batch doesn't say which rows it holds"),
        (lambda: taken_places([torch.zeros(2)]), "a batch doesn't say which rows it holds"),
    ],
)
def test_what_tells_no_rows_is_one_line(act: Callable[[], object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        act()


def test_a_collator_gives_a_dict() -> None:
    loader = DataLoader(ROWS, batch_size=2, collate_fn=lambda rows: [row["x"] for row in rows])
    number_batches(loader)
    with pytest.raises(DataError, match="the data collator gave a list: use one that gives a dict"):
        next(iter(loader))
